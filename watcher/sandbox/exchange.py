"""One request and its answer on one connection: reading strictly, answering in one send."""

import contextlib
import re
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from io import BufferedReader
from threading import Event
from typing import NoReturn, Protocol
from urllib.parse import parse_qsl, unquote

from watcher.sandbox.answers import Answer, Refused

CHUNK = 1 << 16
"""Bytes read or sent at a time."""

_MAX_LINE = 1 << 14
_MAX_HEADERS = 64
_LINGER_SECONDS = 1.0
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])\r\n")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HungUp(Exception):
    """The stand-in ends this connection now."""


class Stopping(Exception):
    """The stand-in is being stopped."""


@dataclass(frozen=True)
class Request:
    """What came before the body. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool

    @cached_property
    def path(self) -> str:
        """The path without the query."""
        return unquote(self.target.partition("?")[0])

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The query's parameters as far as they can be read, for the records."""
        return dict(parse_qsl(self.target.partition("?")[2], errors="replace"))

    def strict_query(self) -> Mapping[str, str]:
        """The query's parameters; raises `Refused` if one comes twice or cannot be read."""
        return pairs(self.target.partition("?")[2])


class Body:
    """The bytes after the headers, read in pieces. Owned by the connection's thread.

    `length` is None if the client did not say it: such a body cannot be read.
    """

    def __init__(
        self,
        stream: BufferedReader,
        length: int | None,
        *,
        before_reading: Callable[[], None],
        on_read: Callable[[int], None],
    ) -> None:
        self.length = length
        self.received = 0
        self._stream = stream
        self._before_reading = before_reading
        self._on_read = on_read

    @property
    def finished(self) -> bool:
        """Whether all of it was read, so that the connection can be used again."""
        return self.received == self.length

    def read(self) -> bytes:
        """The next piece, empty at the end.

        Raises `Refused` for a body without a length and `ConnectionError` if the client went away
        before the end.
        """
        if self.length is None:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is required")
        if self.finished:
            return b""
        if not self.received:
            self._before_reading()
        piece = self._stream.read1(min(CHUNK, self.length - self.received))
        if not piece:
            raise ConnectionAbortedError(f"body ended at byte {self.received} of {self.length}")
        self.received += len(piece)
        self._on_read(len(piece))
        return piece

    def read_all(self, limit: int) -> bytes:
        """A small body as a whole; raises `Refused` if it is longer than `limit`."""
        if self.length is not None and self.length > limit:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {limit} bytes")
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        """Read and forget what is left, if its length is known."""
        while self.length is not None and self.read():
            pass


class Site(Protocol):
    """What an exchange needs from the service it belongs to."""

    @property
    def latency_seconds(self) -> float:
        """The wait before each answer."""
        ...

    def respond(self, exchange: "Exchange") -> Answer:
        """The ordinary answer; the body has been read when it returns."""
        ...

    def received(self, count: int) -> None:
        """`count` more bytes of a body have come in."""
        ...

    def answering(self, exchange: "Exchange", status: int) -> None:
        """`status` is about to be sent, or 0: the exchange ends without an answer."""
        ...


