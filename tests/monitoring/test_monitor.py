"""Who asks is answered, and nobody who asks holds anything up."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import NamedTuple

import pytest
from hypothesis import given
from prometheus_client.parser import text_string_to_metric_families

from tests.core.factories import PATIENCE, PROPERTY
from tests.monitoring.snapshots import BUSY, NAMES, QUIET, SNAPSHOTS, quiet
from watcher import monitor
from watcher.errors import ConfigurationError
from watcher.metrics import PREFIX, exposition
from watcher.monitor import Monitor
from watcher.settings import load
from watcher.snapshot import Snapshot


class Answer(NamedTuple):
    status: int
    body: str
    headers: HTTPResponse


@contextmanager
def monitoring(snapshot: Callable[[], Snapshot] = lambda: BUSY) -> Iterator[Monitor]:
    with Monitor("127.0.0.1:0", snapshot=snapshot) as running:
        yield running


def ask(running: Monitor, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
    connection = HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(), response)
    finally:
        connection.close()


def say(running: Monitor, words: bytes) -> bytes:
    """What comes back for these bytes, until the other side closes."""
    with socket.create_connection(("127.0.0.1", running.port), PATIENCE) as client:
        client.sendall(words)
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
        return answer


def samples(page: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name.removeprefix(PREFIX), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


# /metrics


def test_the_numbers_are_those_of_the_snapshot() -> None:
    with monitoring() as running:
        answer = ask(running, "/metrics?a=b")
    assert answer.status == 200
    assert answer.headers.getheader("Content-Type", "").startswith("text/plain; version=")
    found = samples(answer.body)
    expected = {
        ("build_info", ("1.2.3",)): 1,
        ("start_time_seconds", ()): 1_700_000_000,
        ("moving", ()): 1,
        ("files_total", ("uploaded",)): 7,
        ("files_total", ("already_known",)): 3,
        ("files_total", ("rejected",)): 2,
        ("files_total", ("failed",)): 1,
        ("bytes_total", ()): 12_345,
        ("last_upload_timestamp_seconds", ()): 1_700_000_099.5,
        ("waiting_files", ()): 5,
        ("in_flight_files", ()): 2,
        ("in_flight_bytes", ()): 1_500,
        ("in_flight_sent_bytes", ()): 100,
        ("shares", ("events",)): 1,
        ("shares", ("polling",)): 2,
        ("shares", ("not_yet",)): 1,
        ("shares", ("gone",)): 0,
        ("condition", ("sidecar_unwritable",)): 2,
        ("condition", ("login_needed",)): 1,
        ("condition", ("share_gone",)): 0,
        ("condition_since_timestamp_seconds", ("sidecar_unwritable",)): 1_700_000_050,
        ("condition_since_timestamp_seconds", ("login_needed",)): 1_700_000_070,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["process_resident_memory_bytes", ()] > 0


def test_each_question_reads_the_snapshot_anew() -> None:
    news = iter([quiet(waiting=1), quiet(waiting=2)])
    with monitoring(lambda: next(news)) as running:
        pages = [samples(ask(running, "/metrics").body) for _ in range(2)]
    assert [page["waiting_files", ()] for page in pages] == [1, 2]


def test_what_does_not_hold_is_zero_and_not_absent() -> None:
    found = samples(exposition(QUIET).decode())
    assert {labels[0] for name, labels in found if name == "condition"} == set(NAMES)
    assert {found["condition", (name,)] for name in NAMES} == {0}
    gone = {"last_upload_timestamp_seconds", "condition_since_timestamp_seconds"}
    assert not gone & {name for name, _ in found}


@PROPERTY
@given(SNAPSHOTS)
def test_any_snapshot_makes_a_page_that_can_be_read_and_tells_no_names(now: Snapshot) -> None:
    for family in text_string_to_metric_families(exposition(now).decode()):
        assert family.documentation
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith("_total")
            if sample.name.startswith(PREFIX):
                assert set(sample.labels) <= {"outcome", "name", "how", "version"}


# /healthz


def test_all_is_well() -> None:
    with monitoring(lambda: QUIET) as running:
        answer = ask(running, "/healthz")
    assert (answer.status, answer.body) == (200, "ok\n")


def test_a_condition_is_told_but_no_reason_to_start_anew() -> None:
    with monitoring() as running:
        answer = ask(running, "/healthz")
    assert answer.status == 200
    assert answer.body == (
        "ok\n"
        "condition sidecar_unwritable at /srv/a/x: No space left on device\n"
        "condition sidecar_unwritable at /srv/a/y: No space left on device\n"
        "condition login_needed: there is no token\n"
    )


def test_what_is_stuck_is_named_the_longest_first_and_escaped() -> None:
    stuck = quiet(moving=False, waiting=5, flights=BUSY.flights)
    with monitoring(lambda: stuck) as running:
        answer = ask(running, "/healthz")
    assert answer.status == 503
    assert answer.body == (
        "stuck: 5 files wait, 2 of them in flight; nothing moves\n"
        "looking for 61 s: /srv/a/two\\n.jpg (0 of 500 bytes)\n"
        "sending for 2 s: /srv/a/x/one.jpg (100 of 1000 bytes)\n"
    )


@PROPERTY
@given(SNAPSHOTS)
def test_no_name_forges_a_line(now: Snapshot) -> None:
    page = monitor._health(now)
    stuck = 0 if now.moving else min(10, len(now.flights))
    lines = page.body.decode().split("\n")
    assert len(lines) - 1 == 1 + len(now.conditions) + stuck
    assert all(line.isprintable() for line in lines)


# The protocol


def test_head_is_get_without_the_page() -> None:
    with monitoring() as running:
        whole, head = ask(running, "/healthz"), ask(running, "/healthz", "HEAD")
    assert (head.status, head.body) == (200, "")
    assert head.headers.getheader("Content-Length") == str(len(whole.body))


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz%00", "/..%2f", "//metrics"])
def test_there_is_nothing_else(path: str) -> None:
    with monitoring() as running:
        assert ask(running, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_done_there(method: str) -> None:
    with monitoring() as running:
        answer = ask(running, "/metrics", method, body=b"x" * 50_000)
    assert answer.status == 405
    assert answer.headers.getheader("Allow") == "GET, HEAD"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),  # TLS
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", b"400"),
        (b"get /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10_000 + b"\r\n\r\n", b"431"),
        (b"G" * 100_000, b"431"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
    ],
    ids=range(7),
)
def test_what_is_no_question_is_told_so(words: bytes, status: bytes) -> None:
    with monitoring() as running:
        assert say(running, words).split(b" ")[1] == status
        assert ask(running, "/healthz").status == 200


# Those who hold up


def test_who_is_too_slow_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "EXCHANGE_SECONDS", 0.05)
    with monitoring() as running:
        assert say(running, b"GET /metrics HT") == b""


def test_who_hangs_up_does_no_harm() -> None:
    with monitoring() as running:
        for words in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", running.port), PATIENCE) as client:
                client.sendall(words)
        assert ask(running, "/metrics").status == 200


def test_any_number_of_silent_clients_keeps_nobody_from_asking() -> None:
    with monitoring() as running, ExitStack() as held:
        silent = [
            held.enter_context(socket.create_connection(("127.0.0.1", running.port), PATIENCE))
            for _ in range(2 * monitor.MAX_CONNECTIONS)
        ]
        assert ask(running, "/healthz").status == 200
        assert silent[0].recv(1) == b""  # the oldest had to go
        threads = [thread for thread in threading.enumerate() if "monitor" in thread.name]
        assert len(threads) <= 2


def test_a_client_that_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "EXCHANGE_SECONDS", 0.3)
    huge = quiet(conditions=BUSY.conditions * 100_000)
    with monitoring(lambda: huge) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", running.port))
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        open_ones = running._serving._open
        never = threading.Event()
        while not client.recv(1):
            never.wait(0.01)
        while open_ones:
            never.wait(0.01)


def test_a_daemon_that_hangs_is_told_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "DAEMON_SECONDS", 0.05)
    goes_on, asked = threading.Event(), []

    def hanging() -> Snapshot:
        asked.append(1)
        goes_on.wait(PATIENCE)
        return QUIET

    with monitoring(hanging) as running:
        for path in ("/healthz", "/metrics", "/healthz"):
            answer = ask(running, path)
            assert (answer.status, answer.body) == (503, "stuck: the daemon does not answer\n")
        assert len(asked) == 1
        goes_on.set()
        monkeypatch.setattr(monitor, "DAEMON_SECONDS", PATIENCE)
        assert ask(running, "/healthz").status == 200


def test_a_daemon_that_fails_is_told() -> None:
    def failing() -> Snapshot:
        raise RuntimeError("dictionary changed\nsize")

    with monitoring(failing) as running:
        answer = ask(running, "/metrics")
    assert answer.status == 503
    assert (
        answer.body
        == "stuck: the daemon cannot be asked: RuntimeError: dictionary changed\\nsize\n"
    )


# Beginning and end


def test_it_ends_at_once_whoever_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "DAEMON_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr(monitor, "EXCHANGE_SECONDS", 10 * PATIENCE)
    goes_on, asked = threading.Event(), threading.Event()

    def hanging() -> Snapshot:
        asked.set()
        goes_on.wait(10 * PATIENCE)
        return QUIET

    with monitoring(hanging) as running:
        address = ("127.0.0.1", running.port)
        silent = socket.create_connection(address, PATIENCE)
        waiting = socket.create_connection(address, PATIENCE)
        waiting.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert asked.wait(PATIENCE)
    with silent, waiting:
        for client in (silent, waiting):
            try:
                assert client.recv(1) == b""
            except ConnectionResetError:
                continue
    left = [thread for thread in threading.enumerate() if thread.name == "monitor asks"]
    goes_on.set()  # it comes back to a loop that is closed, and nobody is told of that
    for thread in left:
        thread.join(PATIENCE)


def test_the_port_can_be_taken_again_at_once_and_by_the_same() -> None:
    with monitoring() as first:
        ask(first, "/healthz")
    again = Monitor(f"127.0.0.1:{first.port}", snapshot=lambda: QUIET)
    for _ in range(3):
        with again:
            assert ask(again, "/healthz").status == 200


def test_a_port_that_is_taken_is_told_with_the_remedy() -> None:
    with monitoring() as running:
        other = Monitor(f"127.0.0.1:{running.port}", snapshot=lambda: QUIET)
        with pytest.raises(ConfigurationError) as told, other:
            pass
    assert str(told.value) == (
        f"[monitor] listen: '127.0.0.1:{running.port}' cannot be used: Address already in use. "
        "Give an address of this machine and a port that is free and above 1023."
    )


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("192.0.2.1:9464", "Cannot assign requested address"),
        ("nobody.invalid:9464", "cannot be used: "),
        (f"{'x' * 70}.invalid:9464", "cannot be used: "),
    ],
)
def test_an_address_that_is_not_ours_is_told(listen: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why), Monitor(listen, snapshot=lambda: QUIET):
        pass


def test_it_listens_on_ipv6() -> None:
    with Monitor("[::1]:0", snapshot=lambda: QUIET) as running:
        connection = HTTPConnection("::1", running.port, timeout=PATIENCE)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
        connection.close()


@pytest.mark.parametrize(
    "listen", ["", "127.0.0.1:9464", "[::1]:9464", "localhost:1", "[::]:65535"]
)
def test_an_address_and_a_port_can_be_given(listen: str) -> None:
    assert (
        load("/dev/null", {"AUTORETOUCH_WATCHER_MONITOR__LISTEN": listen}).monitor.listen == listen
    )


@pytest.mark.parametrize(
    "listen",
    ["9464", ":9464", "::1:9464", "[::1]", "h:0", "h:65536", "http://h:1", "h:1\n", "a b:1"],
)
def test_half_an_address_is_told(listen: str) -> None:
    with pytest.raises(ConfigurationError, match=r'"127\.0\.0\.1:9464" or "\[::1\]:9464"'):
        load("/dev/null", {"AUTORETOUCH_WATCHER_MONITOR__LISTEN": listen})
