"""Messages between two processes of ours, each with an open file beside it if need be."""

import mmap
import pickle
import socket
import struct
from typing import Any, Self

LARGEST = 200 << 10
"""Bytes of a message. The kernel takes one whole or not at all, and has room for 208 KiB."""

_FD = struct.Struct("i")


class ChannelLost(Exception):
    """The other process has ended, or a message cannot go through."""


class Channel:
    """One end. Several threads may send, one receives.

    A message is any value that can be pickled: at both ends there is this very program.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._room = memoryview(mmap.mmap(-1, LARGEST))  # no memory until it is needed

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Both ends."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def send(self, message: object, fd: int | None = None) -> None:
        """Waits until there is room for it. The other side gets a duplicate of `fd`. Raises
        `ChannelLost`."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if len(data) > LARGEST:
            raise ChannelLost(f"a message of {len(data)} bytes")
        try:
            if fd is None:
                self._end.send(data)
            else:
                socket.send_fds(self._end, [data], [fd])
        except OSError as error:
            raise ChannelLost(str(error)) from error

    def receive(self) -> tuple[Any, int | None]:
        """The next message, and the descriptor that came with it, which is the caller's. Raises
        `ChannelLost`."""
        try:
            length, beside, _, _ = self._end.recvmsg_into(
                [self._room], socket.CMSG_SPACE(_FD.size), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise ChannelLost(str(error)) from error
        if not length:
            raise ChannelLost("the other end is closed")
        fd = _FD.unpack_from(beside[0][2])[0] if beside else None
        return pickle.loads(self._room[:length]), fd  # noqa: S301 - it is from ourselves

    def fileno(self) -> int:
        """This end's descriptor."""
        return self._end.fileno()

    def close(self) -> None:
        """The other side hears of it at its next message."""
        self._end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
