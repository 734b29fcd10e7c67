"""What the process does that has the connections: for each line a thread with a connection.

It decides nothing, writes nothing and logs nothing. It ends when the daemon's end of its channel is
closed, however that came about.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from threading import Thread

from watcher.channel import Channel, ChannelLost
from watcher.connection import DirectConnection, connections
from watcher.line import END, MORE, STOP, NewLine, StoppedError
from watcher.pieces import FilePart, Piece

TELL_SECONDS = 0.2
"""How often it is told how much of a part is sent."""


def dial(channel: Channel, environ: Mapping[str, str]) -> None:
    """Serves the lines that are opened, until the channel is closed."""

    @lru_cache(maxsize=2)  # the shift that ends, and the one that begins
    def connect(new: NewLine) -> Callable[[], DirectConnection]:
        return connections(new.terms, environ)

    while True:
        try:
            new, end = channel.receive()
        except ChannelLost:
            return
        line = Channel(socket.socket(fileno=end))
        Thread(target=_serve, args=(line, connect(new)), daemon=True).start()


def _serve(line: Channel, connect: Callable[[], DirectConnection]) -> None:
    """Until the line is closed."""
    with line, connect() as connection:
        while True:
            try:
                line.send(_outcome(connection, line))
            except ChannelLost:
                return


def _outcome(connection: DirectConnection, line: Channel) -> tuple[object, ...] | Exception:
    """Of one exchange, as the line has it. Raises `ChannelLost`."""
    (asked, *pieces), fd = line.receive()
    method, url, query, headers, length = asked
    body = _Body(line, length, pieces, fd)
    try:
        answer = connection.exchange(method, url, query=query, headers=headers, body=body)
    except ChannelLost:
        raise
    except Exception as error:  # noqa: BLE001 - the other side raises it
        return error
    finally:
        body.close()
    return answer.status, answer.headers, answer.body


class _Body:
    """What comes over the line for one exchange. `close` gives the file back that came with it."""

    def __init__(self, line: Channel, length: int, pieces: list[object], fd: int | None) -> None:
        self.length = length
        self._line = line
        self._pieces = pieces
        self._fd = fd
        self._told = time.monotonic()

    def __iter__(self) -> Iterator[Piece]:
        while True:
            for piece in self._pieces:
                if isinstance(piece, bytes):
                    yield piece
                elif isinstance(piece, tuple):
                    if self._fd is None:  # no descriptor was left for it here
                        raise ChannelLost("a file did not come through")
                    offset, length = piece
                    yield FilePart(self._fd, offset, length, self._tell)
                elif piece == STOP:
                    raise StoppedError
                elif piece == END:
                    return
            self.close()
            self._line.send(MORE)
            self._pieces, self._fd = self._line.receive()

    def _tell(self, offset: int) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._line.send(offset)

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
