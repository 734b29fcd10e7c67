import base64
import gzip
import http.client
import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.sandbox.client import (
    ask,
    connect,
    form,
    raw_post,
    read_to_end,
    sha256,
    upload,
)
from watcher.sandbox import Fault, Sandbox, faults

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
CONTENT = b"content" * 1000


@contextmanager
def posted(service: Sandbox, fault: Fault, content: bytes = CONTENT) -> Iterator[socket.socket]:
    """A connection on which an upload was sent that meets the fault."""
    service.fault(fault, method="POST", path="/upload")
    with connect(service) as connection:
        connection.sendall(raw_post(service, form(content)))
        yield connection


def test_a_status_with_the_documented_body(service: Sandbox) -> None:
    rule = service.fault(faults.Status(503, {"Retry-After": "7"}))
    reply = upload(service, b"x")
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    assert (reply.json["error"], reply.json["path"]) == ("Service Unavailable", "/upload")
    assert (rule.hits, dict(service.uploads)) == (1, {})
    assert service.requests[-1].fault == "Status"


@pytest.mark.parametrize(("status", "body"), [(500, b"oops"), (999, b""), (200, b"")])
def test_a_status_with_any_body(service: Sandbox, status: int, body: bytes) -> None:
    service.fault(faults.Status(status, body=body))
    reply = ask(service, "GET", "/health")
    assert (reply.status, reply.body) == (status, body)


def test_a_status_to_head_has_no_body(service: Sandbox) -> None:
    service.fault(faults.Status(500), times=None)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    for _ in range(2):
        connection.request("HEAD", f"/upload?contentHash={'0' * 64}")
        response = connection.getresponse()
        assert (response.status, response.read()) == (500, b"")
    connection.close()
    assert service.counters["connections"] == 1
    assert service.requests[-1].content_hash == "0" * 64


def statuses(service: Sandbox, *requests: tuple[str, str]) -> list[int]:
    return [ask(service, method, target).status for method, target in requests]


def test_faults_are_for_a_method_and_a_path(service: Sandbox) -> None:
    service.fault(faults.Status(500), method="HEAD", path="/upload", times=None)
    known = f"/upload?contentHash={'0' * 64}"
    requests = [("HEAD", known), ("GET", "/health"), ("HEAD", "/health"), ("HEAD", known)]
    assert statuses(service, *requests) == [500, 200, 405, 500]


def test_faults_are_met_so_often_then_in_turn(service: Sandbox) -> None:
    service.fault(faults.Status(500), times=2)
    service.fault(faults.Status(503))
    assert statuses(service, *[("GET", "/health")] * 4) == [500, 500, 503, 200]


def test_faults_are_met_every_so_often(service: Sandbox) -> None:
    rule = service.fault(faults.Status(500), times=None, every=3)
    assert statuses(service, *[("GET", "/health")] * 7) == [200, 200, 500, 200, 200, 500, 200]
    assert rule.hits == 2
    service.clear_faults()
    assert statuses(service, *[("GET", "/health")] * 3) == [200, 200, 200]


@pytest.mark.parametrize("abrupt", [False, True])
def test_an_early_answer_comes_before_the_body(service: Sandbox, *, abrupt: bool) -> None:
    service.fault(faults.EarlyAnswer(413, {"Retry-After": "1"}, abrupt=abrupt))
    with connect(service) as connection:
        connection.sendall(raw_post(service, b"", length=10_000_000))
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"Retry-After: 1\r\nConnection: close\r\n" in answer
        if abrupt:
            assert service.wait_for(lambda: service.in_flight == 0)
        else:
            connection.sendall(b"x" * 10_000)
    assert service.requests[-1].bytes_received == 0


def test_a_slow_answer_is_the_ordinary_one(service: Sandbox) -> None:
    fault = faults.Slow(before_reading=0.01, before_answer=0.01, between_bytes=0.0001)
    for slow in (fault, faults.Slow(before_answer=0.01)):
        service.fault(slow)
        assert upload(service, CONTENT).body.decode() == sha256(CONTENT)
    assert service.uploads[sha256(CONTENT)].count == 2


def test_a_drip_comes_byte_by_byte(service: Sandbox) -> None:
    with posted(service, faults.Slow(between_bytes=0.01)) as connection:
        assert connection.recv(4096) == b"H"


@pytest.mark.parametrize("place", ["before_body", "in_body", "after_body"])
def test_a_reset_is_one(service: Sandbox, place: faults.Place) -> None:
    with (
        posted(service, faults.Reset(place), b"x" * 900_000) as connection,
        pytest.raises(ConnectionResetError),
    ):
        connection.recv(100)
    received = service.requests[-1].bytes_received
    assert (received > 0, received > 900_000) == (place != "before_body", place == "after_body")
    assert (service.requests[-1].status, dict(service.uploads)) == (0, {})


def test_a_close_is_the_end_without_an_answer(service: Sandbox) -> None:
    with posted(service, faults.Close()) as connection:
        assert read_to_end(connection) == b""
    assert (service.requests[-1].status, dict(service.uploads)) == (0, {})


