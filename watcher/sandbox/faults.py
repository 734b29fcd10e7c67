"""How the stand-in can misbehave: each fault is a callable value."""

# ruff: noqa: D102 - what calling a fault does is what the docstring of its class says

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Literal, Protocol

from watcher.sandbox.answers import Answer, error, status_line, text
from watcher.sandbox.exchange import CHUNK, Exchange

Place = Literal["before_body", "in_body", "after_body"]
"""Where in a request something happens."""

HashForm = Literal["wrong", "upper", "quoted", "base64", "spaced"]
"""How the hash of an upload can look in the answer."""


class Fault(Protocol):
    """One way to misbehave: called with a request, it does all that is done about it.

    Called in the thread of the request's connection.
    """

    def __call__(self, exchange: Exchange) -> None: ...


@dataclass(frozen=True)
class Status:
    """Any status, with headers such as `Retry-After`; without `body`, the documented error body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __call__(self, exchange: Exchange) -> None:
        exchange.body.drain()
        exchange.send(self.answer(exchange.request.path))

    def answer(self, path: str) -> Answer:
        """The answer itself."""
        if self.body is not None or self.status < HTTPStatus.BAD_REQUEST:
            return Answer(self.status, self.body or b"", headers=self.headers)
        return error(self.status, "Told to fail", path=path, headers=self.headers)


@dataclass(frozen=True)
class EarlyAnswer:
    """Answer before the body was read, and close.

    `abrupt`: without waiting for what the client still sends, so that it may get a reset instead of
    the answer.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    abrupt: bool = False

    def __call__(self, exchange: Exchange) -> None:
        answer = Status(self.status, self.headers).answer(exchange.request.path)
        exchange.send(answer, close=True)
        if not self.abrupt:
            exchange.linger()
        exchange.hang_up()


@dataclass(frozen=True)
class Slow:
    """The ordinary answer, late.

    In seconds: before the body is read, before the answer, between the answer's bytes (drip).
    """

    before_reading: float = 0.0
    before_answer: float = 0.0
    between_bytes: float = 0.0

    def __call__(self, exchange: Exchange) -> None:
        exchange.wait(self.before_reading)
        answer = exchange.ordinary()
        exchange.wait(self.before_answer)
        if not self.between_bytes:
            exchange.send(answer)
            return
        for byte in exchange.encoded(answer):
            exchange.send_raw(bytes([byte]), status=answer.status)
            exchange.wait(self.between_bytes)


@dataclass(frozen=True)
class Reset:
    """A TCP reset instead of an answer; nothing is stored."""

    place: Place = "before_body"

    def __call__(self, exchange: Exchange) -> None:
        _read_until(exchange, self.place)
        exchange.reset()


@dataclass(frozen=True)
class Close:
    """The connection is closed without an answer; nothing is stored."""

    place: Place = "after_body"

    def __call__(self, exchange: Exchange) -> None:
        _read_until(exchange, self.place)
        exchange.hang_up()


@dataclass(frozen=True)
class NeverAnswer:
    """Silence until the stand-in stops; nothing is stored."""

    place: Place = "after_body"

    def __call__(self, exchange: Exchange) -> None:
        _read_until(exchange, self.place)
        exchange.wait(None)


@dataclass(frozen=True)
class DieAfterWork:
    """All is done, the content is stored, but the connection dies before the answer."""

    reset: bool = False

    def __call__(self, exchange: Exchange) -> None:
        exchange.ordinary()
        if self.reset:
            exchange.reset()
        exchange.hang_up()


@dataclass(frozen=True)
class CloseUnannounced:
    """The ordinary answer promises to keep the connection, which is closed right behind it."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.send(exchange.ordinary())
        exchange.hang_up()


@dataclass(frozen=True)
class OtherHash:
    """The content is stored, but its hash comes back in another form, or is another one."""

    form: HashForm = "wrong"

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.ordinary()
        if answer.status == HTTPStatus.CREATED:
            answer = replace(answer, body=self._rendered(answer.body.decode()).encode())
        exchange.send(answer)

    def _rendered(self, sha256: str) -> str:
        match self.form:
            case "wrong":
                return sha256[1:] + ("0" if sha256[0] != "0" else "1")
            case "upper":
                return sha256.upper()
            case "quoted":
                return f'"{sha256}"'
            case "base64":
                return base64.b64encode(bytes.fromhex(sha256)).decode()
            case "spaced":
                return f" \t{sha256}\r\n\n"


@dataclass(frozen=True)
class Html:
    """A page of HTML that says all is well, as a captive portal does; nothing is stored."""

    status: int = HTTPStatus.OK

    def __call__(self, exchange: Exchange) -> None:
        exchange.body.drain()
        exchange.send(text("<!doctype html><p>Welcome", status=self.status, kind="html"))


@dataclass(frozen=True)
class Oversized:
    """A body of `size` bytes, endless if None; nothing is stored."""

    size: int | None = 3 << 20
    status: int = HTTPStatus.CREATED

    def __call__(self, exchange: Exchange) -> None:
        exchange.body.drain()
        if self.size is not None:
            exchange.send(Answer(self.status, b"0" * self.size))
            return
        head = f"{status_line(self.status)}\r\nConnection: close\r\n\r\n".encode()
        exchange.send_raw(head, status=self.status)
        while True:
            exchange.send_raw(b"0" * CHUNK, status=self.status)


@dataclass(frozen=True)
class Gzipped:
    """The ordinary body compressed, with `padding` spaces behind it: a bomb, if they are many."""

    padding: int = 0

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.ordinary()
        headers = {**answer.headers, "Content-Encoding": "gzip"}
        body = gzip.compress(answer.body + b" " * self.padding)
        exchange.send(replace(answer, body=body, headers=headers))


@dataclass(frozen=True)
class EndlessInterim:
    """Interim answers (1xx) for ever, `interval` seconds apart; nothing is stored."""

    interval: float = 0.01

    def __call__(self, exchange: Exchange) -> None:
        exchange.body.drain()
        status = HTTPStatus.PROCESSING
        while True:
            exchange.send_raw(f"{status_line(status)}\r\n\r\n".encode(), status=status)
            exchange.wait(self.interval)


@dataclass(frozen=True)
class Redirect:
    """Sends the client elsewhere. The default is a loopback port that nobody listens on."""

    location: str = "http://127.0.0.2:9/upload"
    status: int = HTTPStatus.TEMPORARY_REDIRECT

    def __call__(self, exchange: Exchange) -> None:
        exchange.body.drain()
        exchange.send(Answer(self.status, headers={"Location": self.location}))


@dataclass(frozen=True)
class Garbage:
    """Bytes that are not HTTP, then the end."""

    data: bytes = b"\x00\xff220 mail.example ESMTP\r\n\r\n"

    def __call__(self, exchange: Exchange) -> None:
        exchange.body.drain()
        exchange.send_raw(self.data, status=0)
        exchange.hang_up()


def _read_until(exchange: Exchange, place: Place) -> None:
    """Read none, half or all of the body."""
    if place == "after_body":
        exchange.body.drain()
    elif place == "in_body":
        while exchange.body.received < (exchange.body.length or 0) // 2:
            exchange.body.read()
