"""What is sent: bytes, or a part of a file, which the kernel can send from where it lies."""

import math
import os
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from watcher.tree import reading

READ = 1 << 17
"""Bytes of a file that are read at a time where the kernel cannot send them by itself."""


class FileChanged(Exception):
    """The file is not what was inspected any more. The service has got no whole form."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """`length` bytes of an open file from `offset` on.

    `sent_to` is told the offset up to which they are sent, again and again.
    """

    fd: int
    offset: int
    length: int
    sent_to: Callable[[int], object] = lambda _: None

    def __len__(self) -> int:
        """In bytes."""
        return self.length

    def read(self, start: int, end: int) -> bytes:
        """Some of the bytes between two offsets, for when the kernel cannot send them. Raises
        `FileChanged` if the file ends before, `FileUnreadable` or `ShareGone`."""
        with reading:
            data = os.pread(self.fd, min(READ, end - start), start)
        if not data:
            raise FileChanged
        return data


Piece = bytes | FilePart


class BodyFailedError(Exception):
    """What was to be sent could not be got; `error` says why. It is not the connection's fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def pieces_of(body: Iterable[Piece]) -> Iterator[Piece]:
    """All of them, or `BodyFailedError`."""
    try:
        yield from body
    except Exception as error:
        raise BodyFailedError(error) from error


STEP = 1 << 20
"""Bytes that the kernel is to send at a time: it comes back only when the connection is full, so a
disk that is slower would be heard of at the file's end."""


def send_uncopied(to: socket.socket, part: FilePart, *, wait: Callable[[], float]) -> int:
    """Has the kernel send it over a plain connection, which spares half of what sending costs; the
    offset in the file up to which it did.

    It stops at the file's end and at any error, the file's or the connection's: reading and writing
    what is left tells which. `wait` gives the seconds that the other side may stay silent from now
    on, or raises; after them this raises `TimeoutError`.
    """
    offset, end = part.offset, part.offset + part.length
    while offset < end:
        seconds = wait()
        try:
            sent = os.sendfile(to.fileno(), part.fd, offset, min(STEP, end - offset))
        except BlockingIOError:
            wait_until_ready(to, select.POLLOUT, seconds)
            continue
        except OSError:
            break
        if not sent:
            break
        offset += sent
        part.sent_to(offset)
    return offset


def wait_until_ready(busy: socket.socket, event: int, seconds: float) -> None:
    """Waits for one of `poll`'s events, or raises `TimeoutError`."""
    poll = select.poll()
    poll.register(busy, event)
    if not poll.poll(math.ceil(seconds * 1000)):
        raise TimeoutError("timed out")
