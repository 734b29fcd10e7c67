"""The bytes on a socket: whole answers, bounded waits, bounded memory."""

import os
import socket
import ssl
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.core.factories import PATIENCE, Clock, open_descriptors
from tests.core.talking import (
    ANSWER,
    AT_MOST,
    Talk,
    ask,
    dripping,
    head_of,
    part_of,
    saying,
    silent,
    talking,
)
from watcher import wire as wire_module
from watcher.answer import BrokenAnswerError
from watcher.pieces import BodyFailedError, Piece
from watcher.proxies import Proxy
from watcher.wire import Request, TooLateError, UnfitRequestError, Wire

SHORT = 0.15
"""Seconds that are allowed where they are sure to be used up."""


@pytest.fixture
def wire_to() -> Iterator[Callable[..., Wire]]:
    opened: list[Wire] = []

    def make(port: int, *, silence: float = PATIENCE, **options: object) -> Wire:
        options = {"ssl_context": None, **options}
        opened.append(Wire("127.0.0.1", port, silence=silence, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for wire in opened:
        wire.close()


MakeWire = Callable[..., Wire]


# Answers


def test_a_connection_is_kept_while_both_sides_agree(wire_to: MakeWire) -> None:
    with talking(saying(ANSWER)) as server:
        wire = wire_to(server.port)
        for _ in range(5):
            assert ask(wire).body == b"ok"
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ANSWER + b"and something that nobody asked for",
    ],
)
def test_a_connection_that_cannot_be_kept_is_made_anew(wire_to: MakeWire, answer: bytes) -> None:
    with talking(saying(answer)) as server:
        wire = wire_to(server.port)
        for _ in range(3):
            assert ask(wire).body == b"ok"
        assert server.connections == 3


def test_a_connection_that_the_other_side_has_closed_meanwhile_is_made_anew(
    wire_to: MakeWire,
) -> None:
    closed = threading.Semaphore(0)

    def once(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(ANSWER)
        connection.close()
        closed.release()

    with talking(once) as server:
        wire = wire_to(server.port)
        for _ in range(3):
            assert ask(wire).body == b"ok"
            assert closed.acquire(timeout=PATIENCE)
        assert server.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER,
        b"HTTP/1.1 200 \r\ncontent-length:2\r\n\r\nok",
    ],
)
def test_an_answer_may_come_in_other_forms(wire_to: MakeWire, answer: bytes) -> None:
    with talking(saying(answer)) as server:
        received = ask(wire_to(server.port))
    assert (received.status, received.body) == (200, b"ok")


