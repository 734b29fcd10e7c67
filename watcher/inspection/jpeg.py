"""JPEG (ITU-T T.81), and MPO, which is several JPEGs one behind the other.

Decoders forgive much, and cameras and editors rely on it: padding before a marker, stray bytes
between segments, noise in the scan, anything at all behind the end. What libjpeg reads with a
warning is accepted here and what it gives up on is refused, so this goes from marker to marker as
libjpeg does (jdmarker.c, read_markers). In one thing it is stricter: the end of the picture (EOI)
must be there.
"""

import contextlib
import re
from collections.abc import Mapping
from typing import Final

from watcher.inspection.jpeg_header import (
    FRAMES,
    Frame,
    check_scan,
    frame_in,
    huffman_in,
    quantisers_in,
)
from watcher.inspection.mpo import Index, index_in
from watcher.inspection.source import CHUNK, Damaged, EndMissing, Source
from watcher.inspection.verdicts import Refusal

MAX_MARKERS: Final = 1 << 16
"""Markers that are followed in one file. A big profile in pieces of 64 KiB has a few hundred."""

_DHT, _EOI, _SOS, _DQT, _DRI, _APP2 = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xE2

_OTHER_FRAMES: Final[Mapping[int, str]] = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "a hierarchical JPEG"),
    0xCB: "a lossless JPEG with arithmetic coding",
    0xF7: "a JPEG-LS image",
}

_SKIPPED: Final = frozenset({0xCC, 0xDC, 0xFE, *range(0xE0, 0xF0)})
"""DAC, DNL, comments and application data: segments whose content decoders do not need."""

_ANY: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""A marker with something behind it: no stuffed or padding byte, no TEM, no restart."""

_BEHIND_RESTARTS: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""With restart intervals, decoders pass over reserved markers in the scan: up to the next restart
it is lost anyway (jdmarker.c, jpeg_resync_to_restart)."""


def read_jpeg(source: Source) -> tuple[int, int] | Refusal:
    """Width and height of a JPEG whose end is there, as its frame header (T.81, B.2.2) has them.

    Holds one chunk of the file at a time and reads each byte about once. A kind of JPEG that no
    usual decoder reads is refused by name. Raises `EndMissing` if the end of the picture, or of a
    further picture that an MPO's index announces, is not in the file; `Damaged` if its segments
    contradict T.81 as far as decoders care.
    """
    walk = _Walk(source, 0)
    found = walk.to_end()
    if walk.index is not None and walk.index.fits(walk.at):
        for start, stop in walk.index.others:
            _check_further_picture(source, start, stop)
    return found


def _check_further_picture(source: Source, start: int, stop: int) -> None:
    """That a further picture of an MPO is there to its end.

    What it is like does not matter: it is not the one that decoders show. Zeros are what a
    preallocated copy has where it is not written yet.
    """
    last = max(start, stop - 512)
    if stop <= source.size and any(source.read_some(last, stop - last)):
        return
    if not any(source.read_some(start, 512)):
        raise EndMissing(f"a further picture is missing from byte {start:,} on")
    if source.read(start, 2) == b"\xff\xd8":
        # It may be whole: some writers get the lengths wrong, Pillow 13 from the third one on.
        with contextlib.suppress(Damaged):
            _Walk(source, start).to_end()


class _Window:
    """One chunk of the file that moves forward, so that small reads cost no system call each."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._start = 0
        self._data = source.head

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes (at most `CHUNK`) from `offset`, or `EndMissing`."""
        at = offset - self._start
        if at < 0 or at + length > len(self._data):
            self._move(offset)
            at = 0
            if length > len(self._data):
                raise EndMissing(f"it ends at byte {self._source.size:,}, inside its header")
        return self._data[at : at + length]

    def find(self, pattern: re.Pattern[bytes], offset: int) -> tuple[int, int] | None:
        """The next match of a two-byte `pattern` from `offset` on: its second byte, and where that
        stands."""
        if not self._start <= offset < self._start + len(self._data):
            self._move(offset)
        while len(self._data) >= 2:
            if match := pattern.search(self._data, offset - self._start):
                last = match.end() - 1
                return self._data[last], self._start + last
            # The last byte is looked at again: it may be the first of the two.
            offset = self._start + len(self._data) - 1
            self._move(offset)
        return None

    def _move(self, offset: int) -> None:
        self._data = self._source.read_some(offset, CHUNK)
        self._start = offset


