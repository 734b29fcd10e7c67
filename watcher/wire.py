"""HTTP/1.1 on one socket: the lean transport under httpx.

httpx's own pool costs two to three times the processor for each request, and its time-outs are for
each operation alone: a server that sends a byte a second keeps it for ever. Here every wait is
bounded by the silence that is allowed and by one deadline for the whole exchange; but for the
look-up of a name, which ends when resolv.conf says.
"""

import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from watcher.answer import AnswerReader, BrokenAnswerError, Headers, Received
from watcher.pieces import (
    BodyFailedError,
    FilePart,
    Piece,
    pieces_of,
    send_uncopied,
    wait_until_ready,
)
from watcher.proxies import Proxy

RECEIVE = 64 << 10

NEXT_ADDRESS_SECONDS = 5.0
"""How long one address of several may be silent: IPv6 is not seldom set up, but leads nowhere."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_TARGET = re.compile(rb"[!-~]+")

T = TypeVar("T")


class Request(NamedTuple):
    """What is asked. `length` is that of its body, which its headers say, too."""

    method: str
    target: bytes
    headers: Headers
    length: int = 0

    def head(self) -> bytes:
        """The bytes of it, up to the blank line. Raises `UnfitRequestError`."""
        fit = _TARGET.fullmatch(self.target) and all(
            _NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in self.headers
        )
        if not fit:
            raise UnfitRequestError("a header or the address holds what HTTP cannot send")
        lines = [b"%b: %b\r\n" % header for header in self.headers]
        start = b"%b %b HTTP/1.1\r\n" % (self.method.encode("ascii"), self.target)
        return b"".join((start, *lines, b"\r\n"))


class UnfitRequestError(Exception):
    """It cannot be sent as HTTP. The text quotes nothing, for that might be a token."""


class TooLateError(TimeoutError):
    """The exchange as a whole took too long, though the other side was never silent for long."""


class Wire:
    """A connection to one host, made when it is needed and kept while both sides agree to.

    Owned by one thread. Times are in seconds of `clock`. Raises `OSError` (`TimeoutError` and
    `ssl.SSLError` among them), `BrokenAnswerError`, `UnfitRequestError` and `BodyFailedError`; then
    the connection is closed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None,
        silence: float,
        proxy: Proxy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ssl_context` is None for plain HTTP; `silence` bounds each wait for the other side."""
        self._address = (host, port)
        self._proxy = proxy
        self._ssl_context = ssl_context
        self._silence = silence
        self._clock = clock
        self._socket: socket.socket | None = None

    def connect(self, deadline: float) -> None:
        """Makes sure that there is a connection that the other side has not closed."""
        if self._socket is not None and not _has_something_to_say(self._socket):
            return
        self.close()
        try:
            self._socket = self._opened(deadline)
            if self._proxy is not None:
                self._tunnel(self._proxy, deadline)
            if self._ssl_context is not None:
                self._socket.settimeout(self._wait(deadline))
                self._socket = self._ssl_context.wrap_socket(
                    self._socket, server_hostname=self._address[0]
                )
                self._socket.setblocking(False)
        except ValueError as error:  # a name that no host can have
            self.close()
            raise ConnectionError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _opened(self, deadline: float) -> socket.socket:
        """A connection to the first address that answers, all of them before the deadline."""
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else self._address
        failed: OSError | None = None
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for left, found in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                seconds = self._wait(deadline)
                return _reached(found, min(seconds / 2, NEXT_ADDRESS_SECONDS) if left else seconds)
            except OSError as error:
                failed = failed or error
        if self._proxy and not isinstance(failed, TimeoutError):
            raise ConnectionError(f"the proxy {host}:{port}: {failed}") from failed
        raise failed or ConnectionError("its name has no address")

    def _tunnel(self, proxy: Proxy, deadline: float) -> None:
        """Asks the proxy to connect us (RFC 9110, 9.3.6). It sees the name of the host, no more."""
        host, port = self._address
        target = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")
        headers = [(b"Host", target)]
        if proxy.authorization:
            headers.append((b"Proxy-Authorization", proxy.authorization.encode("latin-1")))
        request = Request("CONNECT", target, headers)
        try:
            self._write(request.head(), deadline)
            status = self._receive(AnswerReader(at_most=0, bodiless=True), deadline).status
        except (BrokenAnswerError, UnfitRequestError) as error:
            raise ConnectionError(f"the proxy: {error}") from error
        if not 200 <= status < 300:
            raise ConnectionError(f"the proxy answered {status}")

    def exchange(
        self, request: Request, body: Iterable[Piece], *, at_most: int, deadline: float
    ) -> Received:
        """Sends a request on the connection and reads its answer, `at_most` bytes of its body."""
        answer = AnswerReader(at_most=at_most, bodiless=request.method == "HEAD")
        done = False
        try:
            try:
                self._send(request, body, deadline)
            except OSError as error:
                # It may have answered and closed before it read everything; that answer counts.
                received = self._answer_in_spite_of(error, answer, deadline)
            else:
                received = self._receive(answer, deadline)
                done = answer.leaves_connection
        finally:
            if not done:
                self.close()
        return received

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # Sending

    def _send(self, request: Request, body: Iterable[Piece], deadline: float) -> None:
        waiting, left = request.head(), request.length
        for piece in pieces_of(body):
            left -= len(piece)
            if left < 0:
                break
            # In one packet with the headers if it is small; a large one is not copied for that.
            if isinstance(piece, bytes) and len(waiting) + len(piece) <= RECEIVE:
                waiting += piece
                continue
            self._write(waiting, deadline)
            waiting = b""
            if isinstance(piece, FilePart):
                self._write_file(piece, deadline)
            else:
                self._write(piece, deadline)
        if left:
            raise UnfitRequestError("the body is not as long as was announced")
        self._write(waiting, deadline)

    def _write(self, data: bytes, deadline: float) -> None:
        connected, view = self._connected(), memoryview(data)
        while view:
            sent = self._in_time(partial(connected.send, view), select.POLLOUT, deadline)
            view = view[sent:]

    def _write_file(self, part: FilePart, deadline: float) -> None:
        offset, end = part.offset, part.offset + part.length
        if self._ssl_context is None:
            offset = send_uncopied(self._connected(), part, wait=lambda: self._wait(deadline))
        while offset < end:
            try:
                data = part.read(offset, end)
            except Exception as error:
                raise BodyFailedError(error) from error
            self._write(data, deadline)
            offset += len(data)
            part.sent_to(offset)

    # Receiving

    def _receive(self, answer: AnswerReader, deadline: float) -> Received:
        while not answer.done:
            received = partial(self._connected().recv, RECEIVE)
            answer.feed(self._in_time(received, select.POLLIN, deadline))
        return answer.received()

    def _answer_in_spite_of(
        self, error: OSError, answer: AnswerReader, deadline: float
    ) -> Received:
        try:
            return self._receive(answer, deadline)
        except (OSError, BrokenAnswerError):
            raise error from None

    # Both

    def _in_time(self, operation: Callable[[], T], event: int, deadline: float) -> T:
        """What it gives on the socket; if it would block, `event` is waited for first. (A time-out
        of the socket's own costs two more system calls each time.)"""
        while True:
            seconds = self._wait(deadline)
            try:
                return operation()
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            except BlockingIOError:
                pass
            wait_until_ready(self._connected(), event, seconds)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("there is no connection")
        return self._socket

    def _wait(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise TooLateError("no complete answer within the deadline")
        return min(self._silence, left)


def _reached(found: tuple[Any, ...], seconds: float) -> socket.socket:
    """A connection to an address that `getaddrinfo` has found. Raises `OSError`."""
    family, kind, protocol, _, address = found
    opened = socket.socket(family, kind, protocol)
    try:
        opened.settimeout(seconds)
        opened.connect(address)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def _has_something_to_say(idle: socket.socket) -> bool:
    """Whether an idle connection is readable: then the other side has closed it, or is no HTTP
    server."""
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))
