"""The index of an MPO, which is several JPEGs one behind the other (CIPA DC-007).

Stereo cameras, previews of large pictures and HDR gain maps come so. The index stands in the first
picture, and is the only thing that says how much more belongs to the file.
"""

import struct
from typing import Final, NamedTuple

PADDING: Final = 1 << 16
"""Bytes that may lie between two pictures. Cameras fill up to a block of their card; 493 bytes is
the most in the samples at hand."""

_ENTRIES: Final = 0xB002
"""The tag of the table with one entry of 16 bytes for each picture (5.2.3)."""


class Index(NamedTuple):
    """The length of the first picture, and where each further one starts and stops in the file."""

    first: int
    others: tuple[tuple[int, int], ...]

    def fits(self, end: int) -> bool:
        """True if it is the index of this file, whose first picture stops at `end`.

        Editors that save only the first picture often leave the index of the old file in it. In
        such a one the first picture ends elsewhere, or the second starts elsewhere.
        """
        if not self.others:
            return False
        return all(abs(place - end) <= PADDING for place in (self.first, min(self.others)[0]))


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
