"""The one open file that a journey is about: what it was when it was opened, and whether it still
is. Everything is read through this one descriptor, so that what was checked is what is sent."""

import errno
import hashlib
import os
from collections.abc import Callable
from typing import NamedTuple, Self

from watcher.outcomes import Stamp
from watcher.settling import Hole, Observation, Writers, writers
from watcher.sidecar import ForeignRecord
from watcher.tree import reading, stamp_of

HASH_PIECE = 1 << 17
"""Bytes hashed at a time: as fast as 256 KiB or 1 MiB, in 8 or 47 MB less memory."""

TURN = 1 << 19
"""Bytes after which the other threads have a turn. All share a processor, which most need but for a
moment, to begin the next upload for one: to wait for the end of a time slice each time cost a tenth
of the photographs a second."""

_BLOCK = 4096
"""Bytes that a file's blocks may be fewer than its size for want of rounding."""


class OpenFile(NamedTuple):
    """Owned by the worker that opened it; whoever opened `fd` closes it.

    `seen` is what was known of it before; `writers` what the kernel said; `recorded` the hash that
    an old sidecar claims, or that the sidecar is none of ours. Reading raises `FileUnreadable` or
    `ShareGone`.
    """

    fd: int
    name: str
    stamp: Stamp
    mode: int
    seen: Observation
    writers: Writers
    recorded: str | ForeignRecord | None

    @classmethod
    def of(
        cls,
        fd: int,
        status: os.stat_result,
        name: str,
        *,
        seen: Observation,
        recorded: str | ForeignRecord | None,
    ) -> Self:
        """The open regular file `fd`; `status` is what `fstat` just said of it."""
        with reading:
            return cls(fd, name, stamp_of(status), status.st_mode, seen, writers(fd), recorded)

    @property
    def unchanged(self) -> bool:
        """Whether nobody has written to it since it was opened."""
        with reading:
            return stamp_of(os.fstat(self.fd)) == self.stamp

    def still_holds(self, sha256: str) -> bool:
        """Whether its content is what had this hash when it was opened, whatever its name and
        rights are by now: it is read again where the change time moved alone."""
        with reading:
            now = stamp_of(os.fstat(self.fd))
            if now._replace(ctime_ns=0) != self.stamp._replace(ctime_ns=0):
                return False
            if now.ctime_ns == self.stamp.ctime_ns:
                return True
            content = Digest(self.fd, now.size).finish()
            return content == sha256 and stamp_of(os.fstat(self.fd)) == now

    @property
    def hole(self) -> Hole:
        """Whether a part of it was never written, as in a copy that reserved its space first."""
        size = self.stamp.size
        with reading:
            if size > self._first_hole():
                return "told"
            # NFS 3 tells of no hole, but how much of the file there is. (Elsewhere that says
            # little: a file system may compress.)
            there = os.fstat(self.fd).st_blocks * 512 if self.writers == "unknown" else size
        return "likely" if 0 < there < size - _BLOCK else "none"

    def _first_hole(self) -> int:
        try:
            return os.lseek(self.fd, 0, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return self.stamp.size  # it is empty, perhaps only since just now: there is no byte


class Digest:
    """The SHA-256 of an open file of `size` bytes: of what its inspection reads of it anyway, and
    then of the rest. Owned by one thread. `on_read` is told of each so many bytes that went in."""

    def __init__(
        self, fd: int, size: int, on_read: Callable[[int], object] = lambda _: None
    ) -> None:
        self._fd = fd
        self._size = size
        self._on_read = on_read
        self._hash = hashlib.sha256()
        self._at = 0

    def take(self, offset: int, data: bytes) -> None:
        """`data` stands at `offset` of the file. It counts as far as it goes on from where the hash
        has come to."""
        if offset <= self._at < offset + len(data):
            self._hash.update(memoryview(data)[self._at - offset :])
            before, self._at = self._at, offset + len(data)
            self._on_read(self._at - before)
            if before // TURN < self._at // TURN:
                os.sched_yield()

    def finish(self) -> str:
        """Lower-case hex. Raises `OSError`."""
        while self._at < self._size and (piece := os.pread(self._fd, HASH_PIECE, self._at)):
            self.take(self._at, piece)
        return self._hash.hexdigest()
