"""A small TIFF writer for what Pillow does not write: odd, hostile and RAW-like structures;
and what our reader says of them."""

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image

from tests.inspection.samples import opened
from watcher.inspection.source import Source
from watcher.inspection.tiff import read_tiff
from watcher.inspection.verdicts import Refusal

CODES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "Q", 7: "s", 11: "f", 13: "I", 16: "Q", 18: "Q"}
Value = tuple[int, Sequence[int] | bytes]
"""A type, and numbers or the bytes of a text."""

Tags = dict[int, Value]


def read(data: bytes) -> tuple[int, int] | Refusal:
    """Reads bytes as a TIFF, from a real open file."""
    with opened(data) as fd:
        return read_tiff(Source(fd, len(data)))


class Writer:
    """Lays blocks and directories one after the other behind a header."""

    def __init__(self, order: str = "<", *, big: bool = False, mark: bytes = b"") -> None:
        self.order = order
        self.big = big
        header = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42)
        header += struct.pack(order + "HHQ", 8, 0, 0) if big else struct.pack(order + "I", 0)
        self.data = bytearray(header + mark)
        self._link = 8 if big else 4

    def block(self, data: bytes) -> int:
        at = len(self.data)
        self.data += data
        return at

    def directory(self, tags: Tags, *, following: int = 0) -> int:
        """Lays down a directory, the values that it needs first; its offset."""
        entries = b"".join(self._entry(tag, *value) for tag, value in sorted(tags.items()))
        count = struct.pack(self.order + ("Q" if self.big else "H"), len(tags))
        return self.block(count + entries + self._offset(following))

    def chain(self, *pages: Tags) -> bytes:
        """Lays down the pages, and the whole file."""
        place = self._link
        for page in pages:
            at = self.directory(page)
            self.data[place : place + self._link] = self._offset(at)
            place = len(self.data) - self._link
            if self.big and page is pages[0]:
                self.data[8:16], self.data[4:8] = (
                    self._offset(at),
                    struct.pack(self.order + "HH", 8, 0),
                )
        return bytes(self.data)

    def _offset(self, value: int) -> bytes:
        return struct.pack(self.order + ("Q" if self.big else "I"), value)

    def _entry(self, tag: int, kind: int, values: Sequence[int] | bytes) -> bytes:
        letter = CODES.get(kind, "I")
        packed = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"{self.order}{len(values)}{letter}", *values)
        )
        field = packed if len(packed) <= self._link else self._offset(self.block(packed))
        head = struct.pack(self.order + ("HHQ" if self.big else "HHI"), tag, kind, len(values))
        return head + field.ljust(self._link, b"\0")


def grey_page(writer: Writer, width: int = 8, height: int = 6, **more: Value) -> dict[int, Value]:
    """The tags of a page of grey pixels in one strip, which are laid down; `more` as t123=..."""
    at = writer.block(bytes(range(1, 9)) * (width * height // 8 + 1))
    tags: dict[int, Value] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8]),
        259: (3, [1]),
        262: (3, [1]),
        273: (4, [at]),
        277: (3, [1]),
        278: (4, [height]),
        279: (4, [width * height]),
    }
    return tags | {int(name[1:]): value for name, value in more.items()}


def directory_first(page: Tags, parts: Sequence[bytes], *, order: str = "<") -> bytes:
    """A file of one page whose strips or tiles lie behind its directory."""
    where, sizes = (324, 325) if 322 in page else (273, 279)
    page = page | {where: (4, [0] * len(parts)), sizes: (4, [len(part) for part in parts])}
    at = len(Writer(order).chain(page))
    offsets = [at + sum(map(len, parts[:number])) for number in range(len(parts))]
    return Writer(order).chain(page | {where: (4, offsets)}) + b"".join(parts)


def with_directory_first(data: bytes) -> bytes:
    """A TIFF by Pillow, whose packed ones have their directory at the end, the other way round."""
    with Image.open(io.BytesIO(data)) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]
        parts = [data[at : at + size] for at, size in zip(tags[273], tags[279], strict=True)]
        page: Tags = {}
        for tag, value in tags.items():
            kind = tags.tagtype[tag]
            if kind == 7:
                page[tag] = kind, value
            elif kind in {3, 4}:
                page[tag] = kind, value if isinstance(value, tuple) else (value,)
    return directory_first(page, parts, order={b"II": "<", b"MM": ">"}[data[:2]])


def deflated_tiles(tile: Sequence[bytes]) -> bytes:
    """Grey tiles of 64 x 64 pixels, two in a row."""
    page: Tags = {
        256: (4, [128]),
        257: (4, [64 * (len(tile) // 2)]),
        258: (3, [8]),
        259: (3, [8]),
        262: (3, [1]),
        277: (3, [1]),
        322: (4, [64]),
        323: (4, [64]),
    }
    return directory_first(page, [zlib.compress(pixels) for pixels in tile])
