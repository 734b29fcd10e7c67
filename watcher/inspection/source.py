"""Bounded reading from one open file.

Every reader gets its bytes here, so that no file, however hostile, can make the daemon hold more
than `MAX_READ` bytes at a time or read more than `Source.budget` bytes in all.
"""

import os
from collections.abc import Callable
from contextlib import suppress

MAX_READ = 1 << 20
"""Bytes that one read may ask for: what a reader holds in memory at most at a time."""

MAX_SCANNED = 4 << 30
"""Bytes that one inspection may read in all. The largest acceptable picture, 10,000 x 10,000 pixels
of four 16-bit samples, is 0.8 GB before compression."""

CHUNK = 1 << 17
"""Bytes in one step of a sequential scan: as fast as 256 KiB, in less memory."""

TAIL = 512
"""Bytes at the end that are zeros where a preallocated copy is not there yet: a sector at least."""

Seen = Callable[[int, bytes], None]
"""Is shown some bytes of a file, and the offset at which they stand."""


class EndMissing(Exception):
    """The file ends before what its format announces. The text says what is missing."""


class Damaged(Exception):
    """The structure cannot be read, and no further bytes would mend it. The text says why."""


class Source:
    """Reads of one open regular file by absolute offset. Owned by the thread that inspects.

    `size` is the file's length as `fstat` told it when it was opened: what is appended later is not
    seen, and the caller compares times and size at the end. All that is read is shown to `seen`.
    `head` is its first `CHUNK`, read at once: all of it if it `is_small`.
    """

    def __init__(self, fd: int, size: int, seen: Seen = lambda _, __: None) -> None:
        self._fd = fd
        self.size = size
        self._seen = seen
        self._budget = MAX_SCANNED
        self.head = self._read(0, min(CHUNK, size))
        self.is_small = size <= CHUNK

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes (at most `MAX_READ`) from `offset`; raises `EndMissing` if the
        file is shorter, `Damaged` if more than `MAX_SCANNED` bytes were asked for in all."""
        data = self.read_some(offset, length)
        if len(data) < length:
            raise EndMissing(f"it ends at byte {self.size:,}, before byte {offset + length:,}")
        return data

    def read_some(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes (at most `MAX_READ`) from `offset`; fewer only at the file's end."""
        if length > MAX_READ or offset < 0 or length < 0:
            raise Damaged(f"a part of {length:,} bytes at {offset:,} is not plausible")
        wanted = max(0, min(length, self.size - offset))
        self._budget -= wanted
        if self._budget < 0:
            raise Damaged(f"its end is not within the first {MAX_SCANNED >> 30} GiB")
        if offset + wanted <= len(self.head):
            return self.head[offset : offset + wanted]
        return self._read(offset, wanted)

    def hole(self) -> tuple[int, int]:
        """Where the first part of the file that was never written begins and ends, as far as its
        file system tells; its end twice if there is none."""
        start = end = self.size
        # ENXIO: it is empty by now, or there is nothing behind the hole.
        with suppress(OSError):
            start = os.lseek(self._fd, 0, os.SEEK_HOLE)
            end = os.lseek(self._fd, start, os.SEEK_DATA)
        return start, max(start, end)

    def _read(self, offset: int, wanted: int) -> bytes:
        pieces = []
        while wanted:
            piece = os.pread(self._fd, wanted, offset)
            if not piece:
                break  # shrank since it was opened: the caller's final comparison says so
            self._seen(offset, piece)
            pieces.append(piece)
            offset += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def is_unwritten(source: Source, start: int, end: int) -> bool:
    """True if there is something between the two, and its end is zeros: what a preallocated copy
    has where it is not written yet."""
    first = max(start, end - TAIL)
    return end > start and not any(source.read_some(first, end - first))
