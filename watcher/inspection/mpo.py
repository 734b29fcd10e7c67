"""The index of an MPO, which is several JPEGs one behind the other (CIPA DC-007).

Stereo cameras, previews of large pictures and HDR gain maps come so. The index stands in the first
picture, and is the only thing that says how much more belongs to the file.
"""

import struct
from dataclasses import dataclass
from typing import Final

from watcher.inspection.source import EndMissing, Source

PADDING: Final = 1 << 16
"""Bytes that may lie between two pictures. Cameras fill up to a block of their card; 493 bytes is
the most in the samples at hand."""

_ENTRIES: Final = 0xB002
"""The tag of the table with one entry of 16 bytes for each picture (5.2.3)."""


@dataclass(frozen=True, slots=True)
class Index:
    """The length of the first picture, and where each further one starts and stops in the file."""

    first: int
    others: tuple[tuple[int, int], ...]

    def check(self, source: Source, end: int) -> None:
        """Raises `EndMissing` if a further picture is not in the file, whose first ends at `end`.

        Editors that save only the first picture often leave the index of the old file in it. Such
        an index does not fit: its first picture ends elsewhere, or its second starts elsewhere.
        """
        starts = [start for start, _ in self.others]
        if not starts or not all(abs(at - end) <= PADDING for at in (self.first, min(starts))):
            return
        for start, stop in self.others:
            # Zeros are what a preallocated copy has where it is not written yet.
            if stop > source.size or not any(source.read_some(max(start, stop - 512), 512)):
                raise EndMissing(f"a further picture in it is missing before byte {stop:,}")


def index_in(data: bytes, base: int) -> Index | None:
    """The index in an MPF segment, from its byte order mark on, which is at `base` in the file.

    None if it cannot be read: decoders find the first picture without it.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return None
    (at,) = struct.unpack_from(order + "L", data, 4)
    if at + 2 > len(data):
        return None
    (count,) = struct.unpack_from(order + "H", data, at)
    for field in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
        tag, _, length, offset = struct.unpack_from(order + "HHLL", data, field)
        if tag == _ENTRIES and 16 <= length <= len(data) - offset:
            return _pictures(data[offset : offset + length // 16 * 16], order, base)
    return None


def _pictures(entries: bytes, order: str, base: int) -> Index:
    (_, first, *_), *others = struct.iter_unpack(order + "LLLHH", entries)
    places = ((base + at, base + at + length) for _, length, at, *_ in others if at and length)
    return Index(first, tuple(places))