class Exchange:
    """One request, its body, and the means to answer it or to misbehave.

    Owned by the connection's thread; all waits end at once when the service stops.
    """

    def __init__(
        self,
        request: Request,
        stream: BufferedReader,
        connection: socket.socket,
        *,
        site: Site,
        stopping: Event,
    ) -> None:
        self.request = request
        self.body = Body(
            stream, body_length(request), before_reading=self._invite, on_read=site.received
        )
        self.content_hash = ""
        self.fault = ""
        self.reusable = False
        self._connection = connection
        self._site = site
        self._stopping = stopping
        self._told = False

    def ordinary(self) -> Answer:
        """What the service says to this request, with all its effects; nothing is sent yet."""
        return self._site.respond(self)

    def send(self, answer: Answer, *, close: bool = False) -> None:
        """Send the answer in one piece, after the service's latency.

        The connection stays usable if the body was read to its end, the client wants it so, and
        `close` is not asked for.
        """
        self.send_raw(self.encoded(answer, close=close), status=answer.status)

    def encoded(self, answer: Answer, *, close: bool = False) -> bytes:
        """The answer as bytes, having settled whether the connection can be used again."""
        self.reusable = self.request.keep_alive and self.body.finished and not close
        return answer.encoded(head=self.request.method == "HEAD", close=not self.reusable)

    def send_raw(self, data: bytes, *, status: int) -> None:
        """Send these bytes; `status` is what the records say of it, if they are the first."""
        if not self._told:
            self.wait(self._site.latency_seconds)
            self._tell(status)
        self._connection.sendall(data)

    def wait(self, seconds: float | None) -> None:
        """Wait; for ever if None. Raises `Stopping` when the service stops."""
        if seconds != 0 and self._stopping.wait(seconds):
            raise Stopping

    def hang_up(self) -> NoReturn:
        """End the connection now."""
        raise HungUp

    def reset(self) -> NoReturn:
        """End the connection with a TCP reset."""
        no_linger = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        raise HungUp

    def linger(self) -> None:
        """Let the client finish its sending, so that it can read an early answer."""
        linger(self._connection)

    def finish(self) -> None:
        """The exchange is over, however it ended."""
        if not self._told:
            self._tell(0)

    def _invite(self) -> None:
        if self.request.headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(_CONTINUE)

    def _tell(self, status: int) -> None:
        self._told = True
        self._site.answering(self, status)


def read_request(stream: BufferedReader) -> Request | None:
    """The next request up to its empty line; None if the client has ended the connection.

    Raises `Refused` for what is not strict HTTP/1.1.
    """
    line = stream.readline(_MAX_LINE)
    if not line:
        return None
    found = _REQUEST_LINE.fullmatch(line)
    if not found:
        raise Refused(HTTPStatus.BAD_REQUEST, "malformed request line")
    headers = _read_headers(stream)
    minor = found[3]
    if minor == b"1" and "host" not in headers:
        raise Refused(HTTPStatus.BAD_REQUEST, "no Host header")
    keep_alive = minor == b"1" and headers.get("connection", "").lower() != "close"
    return Request(found[1].decode(), found[2].decode(), headers, keep_alive)


def body_length(request: Request) -> int | None:
    """The body's length in bytes, None if it is not said; raises `Refused` for nonsense."""
    if "transfer-encoding" in request.headers:
        return None
    said = request.headers.get("content-length")
    if said is None:
        return None if request.method in {"POST", "PUT", "PATCH"} else 0
    if not re.fullmatch(r"[0-9]{1,15}", said):
        raise Refused(HTTPStatus.BAD_REQUEST, "malformed Content-Length")
    return int(said)


def pairs(encoded: str) -> Mapping[str, str]:
    """The parameters of a query or form; raises `Refused` if one comes twice or they are bad."""
    try:
        found = parse_qsl(
            encoded,
            keep_blank_values=True,
            strict_parsing=bool(encoded),
            errors="strict",
            max_num_fields=16,
        )
    except ValueError as problem:
        raise Refused(HTTPStatus.BAD_REQUEST, f"malformed parameters: {problem}") from problem
    names = dict(found)
    if len(names) < len(found):
        raise Refused(HTTPStatus.BAD_REQUEST, "a parameter comes twice")
    return names


def linger(connection: socket.socket) -> None:
    """Half-close, then read what the client still sends, until it ends or is silent for a second.

    Closing with bytes unread would send a reset, which can destroy the answer on its way.
    """
    with contextlib.suppress(OSError):  # the client is gone already, which is the aim
        socket.socket.shutdown(connection, socket.SHUT_WR)
        connection.settimeout(_LINGER_SECONDS)
        while connection.recv(CHUNK):
            pass


def _read_headers(stream: BufferedReader) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = stream.readline(_MAX_LINE)
        if line == b"\r\n":
            return headers
        found = _HEADER_LINE.fullmatch(line)
        if not found:
            raise Refused(HTTPStatus.BAD_REQUEST, "malformed header")
        name = found[1].decode().lower()
        if name in headers:
            raise Refused(HTTPStatus.BAD_REQUEST, f"header {name} comes twice")
        headers[name] = found[2].decode("latin-1").strip()
    raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers")
