"""The one open file that a journey is about: what it was when it was opened, and whether it still
is. Everything is read through this one descriptor, so that what was checked is what is sent."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from watcher.outcomes import Stamp
from watcher.settling import Writers, writers
from watcher.sidecar import ForeignRecord
from watcher.tree import reading, stamp_of

HASH_PIECE = 1 << 18
"""Bytes hashed at a time: SHA-256 is fastest with 256 KiB to 1 MiB."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """Owned by the worker that opened it; whoever opened `fd` closes it.

    `writers` is what the kernel said; `recorded` the hash that an old sidecar claims, or that the
    sidecar is none of ours. Reading raises `FileUnreadable` or `ShareGone`.
    """

    fd: int
    name: str
    stamp: Stamp
    mode: int
    writers: Writers
    recorded: str | ForeignRecord | None

    @classmethod
    def of(cls, fd: int, name: str, recorded: str | ForeignRecord | None) -> Self:
        """What the open regular file `fd` is now."""
        with reading():
            status = os.fstat(fd)
            return cls(fd, name, stamp_of(status), status.st_mode, writers(fd), recorded)

    @property
    def unchanged(self) -> bool:
        """Whether nobody has written to it since it was opened."""
        with reading():
            return stamp_of(os.fstat(self.fd)) == self.stamp

    @property
    def has_hole(self) -> bool:
        """Whether a part of it was never written, as in a copy that reserved its space first."""
        # An empty file has no byte to ask about: lseek(2) would say ENXIO.
        with reading():
            return 0 < self.stamp.size > os.lseek(self.fd, 0, os.SEEK_HOLE)

    def sha256(self, on_read: Callable[[int], None] = lambda _: None) -> str:
        """The SHA-256 of its bytes, lower-case hex. `on_read` is told how many are read."""
        digest, offset = hashlib.sha256(), 0
        with reading():
            while piece := os.pread(self.fd, HASH_PIECE, offset):
                digest.update(piece)
                offset += len(piece)
                on_read(offset)
        return digest.hexdigest()
