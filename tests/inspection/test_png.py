import struct
import tracemalloc
import zlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.inspection.samples import (
    PROPERTY,
    answer,
    cuts,
    decodes,
    exif,
    flipped,
    noise,
    opened,
    saved,
    size_by_pillow,
)
from watcher.inspection import png
from watcher.inspection.png import read_png
from watcher.inspection.source import MAX_READ, Damaged, EndMissing, Source
from watcher.inspection.verdicts import Refusal

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return (
        struct.pack(">L", len(content))
        + name
        + content
        + struct.pack(">L", zlib.crc32(name + content))
    )


def header(
    width: int = 5, height: int = 3, depth: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    return chunk(b"IHDR", struct.pack(">LL5B", width, height, depth, colour, 0, 0, interlace))


def pixels(
    width: int = 5, height: int = 3, depth: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    """The rows of a black picture, of each pass if it is interlaced, before compression."""
    passes = PASSES if interlace else ((0, 0, 1, 1),)
    rows = b""
    for left, top, across, down in passes:
        wide, high = -(-(width - left) // across), -(-(height - top) // down)
        if wide > 0:
            rows += bytes(max(0, high) * (1 + (wide * depth * SAMPLES[colour] + 7) // 8))
    return rows


PALETTE = chunk(b"PLTE", bytes(6))
IDAT = chunk(b"IDAT", zlib.compress(pixels()))
IEND = chunk(b"IEND")
SMALL = SIGNATURE + header() + IDAT + IEND


def written(depth: int, colour: int, interlace: int) -> bytes:
    data = zlib.compress(pixels(13, 11, depth, colour, interlace))
    palette = PALETTE if colour == 3 else b""
    return (
        SIGNATURE + header(13, 11, depth, colour, interlace) + palette + chunk(b"IDAT", data) + IEND
    )


def animation() -> bytes:
    frames = [noise() for _ in range(3)]
    return saved(noise(), "PNG", save_all=True, append_images=frames, duration=50)


KINDS = {
    **{mode: saved(noise(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "16 bits": saved(noise("L").convert("I;16"), "PNG"),
    "2 colours": saved(noise().quantize(2), "PNG", bits=1),
    "16 colours": saved(noise().quantize(16), "PNG", bits=4),
    "transparent colour": saved(noise(), "PNG", transparency=(1, 2, 3)),
    "optimised": saved(noise(), "PNG", optimize=True),
    "stored": saved(noise(), "PNG", compress_level=0),
    "EXIF, profile, resolution": saved(
        noise(), "PNG", exif=exif(), icc_profile=bytes(9000), dpi=(300, 300)
    ),
    "APNG": animation(),
    "1 x 1": saved(noise(size=(1, 1)), "PNG"),
    "several IDAT": saved(noise(size=(300, 200)), "PNG", compress_level=0),
    "larger than a chunk": saved(noise(size=(500, 400)), "PNG", compress_level=0),
    **{
        f"colour type {colour}, {depth} bits, {'interlaced' if interlace else 'in order'}": written(
            depth, colour, interlace
        )
        for colour, interlace in product(DEPTHS, (0, 1))
        for depth in DEPTHS[colour]
    },
}

each_kind = pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())


@each_kind
def test_a_whole_image_has_the_size_that_pillow_finds(data: bytes) -> None:
    assert answer(read_png, data) == size_by_pillow(data)


@each_kind
def test_an_image_cut_anywhere_is_not_at_its_end(data: bytes) -> None:
    for length in cuts(data, at_least=len(SIGNATURE)):
        assert answer(read_png, data[:length]) is EndMissing, length


@each_kind
@pytest.mark.parametrize("trailer", [b"\0", b"\n", bytes(70_000), b"more", SIGNATURE])
def test_what_follows_the_end_does_not_matter(data: bytes, trailer: bytes) -> None:
    assert answer(read_png, data + trailer) == size_by_pillow(data)


@pytest.mark.parametrize("size", [(10_000, 10_000), (10_001, 1), (1, 10_001)])
def test_great_sizes_are_read(size: tuple[int, int]) -> None:
    assert answer(read_png, saved(Image.new("1", size), "PNG", compress_level=1)) == size


def test_a_changed_byte_of_the_picture_is_found() -> None:
    data = KINDS["RGB"]
    start = data.index(b"IDAT") + 4
    for at in range(start, len(data) - 12, 97):
        changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        assert answer(read_png, changed) is Damaged


def test_a_changed_byte_of_the_header_is_found() -> None:
    for at in range(16, 33):
        changed = SMALL[:at] + bytes((SMALL[at] ^ 1,)) + SMALL[at + 1 :]
        assert answer(read_png, changed) is Damaged
        assert not decodes(changed)


ODD = {
    "empty IDAT chunks": SIGNATURE + header() + chunk(b"IDAT") + IDAT + chunk(b"IDAT") + IEND,
    "one byte in each IDAT": SIGNATURE
    + header()
    + b"".join(chunk(b"IDAT", bytes((byte,))) for byte in zlib.compress(pixels()))
    + IEND,
    "a palette that it does not need": SIGNATURE + header() + PALETTE + IDAT + IEND,
    "unknown descriptions": SIGNATURE
    + header()
    + chunk(b"prVt", b"x") * 9
    + IDAT
    + chunk(b"vpAg")
    + IEND,
    "a description behind the picture": SIGNATURE
    + header()
    + IDAT
    + chunk(b"tEXt", b"a\0b")
    + IEND,
    "an end with content": SIGNATURE + header() + IDAT + chunk(b"IEND", b"content"),
    "an end whose check sum is wrong": SMALL[:-1] + b"\0",
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
def test_odd_but_good_files_are_taken(data: bytes) -> None:
    assert decodes(data)
    assert answer(read_png, data) == (5, 3)


def test_a_description_may_fail_its_check_sum() -> None:
    # libpng warns and does without it; Pillow is stricter.
    text = chunk(b"tEXt", b"a\0b")[:-1] + b"\0"
    assert answer(read_png, SIGNATURE + header() + text + IDAT + IEND) == (5, 3)


DAMAGE = {
    "no header": SIGNATURE + IDAT + IEND,
    "a header behind another chunk": SIGNATURE + chunk(b"tEXt", b"a\0b") + header() + IDAT + IEND,
    "a short header": SIGNATURE + chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\2\0\0") + IDAT + IEND,
    "two headers": SIGNATURE + header() * 2 + IDAT + IEND,
    "no width": SIGNATURE + header(width=0) + IDAT + IEND,
    "no height": SIGNATURE + header(height=0) + IDAT + IEND,
    "a width beyond all": SIGNATURE + header(width=1 << 31) + IDAT + IEND,
    "an unknown depth": SIGNATURE + header(depth=3) + IDAT + IEND,
    "an unknown colour type": SIGNATURE + header(colour=5) + IDAT + IEND,
    "an unknown interlacing": SIGNATURE + header(interlace=2) + IDAT + IEND,
    "no picture": SIGNATURE + header() + IEND,
    "an empty picture": SIGNATURE + header() + chunk(b"IDAT") + IEND,
    "a picture too short for its size": SIGNATURE + header(9000, 9000) + IDAT + IEND,
    "no palette": SIGNATURE + header(colour=3) + IDAT + IEND,
    "a palette behind the picture": SIGNATURE + header(colour=3) + IDAT + PALETTE + IEND,
    "an odd palette": SIGNATURE + header(colour=3) + chunk(b"PLTE", bytes(7)) + IDAT + IEND,
    "an empty palette": SIGNATURE + header(colour=3) + chunk(b"PLTE") + IDAT + IEND,
    "a palette too long": SIGNATURE + header(colour=3) + chunk(b"PLTE", bytes(771)) + IDAT + IEND,
    "an unknown part that is needed": SIGNATURE + header() + chunk(b"NEED") + IDAT + IEND,
    "a name that is none": SIGNATURE + header() + chunk(b"te\0t") + IDAT + IEND,
    "a name beyond ASCII": SIGNATURE + header() + chunk(b"te\xe4t") + IDAT + IEND,
    "a length beyond all": SIGNATURE + header() + b"\x80\0\0\0IDAT" + bytes(50) + IEND,
}  # fmt: skip


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_libpng_does_not_read_is_damaged(data: bytes) -> None:
    assert answer(read_png, data) is Damaged


def test_a_png_for_iphone_apps_is_named() -> None:
    bare = chunk(b"IDAT", zlib.compress(pixels())[2:-4])
    data = SIGNATURE + chunk(b"CgBI", b"\x50\0\x20\2") + header() + bare + IEND
    assert not decodes(data)
    assert answer(read_png, data) == Refusal("other_format", "a PNG for iPhone apps only (CgBI)")


@given(flipped(KINDS))
@PROPERTY
def test_changed_bytes_never_raise_and_agree_with_pillow(data: bytes) -> None:
    if data.startswith(SIGNATURE):
        found = answer(read_png, data)
        if type(found) is tuple and decodes(data):
            assert found == size_by_pillow(data)


@given(st.binary(max_size=300))
@PROPERTY
def test_rubbish_never_raises(rubbish: bytes) -> None:
    answer(read_png, SIGNATURE + rubbish)
    answer(read_png, SMALL[:-12] + rubbish)


def test_a_picture_of_gigabytes_is_read_in_bounded_memory() -> None:
    head = SIGNATURE + header(10_000, 10_000) + struct.pack(">L", (1 << 31) - 1) + b"IDAT"
    size = len(head) + (1 << 30)
    with opened(head, size=size) as fd:
        tracemalloc.start()
        with pytest.raises(EndMissing):
            read_png(Source(fd, size))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2 * MAX_READ


def test_a_description_of_gigabytes_is_passed_over() -> None:
    head = SIGNATURE + header() + struct.pack(">L", (1 << 31) - 1) + b"tEXt"
    assert answer(read_png, head, size=(1 << 31) - 1 + len(head) + 5) is EndMissing
    assert answer(read_png, head, size=(1 << 31) - 1 + len(head) + 50) is Damaged


def test_chunks_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "MAX_CHUNKS", 50)
    head, rest = SIGNATURE + header(), IDAT + IEND
    assert answer(read_png, head + chunk(b"tEXt") * 40 + rest) == (5, 3)
    assert answer(read_png, head + chunk(b"tEXt") * 50 + rest) is Damaged
