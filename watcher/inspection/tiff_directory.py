"""TIFF's directories: the header, and the tables of tagged values that it leads to.

Source: TIFF 6.0 (Adobe, 1992), section 2 "TIFF Structure"; BigTIFF (Aware Systems, 2007), which
widens counts and offsets to eight bytes; TIFF Technical Note 1 for the type IFD (13).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from watcher.inspection.source import Damaged, Source

MAX_ENTRIES = 4096
"""Values in one directory. libtiff takes a table with more for "probably not a valid IFD offset"
(tif_dirread.c, TIFFFetchDirectory)."""

_SIZES: Mapping[int, int] = {
    kind: size
    for size, kinds in {1: (1, 2, 6, 7, 129), 2: (3, 8), 4: (4, 9, 11, 13)}.items()
    for kind in kinds
} | dict.fromkeys((5, 10, 12, 16, 17, 18), 8)
"""Bytes in one value of each type; 16 to 18 are BigTIFF's, 129 is Exif 3.0's UTF-8. A value of
another type is passed over, as TIFF 6.0 asks of readers."""

_INTEGERS: Mapping[int, str] = dict(
    zip((1, 3, 4, 6, 8, 9, 13, 16, 17, 18), "BHIbhiIQqQ", strict=True)
)
"""The types whose values are whole numbers, with their `struct` letters."""


class Layout(NamedTuple):
    """How this file writes numbers, and where its directories begin.

    `order` is the `struct` mark of its byte order, `big` is true for BigTIFF, and `first` is the
    offset of the first directory (0: none has been written yet).
    """

    order: str
    big: bool
    first: int


def read_layout(source: Source) -> Layout:
    """The header. Raises `Damaged` for a BigTIFF whose offsets have not eight bytes."""
    head = source.read(0, 8)
    order = "<" if head.startswith(b"II") else ">"
    version, first = struct.unpack(order + "2xHI", head)
    if version == 42:
        return Layout(order, big=False, first=first)
    width, zero, first = struct.unpack(order + "4xHHQ", source.read(0, 16))
    if (width, zero) != (8, 0):
        raise Damaged("its BigTIFF header is not one")
    return Layout(order, big=True, first=first)


class Entry(NamedTuple):
    """One tagged value of `amount` items. `field` holds them if they fit, else their offset."""

    kind: int
    amount: int
    field: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """One table of tagged values, and the means to read them. Owned by the thread that inspects.

    `offset` is where it lies, `following` where the next of its chain does (0: none), and `length`
    how many entries the file has there, at most `MAX_ENTRIES`. A value is read only when it is
    asked for.
    """

    _source: Source
    _layout: Layout
    _entries: Mapping[int, Entry]
    length: int
    offset: int
    following: int

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def count(self, tag: int) -> int:
        """How many values `tag` has; 0 if it is absent or they are not whole numbers."""
        entry = self._entries.get(tag)
        return entry.amount if entry is not None and entry.kind in _INTEGERS else 0

    def number(self, tag: int) -> int | None:
        """The first value of `tag`; None if `count` is 0. Raises `EndMissing`."""
        return self.numbers(tag, 0, 1)[0] if self.count(tag) else None

    def numbers(self, tag: int, start: int, stop: int) -> tuple[int, ...]:
        """The values of `tag` from number `start` up to `stop` or to the last.

        Raises `EndMissing`, and `Damaged` if they are more than `source.MAX_READ` bytes.
        """
        stop = min(stop, self.count(tag))
        if start >= stop:
            return ()
        entry = self._entries[tag]
        size = _SIZES[entry.kind]
        data = self._read(entry, start * size, (stop - start) * size)
        return struct.unpack(f"{self._layout.order}{stop - start}{_INTEGERS[entry.kind]}", data)

    def text(self, tag: int, limit: int) -> bytes:
        """The first bytes of `tag`, `limit` at most; none if it is absent or past the end."""
        entry = self._entries.get(tag)
        if entry is None or _SIZES.get(entry.kind) != 1:
            return b""
        length = min(entry.amount, limit)
        if self._extent(entry) is None:
            return entry.field[:length]
        return self._source.read_some(self._offset_of(entry), length)

    def end_of_values(self) -> int:
        """Where the values that do not fit into the table end, of all its entries."""
        extents = map(self._extent, self._entries.values())
        return max((extent for extent in extents if extent is not None), default=0)

    def _read(self, entry: Entry, start: int, length: int) -> bytes:
        if self._extent(entry) is None:
            return entry.field[start : start + length]
        return self._source.read(self._offset_of(entry) + start, length)

    def _extent(self, entry: Entry) -> int | None:
        """Where the value ends in the file; None if it is in the table itself."""
        size = _SIZES.get(entry.kind, 0) * entry.amount
        return self._offset_of(entry) + size if size > len(entry.field) else None

    def _offset_of(self, entry: Entry) -> int:
        return int.from_bytes(entry.field, "little" if self._layout.order == "<" else "big")


def read_directory(source: Source, layout: Layout, offset: int) -> Directory | None:
    """The directory at `offset`, or None if what is there cannot be one (`MAX_ENTRIES`, no entry).

    Of a tag that is there twice the first counts, as for libtiff and Pillow. Raises `EndMissing`.
    """
    head, entry = ("Q", "HHQ8s") if layout.big else ("H", "HHI4s")
    head, entry = layout.order + head, layout.order + entry
    start = offset + struct.calcsize(head)
    (count,) = struct.unpack(head, source.read(offset, start - offset))
    if not 0 < count <= MAX_ENTRIES:
        return None
    link = 8 if layout.big else 4
    table = source.read(start, count * struct.calcsize(entry) + link)
    entries: dict[int, Entry] = {}
    for tag, *value in struct.iter_unpack(entry, table[:-link]):
        entries.setdefault(tag, Entry(*value))
    following = int.from_bytes(table[-link:], "little" if layout.order == "<" else "big")
    return Directory(source, layout, entries, length=count, offset=offset, following=following)
