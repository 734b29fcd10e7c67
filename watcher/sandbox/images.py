"""The stand-in's own judgement of an upload, by decoding every pixel with Pillow.

It shares nothing with the daemon's readers, so that neither hides the other's mistakes.
"""

import mmap
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import IO

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from watcher.sandbox.answers import Refused

MAX_SIDE = 10_000
"""Pixels: the documented limit for each side."""

_MAX_FRAMES = 64
_MAX_DIRECTORIES = 64
_DNG_VERSION, _PHOTOMETRIC, _SUB_DIRECTORIES = 50706, 262, 330
_SENSOR_DATA = frozenset({32803, 34892})  # photometric CFA and LinearRaw
_BIG_TIFF = 43
_CANON_RAW = b"CR"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

# A picture of 10,000 x 10,000 takes some 400 MB when decoded: two at a time, no more.
_decoders = threading.BoundedSemaphore(2)


def check(file: IO[bytes]) -> None:
    """Raise `Refused` (422) unless the open file is an acceptable image. Moves its position.

    That is a whole JPEG, PNG, TIFF, WebP or MPO within the limits, and not a RAW file that poses as
    a TIFF.
    """
    try:
        with _decoders:
            _examine(file)
    except (Refused, MemoryError):
        raise
    except Exception as problem:  # Pillow raises whatever comes to it on damaged input
        raise _unprocessable(f"cannot be decoded: {problem}") from problem


def _examine(file: IO[bytes]) -> None:
    file.seek(0)
    head = file.read(16)
    open_image = _opener(head)
    if open_image is TiffImageFile:
        _refuse_raw(file, head)
    file.seek(0)
    image = open_image(file)
    _decode_all(image)
    if open_image is PngImageFile:
        _verify_png(file)
    if open_image is jpeg_factory:
        _refuse_missing_end(file)


def _opener(head: bytes) -> Callable[[IO[bytes]], ImageFile]:
    """By the first bytes, past `Image.open`: its limit on pixels is lower than the service's."""
    if head.startswith(b"\xff\xd8\xff"):
        return jpeg_factory
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImageFile
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImageFile
    raise _unprocessable("unsupported format, use JPEG, PNG, TIFF or WebP")


def _decode_all(image: ImageFile) -> None:
    """Each frame, pixel by pixel: a truncated one raises."""
    for frame in range(_MAX_FRAMES):
        try:
            image.seek(frame)
        except EOFError:
            return
        if max(image.size) > MAX_SIDE:
            width, height = image.size
            raise _unprocessable(f"{width} x {height} pixels, at most {MAX_SIDE} x {MAX_SIDE}")
        image.load()


def _verify_png(file: IO[bytes]) -> None:
    """Checksums and the end chunk, which decoding does not look at."""
    file.seek(0)
    PngImageFile(file).verify()
    with _mapped(file) as content:
        if content.rfind(_PNG_END) < 0:
            raise _unprocessable("truncated: no end chunk")


def _refuse_missing_end(file: IO[bytes]) -> None:
    """Decoders are content without the end marker, but then the file may lack more than that."""
    with _mapped(file) as content:
        if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
            raise _unprocessable("truncated: no end of image")


def _mapped(file: IO[bytes]) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _refuse_raw(file: IO[bytes], head: bytes) -> None:
    if head[8:10] == _CANON_RAW:
        raise _unprocessable("a Canon RAW file, not a TIFF")
    for directory in _directories(file, head):
        if _DNG_VERSION in directory:
            raise _unprocessable("a DNG file, not a TIFF")
        if directory.get(_PHOTOMETRIC) in _SENSOR_DATA:
            raise _unprocessable("a RAW file, not a TIFF: it holds sensor data")


def _directories(file: IO[bytes], head: bytes) -> Iterator[ImageFileDirectory_v2]:
    """The directories of a TIFF and those below them, each once, up to a bound."""
    header = head if head[2] == _BIG_TIFF or head[3] == _BIG_TIFF else head[:8]
    waiting = [ImageFileDirectory_v2(header).next]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_DIRECTORIES:
        offset = waiting.pop()
        if not offset or offset in seen:
            continue
        seen.add(offset)
        directory = ImageFileDirectory_v2(header)
        file.seek(offset)
        directory.load(file)
        yield directory
        below = directory.get(_SUB_DIRECTORIES, ())
        waiting += [directory.next or 0, *(below if isinstance(below, tuple) else (below,))]


def _unprocessable(message: str) -> Refused:
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"Image cannot be processed: {message}")
