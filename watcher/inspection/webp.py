"""WebP: lossy, lossless and extended (RFC 9649, and RFC 6386 for the lossy frame).

A WebP is one RIFF form that gives its length first and then a chain of chunks with theirs, so that
its end is known from its beginning. Where a copy keeps its length for what is still to come, the
file has a hole. (Zeros at its end tell nothing: white that was packed fast ends in 100,000.)
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from watcher.inspection.source import Damaged, EndMissing, Source
from watcher.inspection.verdicts import Refusal

MAX_CHUNKS: Final = 100_000
"""Chunks that are followed in one file: an animation of more than an hour has as many."""

_LONGEST: Final = (1 << 32) - 10
"""What a chunk's length can be at most, so that the form's length still holds it."""

_HOLE: Final = 1 << 16
"""Bytes of a hole that no copy of a whole file has, however sparse, but of large flat areas that
were packed in the fastest way; a third of the file if that is less."""

_ANIMATED: Final = 0x02
"""The flag of the extended header for an animation (2.7.1)."""


def read_webp(source: Source) -> tuple[int, int] | Refusal:
    """Width and height of a WebP that is all there: its canvas (2.7) if it is an extended one.

    Reads a few bytes of each chunk and no chunk's content. Raises `EndMissing` if the file is
    shorter than it says or was not written everywhere, `Damaged` if no picture is in it or its
    parts contradict each other.
    """
    end = _form_end(source)
    chunks = _chunks(source, 12, end)
    first = next(chunks)  # the shortest length that makes sense has room for one
    if first.name == b"VP8X":
        return _extended(source, first, chunks)
    if first.name not in _PICTURES:
        raise Damaged("it does not begin with a picture")
    return _PICTURES[first.name](source, first)


class _Chunk(NamedTuple):
    """A chunk whose content is `length` bytes from `start`."""

    name: bytes
    start: int
    length: int


def _form_end(source: Source) -> int:
    """Where the file says that it ends; what is behind is none of its parts."""
    length = int.from_bytes(source.read(4, 4), "little")
    if not length:
        raise EndMissing("its length is not written yet")
    if length < 12 or length > _LONGEST:
        raise Damaged("its length makes no sense")
    if source.size < 8 + length:
        raise EndMissing(f"{source.size:,} of {8 + length:,} bytes are there")
    start, end = source.hole()
    if start < 8 + length and end - start >= min(_HOLE, source.size // 3):
        raise EndMissing(f"nothing was written yet at byte {start:,}")
    return 8 + length


def _chunks(source: Source, at: int, end: int) -> Iterator[_Chunk]:
    """The chunks between two places in the file (2.3)."""
    for _ in range(MAX_CHUNKS):
        if end - at < 8:
            return
        name, length = struct.unpack("<4sL", source.read(at, 8))
        if not length and not any(name):
            raise EndMissing(f"there are only zeros where a part of it should begin, byte {at:,}")
        if length > end - at - 8:
            raise Damaged("a part of it is longer than the whole")
        yield _Chunk(name, at + 8, length)
        at += 8 + length + (length & 1)
    raise Damaged(f"it has more than {MAX_CHUNKS:,} parts")


def _lossy(source: Source, chunk: _Chunk) -> tuple[int, int]:
    """Width and height of a VP8 key frame (RFC 6386, 9.1)."""
    data = source.read(chunk.start, min(10, chunk.length))
    if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        raise Damaged("its picture has no readable beginning")
    tag = int.from_bytes(data[:3], "little")
    is_inter, profile, is_shown, first_part = tag & 1, tag >> 1 & 7, tag >> 4 & 1, tag >> 5
    if is_inter or profile > 3 or not is_shown or first_part >= chunk.length:
        raise Damaged("its picture has no readable beginning")
    width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 6))
    if not width or not height:
        raise Damaged(f"its size is {width} x {height} pixels")
    return width, height


def _lossless(source: Source, chunk: _Chunk) -> tuple[int, int]:
    """Width and height of a VP8L picture (RFC 9649, 3.4)."""
    data = source.read(chunk.start, min(5, chunk.length))
    bits = int.from_bytes(data[1:], "little")
    if len(data) < 5 or data[0] != 0x2F or bits >> 29:
        raise Damaged("its picture has no readable beginning")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


_PICTURES: Final = {b"VP8 ": _lossy, b"VP8L": _lossless}


def _extended(source: Source, header: _Chunk, chunks: Iterator[_Chunk]) -> tuple[int, int]:
    """Width and height of the canvas (2.7.1), if at least one whole picture is on it."""
    if header.length < 10:
        raise Damaged("its header is not readable")
    data = source.read(header.start, 10)
    canvas = _side(data[4:7]), _side(data[7:10])
    is_animated = bool(data[0] & _ANIMATED)
    found = False
    for chunk in chunks:
        if is_animated and chunk.name == b"ANMF":
            _check_animation_frame(source, chunk, canvas)
        elif not is_animated and chunk.name in _PICTURES:
            if _PICTURES[chunk.name](source, chunk) != canvas:
                raise Damaged("its picture has another size than it says")
        else:
            continue
        found = True
    if not found:
        raise Damaged("it holds no picture")
    return canvas


def _check_animation_frame(source: Source, chunk: _Chunk, canvas: tuple[int, int]) -> None:
    """That a frame (2.7.1.1) lies on the canvas and holds a picture; decoders ask no more of it."""
    if chunk.length < 16:
        raise Damaged("a frame of its animation is not readable")
    data = source.read(chunk.start, 16)
    left, top = 2 * int.from_bytes(data[0:3], "little"), 2 * int.from_bytes(data[3:6], "little")
    if left + _side(data[6:9]) > canvas[0] or top + _side(data[9:12]) > canvas[1]:
        raise Damaged("a frame of its animation is larger than the whole")
    for inner in _chunks(source, chunk.start + 16, chunk.start + chunk.length):
        if inner.name in _PICTURES:
            _PICTURES[inner.name](source, inner)
            return
    raise Damaged("a frame of its animation is empty")


def _side(data: bytes) -> int:
    """A width or height as the extended headers have it: 24 bits, one less than it is."""
    return int.from_bytes(data, "little") + 1
