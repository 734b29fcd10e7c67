"""What the segments of a JPEG say (ITU-T T.81, annex B), as far as decoders refuse them.

The rules are libjpeg's: which tables a scan must find, what a progressive scan may be, which size a
table must have. What it only warns of is not looked at.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from watcher.inspection.source import Damaged
from watcher.inspection.verdicts import Refusal

_SOF2, _SOF3, _SOF9, _SOF10 = 0xC2, 0xC3, 0xC9, 0xCA

FRAMES: Final = frozenset({0xC0, 0xC1, _SOF2, _SOF3, _SOF9, _SOF10})
"""The markers of baseline, extended, progressive and lossless pictures, and of the middle two with
arithmetic coding: what libjpeg-turbo 3 reads."""

_PROGRESSIVE: Final = frozenset({_SOF2, _SOF10})
_ARITHMETIC: Final = frozenset({_SOF9, _SOF10})

_NO_BEGINNING: Final = "its picture has no readable beginning"


class Channel(NamedTuple):
    """A component of the frame: id, number of its quantiser, blocks in an interleaved unit."""

    name: int
    quantiser: int
    blocks: int


class Frame(NamedTuple):
    """What a frame header says; `kind` is its marker."""

    kind: int
    width: int
    height: int
    channels: tuple[Channel, ...]


def frame_in(kind: int, data: bytes) -> Frame | Refusal:
    """A frame header (B.2.2)."""
    if len(data) < 6 or len(data) != 6 + 3 * data[5]:
        raise Damaged("its size is not readable")
    precision, height, width, count = struct.unpack_from(">BHHB", data)
    if not width or not height:
        raise Damaged(f"its size is {width} x {height} pixels")
    if precision != 8:
        return Refusal("other_format", f"a JPEG with {precision} bits per sample")
    if count not in (1, 3, 4):
        return Refusal("other_format", f"a JPEG with {count} colour channels")
    channels = []
    for name, sampling, quantiser in struct.iter_unpack("3B", data[6:]):
        across, down = sampling >> 4, sampling & 15
        if not (1 <= across <= 4 and 1 <= down <= 4):
            raise Damaged("its colour channels are not readable")
        channels.append(Channel(name, quantiser, across * down))
    return Frame(kind, width, height, tuple(channels))


def quantisers_in(data: bytes) -> set[int]:
    """The numbers of the tables in a DQT segment (B.2.4.1)."""
    found = set()
    while data:
        number, length = data[0] & 15, 129 if data[0] >> 4 else 65
        if len(data) < length or number > 3:
            raise Damaged("a quantisation table is not readable")
        found.add(number)
        data = data[length:]
    return found


def huffman_in(data: bytes) -> dict[int, bool]:
    """The tables in a DHT segment (B.2.4.2) by number, AC from 16 on, and whether each is usable.

    Some writers leave nonsense in tables that no scan uses.
    """
    found = {}
    while data:
        length = 17 + sum(data[1:17])
        if not 17 <= len(data) >= length <= 17 + 256 or data[0] & 0xEF > 3:
            raise Damaged("a Huffman table is not readable")
        is_for_dc = data[0] < 16
        found[data[0]] = _is_code(data[1:17]) and not (
            is_for_dc and max(data[17:length], default=0) > 16
        )
        data = data[length:]
    return found


@lru_cache(maxsize=256)
def _is_code(counts: bytes) -> bool:
    """True if there can be a code with so many words of 1, 2, ... bits, none of them all ones.

    (Most cameras have the same four, those of annex K.)
    """
    code = 0
    for bits, count in enumerate(counts, 1):
        code = 2 * code + count
        if code >= 1 << bits:
            return False
    return True


def check_scan(
    data: bytes, frame: Frame, *, quantisers: set[int], huffman: Mapping[int, bool]
) -> None:
    """That a scan header (B.2.3) asks only for what was defined before it."""
    count = data[0] if data else 0
    if not 1 <= count <= 4 or len(data) != 4 + 2 * count:
        raise Damaged(_NO_BEGINNING)
    channels = _channels_of(data[1:-3:2], frame)
    if count > 1 and sum(channel.blocks for channel in channels) > 10:
        raise Damaged("its colour channels are not readable")
    if frame.kind in _PROGRESSIVE and not _is_progression(*data[-3:], count=count):
        raise Damaged(_NO_BEGINNING)
    if frame.kind != _SOF3 and not {channel.quantiser for channel in channels} <= quantisers:
        raise Damaged("a table that its picture needs is not there")
    # Frames of a motion JPEG go without tables: sequential decoders know the usual ones (jdhuff.c).
    usual = () if frame.kind == _SOF2 else (0, 1, 16, 17)
    if not all(huffman.get(table, table in usual) for table in _huffman_for(data, frame.kind)):
        raise Damaged("a table that its picture needs is not there")


def _channels_of(names: bytes, frame: Frame) -> list[Channel]:
    """The components with these ids, each once. Some writers give all components the same id."""
    left = list(frame.channels)
    found = []
    for name in names:
        channel = next((channel for channel in left if channel.name == name), None)
        if channel is None:
            raise Damaged(_NO_BEGINNING)
        left.remove(channel)
        found.append(channel)
    return found


def _is_progression(first: int, last: int, approximation: int, *, count: int) -> bool:
    """True if a scan of `count` components can be part of a progressive picture (G.1.1.1)."""
    high, low = approximation >> 4, approximation & 15
    if low > 13 or (high and low != high - 1):
        return False
    return last == 0 if first == 0 else first <= last < 64 and count == 1


def _huffman_for(data: bytes, kind: int) -> set[int]:
    """The Huffman tables by which a scan is coded."""
    if kind in _ARITHMETIC:
        return set()
    dc, ac = {table >> 4 for table in data[2:-3:2]}, {16 | table & 15 for table in data[2:-3:2]}
    if kind == _SOF3:
        return dc
    if kind != _SOF2:
        return dc | ac
    first, refines = data[-3], data[-1] >> 4
    if first:
        return ac
    return set() if refines else dc
