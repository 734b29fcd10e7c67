"""HTTP/1.1 on one socket, by h11: the lean transport under httpx.

httpx's own pool costs two to three times the processor for each request, and its time-outs are for
each operation alone: a server that sends a byte a second keeps it for ever. Here every wait is
bounded by the silence that is allowed and by one deadline for the whole exchange.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

import h11

from watcher.pieces import FilePart, Piece, send_uncopied, wait_until_ready

RECEIVE = 64 << 10
MAX_INTERIM = 16
"""1xx answers before the real one that are put up with."""

Headers = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")


class Received(NamedTuple):
    """An answer: status, headers with lower-case names, as much of the body as was wanted, and
    whether that is all of it."""

    status: int
    headers: Headers
    body: bytes
    whole: bool


class TooLateError(TimeoutError):
    """The exchange as a whole took too long, though the other side was never silent for long."""


class BodyFailedError(Exception):
    """What was to be sent could not be got; `error` says why. It is not the connection's fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where to ask for a tunnel; `authorization` is a header's value, "" for none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


class Wire:
    """A connection to one host, made when it is needed and kept while both sides agree to.

    Owned by one thread. Times are in seconds of `clock`. Raises `OSError` (`TimeoutError` and
    `ssl.SSLError` among them), `h11.ProtocolError` and `BodyFailedError`; after each of them the
    connection is closed.
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
        self._protocol = h11.Connection(h11.CLIENT)

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
        self._protocol = h11.Connection(h11.CLIENT)

    def _opened(self, deadline: float) -> socket.socket:
        """A connection to the first address that answers, all of them before the deadline."""
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else self._address
        failed: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            opened = socket.socket(family, kind, protocol)
            try:
                opened.settimeout(self._wait(deadline))
                opened.connect(address)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened.setblocking(False)
            except OSError as error:
                opened.close()
                failed = failed or error
            else:
                return opened
        if self._proxy and not isinstance(failed, TimeoutError):
            raise ConnectionError(f"the proxy {host}:{port}: {failed}") from failed
        raise failed or ConnectionError("its name has no address")

    def _tunnel(self, proxy: Proxy, deadline: float) -> None:
        """Asks the proxy to connect us (RFC 9110, 9.3.6). It sees the name of the host, no more."""
        host, port = self._address
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        headers = [("Host", target)]
        if proxy.authorization:
            headers.append(("Proxy-Authorization", proxy.authorization))
        self._protocol = h11.Connection(h11.CLIENT)
        request = h11.Request(method="CONNECT", target=target, headers=headers)
        try:
            asked = self._protocol.send(request) or b""
            self._write(asked + (self._protocol.send(h11.EndOfMessage()) or b""), deadline)
            status = self._head(deadline).status_code
        except h11.ProtocolError as error:
            raise ConnectionError(f"the proxy: {error}") from error
        if not 200 <= status < 300:
            raise ConnectionError(f"the proxy answered {status}")

    def exchange(
        self, request: h11.Request, body: Iterable[Piece], *, at_most: int, deadline: float
    ) -> Received:
        """Sends a request on the connection and reads its answer, `at_most` bytes of its body."""
        done = False
        try:
            try:
                self._send(request, body, deadline)
            except OSError as error:
                # It may have answered and closed before it read everything; that answer counts.
                received = self._answer_in_spite_of(error, at_most, deadline)
            else:
                received = self._receive(at_most, deadline)
                done = received.whole and self._protocol.our_state is h11.DONE
            done = done and self._protocol.their_state is h11.DONE
            # Whatever came behind the answer must not be taken for that to the next question.
            done = done and not self._protocol.trailing_data[0]
        finally:
            if done:
                self._protocol.start_next_cycle()
            else:
                self.close()
        return received

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # Sending

    def _send(self, request: h11.Request, body: Iterable[Piece], deadline: float) -> None:
        waiting = self._protocol.send(request) or b""
        for piece in _pieces_of(body):
            # In one packet with the headers if it is small; a large one is not copied for that.
            if isinstance(piece, bytes) and len(waiting) + len(piece) <= RECEIVE:
                waiting += self._protocol.send(h11.Data(data=piece)) or b""
                continue
            self._write(waiting, deadline)
            waiting = b""
            data = h11.Data(data=piece)  # type: ignore[arg-type] # it takes what has a length
            parts: Iterable[Piece] = self._protocol.send_with_data_passthrough(data) or ()
            for part in parts:
                if isinstance(part, FilePart):
                    self._write_file(part, deadline)
                else:
                    self._write(part, deadline)
        self._write(waiting + (self._protocol.send(h11.EndOfMessage()) or b""), deadline)

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

    def _receive(self, at_most: int, deadline: float) -> Received:
        head = self._head(deadline)
        pieces, length = [], 0
        while isinstance(event := self._next(deadline), h11.Data):
            pieces.append(event.data)
            length += len(event.data)
            if length > at_most:
                break
        body = b"".join(pieces)
        return Received(head.status_code, list(head.headers), body[:at_most], length <= at_most)

    def _head(self, deadline: float) -> h11.Response:
        for _ in range(MAX_INTERIM):
            event = self._next(deadline)
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("it closed the connection without an answer")
        raise h11.RemoteProtocolError("it sends interim answers without end")

    def _next(self, deadline: float) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            received = partial(self._connected().recv, RECEIVE)
            self._protocol.receive_data(self._in_time(received, select.POLLIN, deadline))
        return event

    def _answer_in_spite_of(self, error: OSError, at_most: int, deadline: float) -> Received:
        try:
            return self._receive(at_most, deadline)
        except (OSError, h11.ProtocolError):
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


def _pieces_of(body: Iterable[Piece]) -> Iterator[Piece]:
    try:
        yield from body
    except Exception as error:
        raise BodyFailedError(error) from error


def _has_something_to_say(idle: socket.socket) -> bool:
    """Whether an idle connection is readable: then the other side has closed it, or is no HTTP
    server."""
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))
