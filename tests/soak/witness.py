"""The kernel's word for it that a record is just being written: raw inotify, because watchdog takes
half a second to pass events on."""

import ctypes
import os
import select
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_libc = ctypes.CDLL(None, use_errno=True)
_IN_CREATE = 0x100
_EVENT = struct.Struct("iIII")
_RECORDS = (b".tmp", b".sha256", b".rejected.txt")
"""How the names end that the daemon makes: whichever comes first, a record has begun."""


class Witness:
    """Sees each file that is made in some folders, wherever they move. Owned by one thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    @contextmanager
    def of(cls, folders: Iterable[Path]) -> Iterator[Self]:
        """One that is there for the block."""
        fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for folder in folders:
                if _libc.inotify_add_watch(fd, os.fsencode(folder), _IN_CREATE) < 0:
                    raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))
            yield cls(fd)
        finally:
            os.close(fd)

    def forget(self) -> None:
        """What has been made by now does not count."""
        while self._names():
            pass

    def wait(self, seconds: float) -> None:
        """Returns at once when a record is begun, or after so many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            select.select([self._fd], [], [], left)
            if any(name.endswith(_RECORDS) for name in self._names()):
                return

    def _names(self) -> list[bytes]:
        try:
            events = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return []
        names, at = [], 0
        while at < len(events):
            *_, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size + length
            names.append(events[at - length : at].rstrip(b"\0"))
        return names
