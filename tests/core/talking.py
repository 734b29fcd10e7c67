"""The other side of a connection, as bad as it is told to be; and a client that asks it."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from tests.core.factories import PATIENCE
from watcher.answer import Received
from watcher.pieces import FilePart, Piece
from watcher.wire import Request, Wire

Talk = Callable[[socket.socket], None]

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Listens on loopback; each connection is talked with in a thread of its own and then closed.

    `connections` counts them; `ended` is set when the listener is closed, for talks to wait on.
    """

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.ended = threading.Event()
        self._accepted: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._accepted.append(accepted)
            thread = threading.Thread(target=self._serve, args=[accepted], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, suppress(OSError):
            self._talk(accepted)

    def stop(self) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for accepted in self._accepted:
            with suppress(OSError):  # the talk has ended it already
                accepted.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


@contextmanager
def talking(talk: Talk) -> Iterator[Server]:
    server = Server(talk)
    try:
        yield server
    finally:
        server.stop()


def head_of(connection: socket.socket) -> bytes:
    """A request's head, up to the blank line; b"" if the client has gone."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    return head


def saying(answer: bytes) -> Talk:
    """Answers each request so, as long as the client wants."""

    def talk(connection: socket.socket) -> None:
        while head_of(connection):
            connection.sendall(answer)

    return talk


def dripping(start: bytes, drip: bytes) -> Talk:
    """Sends `start`, then `drip` again and again until the client has had enough."""

    def talk(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(start)
        pause = threading.Event()
        while not pause.wait(0.005):
            connection.sendall(drip)

    return talk


def silent(connection: socket.socket) -> None:
    """Reads what comes, says nothing, until the client goes."""
    while connection.recv(1 << 16):
        pass


# A client


AT_MOST = 64 << 10


def ask(
    wire: Wire,
    *,
    body: Iterable[Piece] = (),
    length: int = 0,
    seconds: float = PATIENCE,
) -> Received:
    deadline = time.monotonic() + seconds
    wire.connect(deadline)
    headers = [(b"Host", b"here"), (b"Content-Length", b"%d" % length)]
    request = Request("POST" if length else "GET", b"/", headers, length)
    return wire.exchange(request, body, at_most=AT_MOST, deadline=deadline)


def part_of(
    fd: int, length: int, offset: int = 0, sent_to: Callable[[int], object] = lambda _: None
) -> FilePart:
    return FilePart(fd, offset, length, sent_to)
