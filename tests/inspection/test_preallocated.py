"""Copies whose length is there from the start, and zeros where they are not written yet.

Also what looks like them: whole pictures that end in zeros, as flat ones do.
"""

import os
import random
import struct
import zlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.inspection.samples import PROPERTY, answer, decodes, noise, opened, saved
from tests.inspection.tiff_writing import (
    Tags,
    Writer,
    deflated_tiles,
    directory_first,
    grey_page,
    with_directory_first,
)
from watcher.inspection import Image as Whole
from watcher.inspection import Incomplete, Refusal, inspect
from watcher.inspection.source import EndMissing, Source
from watcher.inspection.tiff import read_tiff
from watcher.inspection.webp import read_webp

SIZE = 320, 240
BLOCK = 4096


def zeroed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(len(data) - at)


def is_incomplete(data: bytes, *, size: int | None = None) -> bool:
    """What `inspect` makes of it: where a header is cut in two, the readers call it damaged."""
    with opened(data, size=size) as fd:
        return isinstance(inspect(Source(fd, len(data) if size is None else size)), Incomplete)


def flat(mode: str, size: tuple[int, int], value: int) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.new(mode, size, (value,) * bands if bands > 1 else value)


def half_flat(mode: str, size: tuple[int, int], value: int) -> Image.Image:
    picture = noise(mode, size)
    picture.paste(flat(mode, size, value), (0, size[1] // 2))
    return picture


def pictures(mode: str, size: tuple[int, int]) -> Iterator[Image.Image]:
    for value in (0, 1, 128, 255):
        yield flat(mode, size, value)
        yield half_flat(mode, size, value)
    yield Image.linear_gradient("L").resize(size).convert(mode)
    yield noise(mode, size)


def animation(**options: object) -> bytes:
    return saved(
        noise(size=SIZE),
        "WEBP",
        save_all=True,
        append_images=[noise(size=SIZE) for _ in range(3)],
        duration=40,
        **options,
    )


WEBP = {
    "lossy": saved(noise(size=SIZE), "WEBP", quality=90),
    "lossless": saved(noise(size=SIZE), "WEBP", lossless=True),
    "lossy, clear parts": saved(noise("RGBA", SIZE), "WEBP"),
    "lossless, clear parts": saved(noise("RGBA", SIZE), "WEBP", lossless=True),
    "animated": animation(),
    "animated, lossless": animation(lossless=True),
}


@given(st.sampled_from(sorted(WEBP)), st.floats(0, 1))
@PROPERTY
def test_a_webp_with_a_hole_is_not_at_its_end(name: str, part: float) -> None:
    data = WEBP[name]
    assert answer(read_webp, data) == SIZE
    at = 30 + int((len(data) // 2 - 30) * part)
    assert answer(read_webp, data[:at], size=len(data)) is EndMissing


def test_a_small_hole_in_a_webp_is_what_a_sparse_copy_makes_of_zeros() -> None:
    data, at = WEBP["lossless"], 10 * BLOCK
    with opened(data[:at]) as fd:
        os.pwrite(fd, data[at + 2 * BLOCK :], at + 2 * BLOCK)
        assert os.lseek(fd, 0, os.SEEK_HOLE) == at
        assert read_webp(Source(fd, len(data))) == SIZE


def test_a_hole_behind_the_end_of_a_webp_does_not_matter() -> None:
    data = WEBP["lossy"] + bytes(-len(WEBP["lossy"]) % BLOCK)
    assert answer(read_webp, data, size=len(data) + 10 * BLOCK) == SIZE


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_an_animation_without_its_last_frames_is_not_at_its_end(frames: int) -> None:
    data = WEBP["animated"]
    at = -1
    for _ in range(frames):
        at = data.index(b"ANMF", at + 1)
    assert answer(read_webp, zeroed(data, at)) is EndMissing
    assert answer(read_webp, zeroed(data, at + 24)) is EndMissing


def test_a_webp_without_what_follows_its_picture_is_not_at_its_end() -> None:
    data = saved(noise(size=SIZE), "WEBP", xmp=b"<x:xmpmeta/>", icc_profile=bytes(333))
    assert answer(read_webp, zeroed(data, data.index(b"XMP "))) is EndMissing


@pytest.mark.parametrize("method", [0, 2, 4])
def test_a_webp_that_ends_in_many_zeros_is_taken(method: int) -> None:
    size = 1500, 1000
    for picture in (flat("RGB", size, 255), half_flat("RGB", size, 255)):
        assert answer(read_webp, saved(picture, "WEBP", method=method, quality=100)) == size


STRIPS: dict[str, object] = {"strip_size": 20_000}
BYTES = random.Random(4)

TIFF_KINDS: Sequence[tuple[str, str, dict[str, object]]] = [
    *((name, "RGB", {}) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
    *((name, "RGB", STRIPS) for name in ("tiff_lzw", "packbits", "lzma", "zstd")),
    *((name, "1", {}) for name in ("tiff_ccitt", "group3", "group4", "packbits")),
    ("tiff_lzw", "RGB", {"tiffinfo": {317: 2}}),
    ("tiff_adobe_deflate", "I;16", {}),
]


def tiff(kind: int, picture: Image.Image | None = None) -> bytes:
    name, mode, options = TIFF_KINDS[kind]
    picture = noise("L", SIZE) if picture is None else picture
    return with_directory_first(saved(picture.convert(mode), "TIFF", compression=name, **options))


def planes() -> bytes:
    page: Tags = {tag: (3, [value]) for tag, value in {256: 90, 257: 70, 259: 8, 262: 2}.items()}
    page |= {258: (3, [8] * 3), 277: (3, [3]), 278: (3, [70]), 284: (3, [2])}
    return directory_first(page, [zlib.compress(BYTES.randbytes(90 * 70)) for _ in range(3)])


TIFF = {
    **{f"{n} {TIFF_KINDS[n][0]} {TIFF_KINDS[n][1]}": tiff(n) for n in range(len(TIFF_KINDS))},
    "tiles": deflated_tiles([BYTES.randbytes(64 * 64) for _ in range(6)]),
    "planes": planes(),
}


@pytest.mark.parametrize("data", TIFF.values(), ids=TIFF.keys())
def test_a_packed_tiff_of_which_a_part_is_written_is_not_at_its_end(data: bytes) -> None:
    assert decodes(data)
    assert type(answer(read_tiff, data)) is tuple
    first = 1000  # behind the directory
    for at in (*range(first, len(data) - 512, len(data) // 40), len(data) - 512):
        assert answer(read_tiff, zeroed(data, at)) is EndMissing, at
        assert is_incomplete(data[:at], size=len(data)), at


@given(st.sampled_from(sorted(TIFF)), st.floats(0, 1))
@PROPERTY
def test_a_packed_tiff_ends_where_it_is_not_written(name: str, part: float) -> None:
    data = TIFF[name]
    at = 1000 + int((len(data) - 1512) * part)
    assert answer(read_tiff, zeroed(data, at)) is EndMissing


@pytest.mark.parametrize("kind", range(len(TIFF_KINDS)))
@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (3, 900), (9, 700), (64, 64), (300, 160)])
def test_a_whole_packed_tiff_is_taken_however_it_ends(kind: int, size: tuple[int, int]) -> None:
    for picture in pictures("L", size):
        assert answer(read_tiff, tiff(kind, picture)) == size


def test_flat_tiles_are_taken() -> None:
    for value in (b"\0", b"\xff"):
        assert answer(read_tiff, deflated_tiles([value * 64 * 64] * 6)) == (128, 192)


def test_black_pixels_that_are_not_packed_are_taken() -> None:
    data = saved(flat("RGB", SIZE, 0), "TIFF")
    assert answer(read_tiff, data) == SIZE


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_pages_that_are_not_written_are_missed(compression: str | None) -> None:
    pages = [noise(size=(90, 70)) for _ in range(3)]
    options = {"compression": compression, "save_all": True, "append_images": pages}
    data = saved(pages[0], "TIFF", **options)
    second = len(saved(pages[0], "TIFF", compression=compression))
    assert answer(read_tiff, data) == (90, 70)
    for page in (1, 2):  # the pages are about as long as each other
        assert answer(read_tiff, zeroed(data, second * page + 300)) is EndMissing, page


def test_an_only_strip_of_unknown_length_may_begin_with_a_zero() -> None:
    writer = Writer()
    at = writer.block(b"\0\x1f" * 20)  # as a fax does
    page: Tags = grey_page(writer, t259=(3, [3]), t273=(4, [at]), t279=(4, [0]))
    assert answer(read_tiff, writer.chain(page)) == (8, 6)


def test_zeros_at_the_end_do_not_hide_a_raw_file() -> None:
    page: Tags = grey_page(Writer(), t259=(3, [7]), t50706=(1, [1, 4, 0, 0]))
    with opened(directory_first(page, [bytes(5000)])) as fd:
        found = inspect(Source(fd, 10_000))
    assert found == Refusal("raw", "a RAW file in Adobe's format (DNG)")


def test_what_is_packed_in_another_way_may_end_in_zeros() -> None:
    for packed in (34677, 34887, 32766):
        page: Tags = grey_page(Writer(), t259=(3, [packed]))
        assert answer(read_tiff, directory_first(page, [bytes(5000)])) == (8, 6), packed


def test_inspection_says_that_it_is_incomplete() -> None:
    for form, data in (("webp", WEBP["lossy"]), ("tiff", TIFF["0 tiff_lzw RGB"])):
        for written in (len(data), len(data) // 2):
            with opened(data[:written], size=len(data)) as fd:
                found = inspect(Source(fd, len(data)))
            assert isinstance(found, Whole if written == len(data) else Incomplete), form


def test_the_length_of_a_picture_does_not_matter_if_its_chunk_is_not_written() -> None:
    data = b"RIFF" + struct.pack("<L", 5000) + b"WEBP" + bytes(4996)
    assert answer(read_webp, data) is EndMissing