@pytest.mark.parametrize("reset", [False, True])
def test_the_outcome_is_unknown_when_it_dies_after_the_work(
    service: Sandbox, *, reset: bool
) -> None:
    with posted(service, faults.DieAfterWork(reset=reset)) as connection:
        if reset:
            with pytest.raises(ConnectionResetError):
                connection.recv(100)
        else:
            assert connection.recv(100) == b""
    assert service.uploads[sha256(CONTENT)].count == 1
    assert service.requests[-1].status == 0
    assert service.requests[-1].content_hash == sha256(CONTENT)


def test_a_stale_connection_was_promised_to_stay(service: Sandbox) -> None:
    with posted(service, faults.CloseUnannounced()) as connection:
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"Connection: close" not in answer


def test_silence_lasts_until_the_end(service: Sandbox) -> None:
    with posted(service, faults.NeverAnswer()) as connection:
        assert service.wait_for(lambda: service.bytes_received > len(CONTENT))
        service.stop()
        assert connection.recv(100) == b""
    assert service.requests[-1].status == 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("upper", sha256(CONTENT).upper()),
        ("quoted", f'"{sha256(CONTENT)}"'),
        ("base64", base64.b64encode(bytes.fromhex(sha256(CONTENT))).decode()),
        ("spaced", f" \t{sha256(CONTENT)}\r\n\n"),
    ],
)
def test_the_hash_can_look_different(
    service: Sandbox, shape: faults.HashForm, expected: str
) -> None:
    service.fault(faults.OtherHash(shape))
    reply = upload(service, CONTENT)
    assert (reply.status, reply.body.decode()) == (201, expected)
    assert sha256(CONTENT) in service.uploads


def test_the_hash_can_be_wrong(service: Sandbox) -> None:
    service.fault(faults.OtherHash("wrong"), times=20)
    for number in range(20):
        content = str(number).encode()
        answer = upload(service, content).body.decode()
        assert len(answer) == 64
        assert answer != sha256(content)
    assert upload(service, b"0", query="?organization=none").status == 403


def test_a_refusal_stays_one_with_another_hash(service: Sandbox) -> None:
    service.fault(faults.OtherHash())
    assert upload(service, b"x", filesize=2).status == 400


@pytest.mark.parametrize("status", [200, 201])
def test_a_portal_says_all_is_well(service: Sandbox, status: int) -> None:
    service.fault(faults.Html(status))
    reply = upload(service, CONTENT)
    assert (reply.status, reply.headers["content-type"][:9]) == (status, "text/html")
    assert not service.uploads


def test_an_answer_can_be_too_large(service: Sandbox) -> None:
    service.fault(faults.Oversized())
    assert len(upload(service, CONTENT).body) == 3 << 20


def test_an_answer_can_be_endless(service: Sandbox) -> None:
    with posted(service, faults.Oversized(None, status=200)) as connection:
        read = itertools.accumulate(len(connection.recv(1 << 16)) for _ in itertools.count())
        assert next(total for total in read if total > 4 << 20)
    assert service.wait_for(lambda: service.counters["broken"] == 1)


def test_an_answer_can_be_a_bomb(service: Sandbox) -> None:
    service.fault(faults.Gzipped(padding=10 << 20))
    reply = upload(service, CONTENT)
    assert reply.headers["content-encoding"] == "gzip"
    assert len(reply.body) < 20_000
    plain = gzip.decompress(reply.body)
    assert (len(plain), plain.strip().decode()) == ((10 << 20) + 64, sha256(CONTENT))


def test_interim_answers_never_end(service: Sandbox) -> None:
    with posted(service, faults.EndlessInterim(interval=0.001)) as connection:
        data = b""
        while data.count(b"HTTP/1.1 102 Processing\r\n\r\n") < 20:
            data += connection.recv(4096)
        service.stop()


def test_a_redirect_leads_elsewhere(service: Sandbox) -> None:
    service.fault(faults.Redirect())
    reply = upload(service, CONTENT)
    assert (reply.status, reply.headers["location"]) == (307, "http://127.0.0.2:9/upload")
    assert not service.uploads


def test_garbage_is_not_http(service: Sandbox) -> None:
    with posted(service, faults.Garbage()) as connection:
        assert not read_to_end(connection).startswith(b"HTTP")


def test_a_body_without_a_length_is_left_by_faults(service: Sandbox) -> None:
    service.fault(faults.Reset("in_body"), method="PUT")
    service.fault(faults.Status(503), method="PUT")
    head = b"PUT /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(service) as connection:
        connection.sendall(head)
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    with connect(service) as connection:
        connection.sendall(head)
        assert b"Connection: close" in connection.recv(4096)


def test_a_client_that_leaves_while_it_waits_breaks_only_its_connection(service: Sandbox) -> None:
    service.fault(faults.Slow(before_answer=0.05, between_bytes=0.001), path="/health")
    with connect(service) as connection:
        connection.sendall(HEALTH)
        assert service.wait_for(lambda: service.in_flight == 1)
    assert service.wait_for(lambda: service.counters["broken"] == 1)
    assert ask(service, "GET", "/health").status == 200