def test_an_answer_until_the_end_of_the_connection_is_read(wire_to: MakeWire) -> None:
    def talk(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nto the end")

    with talking(talk) as server:
        assert ask(wire_to(server.port)).body == b"to the end"


Big = Callable[[int], Piece]


@pytest.fixture(params=["bytes", "a file"])
def big(request: pytest.FixtureRequest) -> Iterator[Big]:
    """A piece of so many bytes, of either kind."""
    if request.param == "bytes":
        yield bytes
        return
    with tempfile.TemporaryFile() as file:

        def part(length: int) -> Piece:
            os.ftruncate(file.fileno(), length)
            return part_of(file.fileno(), length)

        yield part


def test_an_early_answer_counts_though_the_body_was_not_read(wire_to: MakeWire, big: Big) -> None:
    def refuse(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        silent(connection)

    with talking(refuse) as server:
        received = ask(wire_to(server.port), body=[big(8 << 20)], length=8 << 20)
    assert (received.status, received.body) == (413, b"no")


# What is no answer


NONSENSE = {
    "other protocol": b"220 mail.example ESMTP\r\n\r\n",
    "binary": bytes(range(256)) * 3,
    "bad status": b"HTTP/1.1 9 x\r\n\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n",
    "odd header": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
    "a line without end": b"HTTP/1.1 200 " + b"x" * 1_000_000,
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_a_protocol_error(wire_to: MakeWire, kind: str) -> None:
    with talking(saying(NONSENSE[kind])) as server:
        wire = wire_to(server.port, silence=1.0)
        with pytest.raises((BrokenAnswerError, OSError)):
            ask(wire)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 2", ANSWER[:-1], ANSWER[:20]])
def test_an_answer_that_breaks_off_is_a_protocol_error(wire_to: MakeWire, part: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(part)

    with talking(talk) as server, pytest.raises(BrokenAnswerError):
        ask(wire_to(server.port))


# Time


BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"

SLOW: dict[str, Talk] = {
    "drips its head": dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "drips its body": dripping(BODY, b"x"),
    "drips headers behind a 1xx": dripping(
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n", b"X: y\r\n"
    ),
    "drips chunks": dripping(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"
    ),
}


@pytest.mark.parametrize("kind", SLOW)
def test_who_is_never_silent_for_long_still_has_a_deadline(wire_to: MakeWire, kind: str) -> None:
    with talking(SLOW[kind]) as server, pytest.raises(TimeoutError):
        ask(wire_to(server.port), seconds=SHORT)


def test_interim_answers_without_end_are_not_waited_out(wire_to: MakeWire) -> None:
    talk = dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n")
    with talking(talk) as server, pytest.raises(BrokenAnswerError, match="without end"):
        ask(wire_to(server.port))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 2", BODY])
def test_silence_ends_an_exchange_long_before_its_deadline(wire_to: MakeWire, start: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(start)
        silent(connection)

    with talking(talk) as server, pytest.raises(TimeoutError):
        ask(wire_to(server.port, silence=SHORT))


def test_who_does_not_read_ends_the_sending(wire_to: MakeWire, big: Big) -> None:
    def ignore(_connection: socket.socket) -> None:
        server.ended.wait(PATIENCE)

    with talking(ignore) as server, pytest.raises(TimeoutError):
        ask(wire_to(server.port, silence=SHORT), body=[big(64 << 20)], length=64 << 20)


def test_who_reads_a_byte_now_and_then_ends_the_sending_at_the_deadline(
    wire_to: MakeWire, big: Big
) -> None:
    def sip(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while not server.ended.wait(0.005):
            connection.recv(2048)

    with talking(sip) as server:
        body = [big(64 << 20)]
        with pytest.raises(TimeoutError):
            ask(wire_to(server.port), body=body, length=64 << 20, seconds=2 * SHORT)


def test_nobody_who_accepts_ends_the_connecting(wire_to: MakeWire) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # takes the only place
            wires = [wire_to(port, silence=SHORT) for _ in range(4)]  # more than ever fit in
            with pytest.raises(TimeoutError):
                connect_all(wires)


def connect_all(wires: list[Wire]) -> None:
    for wire in wires:
        wire.connect(time.monotonic() + PATIENCE)


@contextmanager
def nobody_accepts() -> Iterator[int]:
    """A port where a connection is never answered: its queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        yield full.getsockname()[1]


def test_an_address_that_swallows_everything_does_not_keep_from_the_next(
    wire_to: MakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an IPv6 that is set up and leads nowhere."""
    with talking(saying(ANSWER)) as server, nobody_accepts() as hole:
        both = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
                for port in (hole, server.port)]  # fmt: skip
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        monkeypatch.setattr(wire_module, "NEXT_ADDRESS_SECONDS", SHORT)
        assert ask(wire_to(server.port)).body == b"ok"


def test_a_handshake_that_nobody_answers_ends_the_connecting(wire_to: MakeWire) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with talking(silent) as server, pytest.raises(TimeoutError):
        wire_to(server.port, silence=SHORT, ssl_context=context).connect(
            time.monotonic() + PATIENCE
        )


def test_a_deadline_that_has_passed_sends_nothing(wire_to: MakeWire) -> None:
    clock = Clock()
    with talking(silent) as server:
        wire = wire_to(server.port, clock=clock)
        with pytest.raises(TooLateError):
            wire.connect(clock() - 1)
        assert server.connections == 0


# Memory


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
def test_of_an_endless_answer_no_more_is_kept_than_was_wanted(
    wire_to: MakeWire, head: bytes
) -> None:
    def pour(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(head)
        while True:
            connection.sendall(bytes(1 << 16))

    with talking(pour) as server:
        tracemalloc.start()
        try:
            received = ask(wire_to(server.port))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(received.body) == AT_MOST
    assert peak < 2 << 20


# The body's own errors


@pytest.mark.parametrize("error", [OSError(5, "EIO"), TimeoutError(), ValueError("x"), KeyError()])
def test_what_reading_the_body_raises_is_told_apart_from_the_connection(
    wire_to: MakeWire, error: Exception
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise error

    with talking(silent) as server:
        wire = wire_to(server.port)
        with pytest.raises(BodyFailedError) as caught:
            ask(wire, body=broken(), length=2)
        assert caught.value.error is error


def test_after_each_failure_nothing_is_left_open(wire_to: MakeWire) -> None:
    before = open_descriptors()

    def fail() -> Iterator[bytes]:
        raise OSError
        yield b""

    with talking(silent) as server:
        for wire, body in ((wire_to(server.port, silence=SHORT), iter([b"x"])),
                           (wire_to(server.port), fail())):  # fmt: skip
            with pytest.raises((OSError, BodyFailedError)):
                ask(wire, body=body, length=1)
    assert open_descriptors() <= before


# What is no request


@pytest.mark.parametrize(
    ("target", "header"),
    [
        (b"/ HTTP/1.1\r\nX: y", (b"X", b"y")),
        (b"/a b", (b"X", b"y")),
        (b"", (b"X", b"y")),
        (b"/", (b"X", b"SECRET\r\nY: z")),
        (b"/", (b"X", b"SECRET\n")),
        (b"/", (b"X", b"SECRET\0")),
        (b"/", (b"X: SECRET\r\nY", b"z")),
        (b"/", (b"X ", b"SECRET")),
        (b"/", (b"", b"SECRET")),
    ],
)
def test_nothing_is_sent_that_would_be_another_request(
    wire_to: MakeWire, target: bytes, header: tuple[bytes, bytes]
) -> None:
    with talking(silent) as server:
        wire = wire_to(server.port)
        wire.connect(time.monotonic() + PATIENCE)
        request = Request("GET", target, [header])
        with pytest.raises(UnfitRequestError) as caught:
            wire.exchange(request, (), at_most=AT_MOST, deadline=time.monotonic() + PATIENCE)
    assert "SECRET" not in repr(caught.value)


@pytest.mark.parametrize("length", [1, 7, 9, 1 << 20])
def test_a_body_of_another_length_than_announced_is_no_answered_request(
    wire_to: MakeWire, big: Big, length: int
) -> None:
    with talking(silent) as server, pytest.raises(UnfitRequestError, match="not as long"):
        ask(wire_to(server.port), body=[b"12345", big(3)], length=length)


# A proxy's tunnel


def proxied(wire_to: MakeWire, server_port: int, **options: object) -> Wire:
    return wire_to(1, proxy=Proxy("127.0.0.1", server_port, "Basic U0VDUkVU"), **options)


def test_a_tunnel_is_asked_for_by_name_and_then_used(wire_to: MakeWire) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        heads.append(head_of(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
        saying(ANSWER)(connection)

    with talking(talk) as server:
        wire = proxied(wire_to, server.port)
        for _ in range(2):
            assert ask(wire).body == b"ok"
        assert server.connections == 1
    (head,) = heads
    assert head.split(b"\r\n") == [
        b"CONNECT 127.0.0.1:1 HTTP/1.1",
        b"Host: 127.0.0.1:1",
        b"Proxy-Authorization: Basic U0VDUkVU",
        *[b"", b""],
    ]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "the proxy answered 502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy: "),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "the proxy: "),
    ],
)
def test_a_proxy_that_does_not_connect_is_named(
    wire_to: MakeWire, answer: bytes, says: str
) -> None:
    with talking(saying(answer)) as server:
        wire = proxied(wire_to, server.port)
        with pytest.raises(ConnectionError, match=says) as caught:
            ask(wire)
    assert "U0VDUkVU" not in repr(caught.value)


def test_a_proxy_that_is_silent_or_gone_is_bounded(wire_to: MakeWire) -> None:
    with talking(silent) as server:
        with pytest.raises(TimeoutError):
            ask(proxied(wire_to, server.port, silence=SHORT))
        port = server.port
    with pytest.raises(ConnectionError, match=f"the proxy 127.0.0.1:{port}: "):
        ask(proxied(wire_to, port))
    with talking(dripping(b"HTTP/1.1 200 ", b"x")) as server, pytest.raises(TimeoutError):
        ask(proxied(wire_to, server.port), seconds=SHORT)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "\udcff.test", "a..b"])
def test_a_name_that_no_host_can_have_is_a_connection_error(host: str) -> None:
    wire = Wire(host, 443, ssl_context=None, silence=1)
    with pytest.raises(OSError):  # noqa: PT011 - the text is the system's
        wire.connect(time.monotonic() + 1)
