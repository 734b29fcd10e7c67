"""PNG and APNG (W3C Portable Network Graphics, third edition).

A PNG is a chain of chunks, each with its length, its name and a check sum. The check sums of all
that the picture needs are verified, so a byte that changed on its way is found without decoding a
pixel. What only describes the picture (text, profiles, animation) may be wrong: decoders then do
without.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from watcher.inspection.source import CHUNK, Damaged, Source
from watcher.inspection.verdicts import Refusal

MAX_CHUNKS: Final = 1_000_000
"""Chunks that are followed in one file. The largest acceptable picture has some 100,000, as usual
programs write it."""

_LONGEST: Final = (1 << 31) - 1
"""What a length and a side can be at most (5.3 and 11.2.1)."""

_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""The bit depths that each colour type allows (11.2.1, table 12)."""

_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples in a pixel of each colour type."""

_WITH_PALETTE: Final = 3

_MOST_TIMES: Final = 1032
"""How many times as long deflate can make its data at most (258 bytes from 2 bits)."""


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int

    def least_compressed(self) -> int:
        """Bytes that the picture has at least, however well it is compressed."""
        row = (self.width * self.depth * _SAMPLES[self.colour] + 7) // 8
        return row * self.height // _MOST_TIMES


def read_png(source: Source) -> tuple[int, int] | Refusal:
    """Width and height of a PNG whose end is there, as its header (11.2.1) has them.

    Holds one chunk of the file at a time and reads each byte once, those of descriptions not at
    all. Raises `EndMissing` if the file stops before its IEND chunk does; `Damaged` if a chunk that
    the picture needs is missing, malformed or fails its check sum.
    """
    name, length = _name_and_length(source.read(8, 8))
    if name == b"CgBI":
        return Refusal("other_format", "a PNG for iPhone apps only (CgBI)")
    if name != b"IHDR" or length != 13:
        raise Damaged("it does not begin with its size")
    header = _header(source.read(16, 13))
    _follow_chunks(source, header)
    return header.width, header.height


def _header(data: bytes) -> _Header:
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">LL5B", data)
    if not (0 < width <= _LONGEST and 0 < height <= _LONGEST):
        raise Damaged(f"its size is {width} x {height} pixels")
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise Damaged("its header makes no sense")
    return _Header(width, height, depth, colour)


def _follow_chunks(source: Source, header: _Header) -> None:
    """Goes from IHDR to IEND, and checks what the picture needs on the way."""
    at = 8
    head = source.read(at, 8)
    lengths = {b"IHDR": 0, b"PLTE": 0, b"IDAT": 0}
    for _ in range(MAX_CHUNKS):
        name, length = _name_and_length(head)
        if name[0] & 0x20:  # a small first letter: it only describes (5.4)
            head = source.read(at + length + 12, 8)
        elif name == b"IEND":
            source.read(at + length + 8, 4)  # decoders do not mind a wrong check sum here
            break
        elif name in lengths:
            _check_place(name, length, lengths, header)
            head = _verify(source, name, at + 8, length)
            lengths[name] += length
        else:
            # A capital first letter: who does not know it must not show the picture (5.4).
            raise Damaged("it has a part that no usual program knows")
        at += length + 12
    else:
        raise Damaged(f"it has more than {MAX_CHUNKS:,} parts")
    if not lengths[b"IDAT"] or lengths[b"IDAT"] < header.least_compressed():
        raise Damaged("its picture is not all there, though its end is")


def _name_and_length(head: bytes) -> tuple[bytes, int]:
    """Of the chunk that begins with these eight bytes (5.3)."""
    name, length = head[4:], int.from_bytes(head[:4], "big")
    if not name.isalpha() or length > _LONGEST:
        raise Damaged("its chain of parts is broken")
    return name, length


def _check_place(name: bytes, length: int, lengths: Mapping[bytes, int], header: _Header) -> None:
    """That a chunk may stand behind those whose lengths these are (5.6)."""
    if name == b"IHDR" and lengths[name]:
        raise Damaged("it has two headers for one picture")
    if header.colour != _WITH_PALETTE:
        return
    if name == b"PLTE" and (lengths[name] or length % 3 or not 0 < length <= 768):
        raise Damaged("its palette is not readable")
    if name == b"IDAT" and not lengths[b"PLTE"]:
        raise Damaged("its palette is missing")


def _verify(source: Source, name: bytes, start: int, length: int) -> bytes:
    """Compares a chunk's content with its check sum; the first eight bytes of the next chunk."""
    found = zlib.crc32(name)
    stop = start + length
    while stop - start > CHUNK:
        found = zlib.crc32(source.read(start, CHUNK), found)
        start += CHUNK
    # The rest, the check sum and the next head in one go: a system call less for each chunk.
    data = source.read(start, stop - start + 12)
    left = stop - start
    if zlib.crc32(memoryview(data)[:left], found) != int.from_bytes(data[left : left + 4], "big"):
        raise Damaged("a part of it was changed on its way (its check sum is wrong)")
    return data[left + 4 :]
