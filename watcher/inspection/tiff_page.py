"""One page of a TIFF: its size, and where the last of its pixels lie.

Source: TIFF 6.0 (Adobe, 1992), sections 3 to 8 (strips), 15 (tiles), 21 (YCbCr) and 22 (JPEG).
"""

from typing import NamedTuple

from watcher.inspection.source import Damaged, EndMissing
from watcher.inspection.tiff_directory import Directory

_AT_ONCE = 1 << 14
"""Strips or tiles whose offsets are held in memory at a time (some 2 MB as Python numbers)."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_HEIGHT, _STRIP_SIZES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_JPEG_OFFSET, _JPEG_SIZE, _SUBSAMPLING = 513, 514, 530

_UNCOMPRESSED, _OLD_JPEG, _PACKBITS = 1, 6, 32773

_READABLE = frozenset({
    *(_UNCOMPRESSED, 2, 3, 4, 5, _OLD_JPEG, 7, 8, 9, 10),  # TIFF 6.0, its JPEG and fax notes
    *(32766, 32771, 32773, 32809, 32908, 32909, 32946, 32947),  # NeXT to DCS: libtiff's tiff.h
    *(34661, 34676, 34677, 34887, 34925, 50000, 50001),  # JBIG, SGI Log, LERC, LZMA, Zstd, WebP
})  # fmt: skip
"""Compressions that libtiff has a decoder for. A page packed otherwise is readable for none of
Pillow, ImageMagick and libtiff."""

_NEVER_ZEROS = frozenset({2, 3, 4, 5, 7, 8, 32946, 34925, 50000})
"""Compressions of which no part ends in 512 zeros or holds nothing else, whatever the picture: fax,
LZW, JPEG, Deflate, LZMA and Zstd. Pillow 13 with libtiff 4.7 ends one in 19 zeros at most (Zstd, a
strip of 26 bytes), all others in one. PackBits writes two zeros for a black row of one byte, and
never 512 in longer rows. SGI Log, LERC, WebP and the old ones may end in as many as they like."""


def size_of(page: Directory) -> tuple[int, int]:
    """Width and height in pixels, as stored.

    Raises `Damaged` if the page does not say, and `EndMissing`.
    """
    sides = (_WIDTH, _HEIGHT)
    if any(page.count(side) != 1 for side in sides):
        raise Damaged("it does not say how wide and high it is")
    width, height = (page.number(side) or 0 for side in sides)
    if width < 1 or height < 1:
        raise Damaged(f"it says that it is {width} x {height} pixels")
    return width, height


class Pixels(NamedTuple):
    """Where pixels end in the file, plus one, and where the part of them that ends there begins.

    `start` is None if this part may end in zeros although it is written.
    """

    end: int
    start: int | None = None


def last_pixels(page: Directory) -> Pixels:
    """The end of the page's pixels.

    Raises `Damaged` if it names no pixels or none that can be unpacked, and `EndMissing` if some
    have not been written yet.
    """
    compression = page.number(_COMPRESSION) or _UNCOMPRESSED
    if compression not in _READABLE:
        raise Damaged(f"its pixels are packed in a way that is not known (number {compression})")
    jpeg = Pixels(_end_of_jpeg(page))
    if parts_of(page):
        parts = _Parts.of(page).last(compression)
        return parts if parts.end >= jpeg.end else jpeg
    if not jpeg.end:
        raise Damaged("it holds no pixels")
    return jpeg


def parts_of(page: Directory) -> int:
    """How many strips or tiles the page names."""
    return page.count(_STRIP_OFFSETS) or page.count(_TILE_OFFSETS)


def _end_of_jpeg(page: Directory) -> int:
    """The end of a whole JPEG inside the page: the old JPEG compression, and thumbnails."""
    start = page.number(_JPEG_OFFSET) or 0
    return start + (page.number(_JPEG_SIZE) or 1) if start else 0


class _Parts(NamedTuple):
    """The strips or tiles of one page, which count through one plane after the other."""

    page: Directory
    width: int
    height: int
    count_in_plane: int
    last_height: int
    planes: int

    @classmethod
    def of(cls, page: Directory) -> "_Parts":
        """How the page is cut up. Raises `Damaged` if it cannot be."""
        width, height = size_of(page)
        planes = max(1, page.number(_SAMPLES) or 1) if page.number(_PLANAR) == 2 else 1
        if _TILE_WIDTH in page:
            across, down = page.number(_TILE_WIDTH) or 0, page.number(_TILE_HEIGHT) or 0
            if across < 1 or down < 1:
                raise Damaged("its tiles have no size")
            count = -(-width // across) * -(-height // down)
            return cls(page, across, down, count, last_height=down, planes=planes)
        rows = page.number(_STRIP_HEIGHT) if page.count(_STRIP_HEIGHT) else height
        if rows is None or rows < 1:
            raise Damaged("its strips have no height")
        rows = min(rows, height)
        count = -(-height // rows)
        return cls(page, width, rows, count, last_height=height - (count - 1) * rows, planes=planes)

    def last(self, compression: int) -> Pixels:
        """The one that ends last."""
        count = self.count_in_plane * self.planes
        named = parts_of(self.page)
        if named < count:
            raise Damaged(f"it names {named:,} of its {count:,} strips or tiles")
        count = named  # more than a flat picture needs: its depth (libtiff's tag 32997), or padding
        steps = range(0, count, _AT_ONCE)
        if compression == _UNCOMPRESSED:
            return Pixels(max(self._end_of_plain(at, min(at + _AT_ONCE, count)) for at in steps))
        last = max(self._last_packed(at, min(at + _AT_ONCE, count), count) for at in steps)
        is_never_zeros = compression in _NEVER_ZEROS or (
            compression == _PACKBITS and self._bytes(1) > 1
        )
        return Pixels(last[0], last[1] if is_never_zeros else None)

    def _end_of_plain(self, start: int, stop: int) -> int:
        """The end of uncompressed parts `start` to `stop`.

        What they say of their size is not looked at: it is often wrong, and decoders read what the
        picture needs.
        """
        offsets = self._offsets(start, stop)
        full, last = self._bytes(self.height), self._bytes(self.last_height)
        per_plane = self.count_in_plane
        lasts = range(per_plane - 1 - start % per_plane, stop - start, per_plane)
        if full == last or not lasts:
            return max(offsets) + full
        end = max(offsets[at] for at in lasts) + last
        others = list(offsets)
        del others[lasts.start :: per_plane]
        return max(end, max(others, default=0) + full)

    def _last_packed(self, start: int, stop: int, count: int) -> tuple[int, int]:
        """The end and the beginning of the last of compressed parts `start` to `stop` of all
        `count`."""
        offsets = self._offsets(start, stop)
        sizes_tag = _STRIP_SIZES if self.page.count(_STRIP_SIZES) else _TILE_SIZES
        sizes = self.page.numbers(sizes_tag, start, stop)
        if count == 1 and not any(sizes):
            return offsets[0] + 1, offsets[0] + 1  # libtiff takes what is there for the only strip
        if len(sizes) < len(offsets):
            raise Damaged("it does not say how long its strips or tiles are")
        if min(sizes) <= 0:
            raise EndMissing("some of its strips or tiles have not been written yet")
        return max((at + size, at) for at, size in zip(offsets, sizes, strict=True))

    def _offsets(self, start: int, stop: int) -> tuple[int, ...]:
        tag = _STRIP_OFFSETS if self.page.count(_STRIP_OFFSETS) else _TILE_OFFSETS
        offsets = self.page.numbers(tag, start, stop)
        if min(offsets) <= 0:
            raise EndMissing("some of its strips or tiles have not been written yet")
        return offsets

    def _bytes(self, rows: int) -> int:
        """The bytes in so many rows of one part, uncompressed."""
        samples = max(1, self.page.number(_SAMPLES) or 1)
        depths = self.page.numbers(_BITS, 0, min(samples, 16)) or (1,)
        if self.planes > 1 or self.page.number(_PLANAR) == 2:
            return rows * -(-self.width * depths[0] // 8)
        bits = sum(depths) if len(depths) == samples else depths[0] * samples
        if samples == 3 and self.page.number(_PHOTOMETRIC) == 6:
            across, down = self.page.numbers(_SUBSAMPLING, 0, 2) or (2, 2)
            if across > 0 and down > 0:
                block = (across * down + 2) * depths[0]
                return -(-rows // down) * -(-(-(-self.width // across) * block) // 8)
        return rows * -(-self.width * bits // 8)