class _Walk:
    """One pass over the markers of one picture, from its start in the file to its end.

    `at` is where it has come to, `index` the index of an MPO if it came by one.
    """

    def __init__(self, source: Source, start: int) -> None:
        self.at = start + 2  # behind SOI
        self.index: Index | None = None
        self._source = source
        self._window = _Window(source)
        self._frame: Frame | None = None
        self._quantisers: set[int] = set()
        self._huffman: dict[int, bool] = {}
        self._pattern = _ANY
        self._in_scan = False

    def to_end(self) -> tuple[int, int] | Refusal:
        """Width and height, once the end is reached and all was well on the way there."""
        for _ in range(MAX_MARKERS):
            marker = self._next_marker()
            if marker == _EOI:
                return self._ended()
            if marker in FRAMES:
                if refusal := self._take_frame(marker):
                    return refusal
            elif marker in _OTHER_FRAMES and self._frame is None:
                return Refusal("other_format", _OTHER_FRAMES[marker])
            else:
                self._take(marker)
        raise Damaged(f"it has more than {MAX_MARKERS:,} parts")

    def _next_marker(self) -> int:
        """The next marker, and goes behind it.

        What lies before it is the scan, padding (which the standard allows) or stray bytes (which
        every decoder skips).
        """
        found = self._window.find(self._pattern if self._in_scan else _ANY, self.at)
        if found is None:
            what = "the end of the picture" if self._in_scan else "the picture"
            raise EndMissing(f"{what} is missing at byte {self._source.size:,}")
        marker, at = found
        self.at = at + 1
        return marker

    def _take(self, marker: int) -> None:
        """Reads a segment as far as it matters, and goes behind it."""
        if marker in _SKIPPED:
            self._skip(marker)
        elif marker == _DQT:
            self._quantisers |= quantisers_in(self._segment())
        elif marker == _DHT:
            self._huffman |= huffman_in(self._segment())
        elif marker == _DRI:
            self._take_restart_interval()
        elif marker == _SOS:
            self._take_scan()
        else:
            raise Damaged("a part of it is in the wrong place or unknown")

    def _segment(self) -> bytes:
        length = self._length()
        if length < 2:
            raise Damaged("a part of it has an impossible length")
        data = self._window.read(self.at + 2, length - 2)
        self.at += length
        return data

    def _skip(self, marker: int) -> None:
        """A length of 0 or 1 counts as 2, as decoders have it."""
        length = max(2, self._length())
        if marker == _APP2 and self.index is None and length > 6:
            start = self.at + 6
            if self._window.read(start - 4, 4) == b"MPF\0":
                self.index = index_in(self._window.read(start, length - 6), start)
        self.at += length

    def _length(self) -> int:
        return int.from_bytes(self._window.read(self.at, 2), "big")

    def _take_frame(self, kind: int) -> Refusal | None:
        if self._frame:
            raise Damaged("it has two headers for one picture")
        found = frame_in(kind, self._segment())
        if isinstance(found, Refusal):
            return found
        self._frame = found
        return None

    def _take_restart_interval(self) -> None:
        data = self._segment()
        if len(data) != 2:
            raise Damaged("a part of it has an impossible length")
        self._pattern = _BEHIND_RESTARTS if any(data) else _ANY

    def _take_scan(self) -> None:
        if self._frame is None:
            raise Damaged("its picture has no size")
        check_scan(self._segment(), self._frame, quantisers=self._quantisers, huffman=self._huffman)
        self._in_scan = True

    def _ended(self) -> tuple[int, int]:
        if self._frame is None or not self._in_scan:
            raise Damaged("it ends before its picture begins")
        return self._frame.width, self._frame.height
