"""The entry to inspection: which reader a file is for, and what becomes of what it finds."""

from collections.abc import Callable, Mapping

from watcher.inspection.foreign import refusal_of
from watcher.inspection.jpeg import read_jpeg
from watcher.inspection.png import read_png
from watcher.inspection.source import Damaged, EndMissing, Source, is_unwritten
from watcher.inspection.tiff import read_tiff
from watcher.inspection.verdicts import MAX_SIDE, Format, Image, Incomplete, Refusal, Verdict
from watcher.inspection.webp import read_webp

HEAD = 4096
"""Bytes from the start by which a format is told."""

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

Reader = Callable[[Source], tuple[int, int] | Refusal]
"""Width and height in pixels of a whole image, or why it is something else. Raises `EndMissing`
or `Damaged`."""

_READERS: Mapping[Format, Reader] = {
    "jpeg": read_jpeg,
    "png": read_png,
    "tiff": read_tiff,
    "webp": read_webp,
}


def inspect(source: Source) -> Verdict:
    """What the file is that this is the source of.

    Memory is bounded by `source.MAX_READ` (plus what a reader states), time by
    `source.MAX_SCANNED`. Raises `OSError` if the file cannot be read, and nothing else, whatever
    it holds.
    """
    head = source.head[:HEAD]
    form = format_of(head)
    if form is None:
        if not any(head):
            return Incomplete(_nothing_but_zeros(source.size))
        if _may_become_one(head):
            return Incomplete(f"only {source.size} bytes of it are there")
        return refusal_of(head)
    try:
        found = _READERS[form](source)
    except EndMissing as missing:
        return Incomplete(str(missing))
    except Damaged as damage:
        if is_unwritten(source, 0, source.size):
            return Incomplete("so far its end holds only zeros")
        return Refusal("damaged", str(damage))
    if isinstance(found, Refusal):
        return found
    width, height = found
    if max(width, height) > MAX_SIDE:
        return Refusal("too_large", f"{width} x {height} pixels")
    return Image(form, width, height)


def format_of(head: bytes) -> Format | None:
    """Which of the four formats the first bytes announce; RAW files that pose as TIFF included."""
    if head.startswith(_JPEG):
        return "jpeg"
    if head.startswith(_PNG):
        return "png"
    if head.startswith(_TIFF):
        return "tiff"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


def _may_become_one(head: bytes) -> bool:
    """True if a whole file so short is where one of the four formats can begin."""
    if head[:4] == b"RIFF":
        return len(head) < 12 and b"WEBP".startswith(head[8:])
    return any(signature.startswith(head) for signature in (_JPEG, _PNG, *_TIFF, b"RIFF"))


def _nothing_but_zeros(size: int) -> str:
    return "so far it holds only zeros" if size else "it is empty"
