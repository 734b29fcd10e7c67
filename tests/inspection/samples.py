"""Generated images, and what a reader or Pillow says of some bytes."""

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image

from watcher.inspection.source import Damaged, EndMissing, Source
from watcher.inspection.verdicts import Refusal

Read = Callable[[Source], tuple[int, int] | Refusal]
Answer = tuple[int, int] | Refusal | type[EndMissing] | type[Damaged]

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True)


@contextmanager
def opened(data: bytes, *, size: int | None = None) -> Iterator[int]:
    """An open file of these bytes, with a hole behind them up to `size`."""
    fd = os.memfd_create("image")
    try:
        os.pwrite(fd, data, 0)
        if size is not None:
            os.ftruncate(fd, size)
        yield fd
    finally:
        os.close(fd)


def answer(read: Read, data: bytes, *, size: int | None = None) -> Answer:
    """What a reader says of these bytes; any exception that it must not raise comes through."""
    with opened(data, size=size) as fd:
        try:
            return read(Source(fd, len(data) if size is None else size))
        except EndMissing:
            return EndMissing
        except Damaged:
            return Damaged


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (67, 45)) -> Image.Image:
    """A picture that hardly compresses, so that cuts fall into its pixels."""
    channels = [
        Image.effect_noise(size, 40 + 20 * n)
        for n in range(len(Image.new(mode, (1, 1)).getbands()))
    ]
    return channels[0].convert(mode) if len(channels) == 1 else Image.merge(mode, channels)


def exif() -> Image.Exif:
    """A camera's description, with a comment that holds what could be taken for an end."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0112] = "Maker", "Camera", 6
    tags[0x9286] = b"\xff\xd9\xff\xda\0\x0cIEND\xae\x42\x60\x82RIFF" * 40
    return tags


@contextmanager
def pillow(data: bytes) -> Iterator[Image.Image]:
    """All of it, decoded by Pillow, whose doubts about descriptions do not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            yield image


def decodes(data: bytes) -> bool:
    """Whether Pillow gets every pixel out of it."""
    try:
        with pillow(data):
            return True
    except (OSError, SyntaxError, ValueError, EOFError):
        return False


def size_by_pillow(data: bytes) -> tuple[int, int]:
    with pillow(data) as image:
        return image.size


def cuts(data: bytes, *, at_least: int, count: int = 120) -> Iterable[int]:
    """Lengths to cut to: each of the first and the last ones, and some between."""
    step = max(1, len(data) // count)
    ends = {*range(at_least, 64), *range(64, len(data), step), *range(len(data) - 16, len(data))}
    return sorted(length for length in ends if at_least <= length < len(data))


@st.composite
def flipped(draw: st.DrawFn, kinds: dict[str, bytes]) -> bytes:
    """One of the images with some of its bytes changed, then perhaps cut or extended."""
    data = bytearray(kinds[draw(st.sampled_from(sorted(kinds)))])
    near_start = st.integers(0, min(700, len(data) - 1))
    anywhere = st.integers(0, len(data) - 1)
    for _ in range(draw(st.integers(1, 4))):
        data[draw(near_start | anywhere)] = draw(st.integers(0, 255) | st.sampled_from([0, 0xFF]))
    end = draw(st.just(len(data)) | anywhere)
    return bytes(data[:end]) + draw(st.binary(max_size=20))
