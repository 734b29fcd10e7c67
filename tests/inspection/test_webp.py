import struct

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
    saved,
    size_by_pillow,
)
from watcher.inspection import webp
from watcher.inspection.source import Damaged, EndMissing
from watcher.inspection.webp import read_webp


def animation(**options: object) -> bytes:
    frames = [noise(size=(60, 40)) for _ in range(3)]
    return saved(
        noise(size=(60, 40)), "WEBP", save_all=True, append_images=frames, duration=40, **options
    )


LOSSY = saved(noise(), "WEBP", quality=60)
LOSSLESS = saved(noise(), "WEBP", lossless=True)
EXTENDED = saved(noise(), "WEBP", exif=exif(), icc_profile=bytes(333), xmp=b"<x:xmpmeta/>")
ANIMATED = animation()

KINDS = {
    "lossy": LOSSY,
    "lossless": LOSSLESS,
    "lossy with transparency": saved(noise("RGBA"), "WEBP"),
    "lossless with transparency": saved(noise("RGBA"), "WEBP", lossless=True),
    "EXIF, profile, XMP": EXTENDED,
    "lossless with EXIF": saved(noise(), "WEBP", lossless=True, exif=exif()),
    "animated": ANIMATED,
    "animated, lossless": animation(lossless=True),
    "grey": saved(noise("L"), "WEBP"),
    "1 x 1": saved(noise(size=(1, 1)), "WEBP"),
    "1 x 1, lossless": saved(noise(size=(1, 1)), "WEBP", lossless=True),
}

each_kind = pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return name + struct.pack("<L", len(content)) + content + bytes(len(content) & 1)


def form(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def parts(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a file, each whole, by name; of several of the same name the last."""
    found, at = {}, 12
    while at < len(data):
        name, length = struct.unpack_from("<4sL", data, at)
        stop = at + 8 + length + (length & 1)
        found[name] = data[at:stop]
        at = stop
    return found


def canvas(width: int, height: int, *, flags: int = 0) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides)


VP8 = parts(LOSSY)[b"VP8 "]
VP8L = parts(LOSSLESS)[b"VP8L"]
ANIM, ANMF = parts(ANIMATED)[b"ANIM"], parts(ANIMATED)[b"ANMF"]
MOVING = canvas(60, 40, flags=2) + ANIM


def changed(data: bytes, at: int, to: bytes) -> bytes:
    return data[:at] + to + data[at + len(to) :]


@each_kind
def test_a_whole_image_has_the_size_that_pillow_finds(data: bytes) -> None:
    assert answer(read_webp, data) == size_by_pillow(data)


@each_kind
def test_an_image_cut_anywhere_is_not_at_its_end(data: bytes) -> None:
    for length in cuts(data, at_least=12):
        assert answer(read_webp, data[:length]) is EndMissing, length


@each_kind
@pytest.mark.parametrize("trailer", [b"\0", b"\n", bytes(70_000), b"RIFF"])
def test_what_follows_the_end_does_not_matter(data: bytes, trailer: bytes) -> None:
    assert answer(read_webp, data + trailer) == size_by_pillow(data)


@pytest.mark.parametrize("size", [(10_001, 3), (3, 16_383), (2_000, 3_000)])
def test_great_sizes_are_read(size: tuple[int, int]) -> None:
    for options in ({"method": 0}, {"lossless": True, "method": 0, "quality": 0}):
        assert answer(read_webp, saved(Image.new("RGB", size), "WEBP", **options)) == size


ODD = {
    "an unknown chunk": form(canvas(67, 45), chunk(b"ODD ", b"odd"), VP8),
    "chunks behind the picture": form(canvas(67, 45), VP8, chunk(b"ODD ", b"odd"), chunk(b"EXIF")),
    "a chunk behind a simple picture": form(VP8, chunk(b"ODD ", b"odd")),
    "an extended lossless picture": form(canvas(67, 45), VP8L),
    "a frame of another size than it says": form(
        canvas(67, 45, flags=2), ANIM, changed(ANMF, 14, b"\1")
    ),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
def test_odd_but_good_files_are_taken(data: bytes) -> None:
    assert decodes(data)
    assert answer(read_webp, data) == (67, 45)


def test_too_few_bytes_for_a_chunk_at_the_end_do_not_matter() -> None:
    # dwebp and GraphicsMagick read it; Pillow, which asks the demuxer, does not.
    assert answer(read_webp, form(VP8, b"odd\0")) == (67, 45)


DAMAGE = {
    "no chunk": form() + bytes(20),
    "no picture": form(chunk(b"EXIF", b"EXIF")),
    "only a canvas": form(canvas(67, 45)),
    "a short canvas": form(chunk(b"VP8X", bytes(8)), VP8),
    "another size than its canvas": form(canvas(66, 45), VP8),
    "an animation without frames": form(MOVING),
    "frames, but no animation": form(canvas(60, 40), ANIM, ANMF),
    "a still picture in an animation": form(MOVING, VP8),
    "a frame beyond the canvas": form(canvas(59, 40, flags=2), ANIM, ANMF),
    "an empty frame": form(MOVING, chunk(b"ANMF", ANMF[8:24])),
    "a short frame": form(MOVING, chunk(b"ANMF", bytes(8))),
    "a chunk longer than the whole": form(changed(VP8, 4, b"\xff\xff\xff\0")),
    "a length beyond all": changed(LOSSY, 4, b"\xff\xff\xff\xff"),
    "a length too short": changed(LOSSY, 4, b"\x08\0\0\0"),
    "no key frame": form(changed(VP8, 8, bytes((VP8[8] | 1,)))),
    "an unknown profile": form(changed(VP8, 8, bytes((VP8[8] | 8,)))),
    "a frame that is not shown": form(changed(VP8, 8, bytes((VP8[8] & ~16,)))),
    "a first partition longer than its chunk": form(changed(VP8, 9, b"\xff\xff")),
    "no start code": form(changed(VP8, 11, b"\0")),
    "no width": form(changed(VP8, 14, b"\0\0")),
    "no height": form(changed(VP8, 16, b"\0\0")),
    "a picture of five bytes": form(chunk(b"VP8 ", VP8[8:13])),
    "a lossless picture of four bytes": form(chunk(b"VP8L", VP8L[8:12])),
    "no lossless signature": form(changed(VP8L, 8, b"\0")),
    "an unknown lossless version": form(changed(VP8L, 12, b"\xff")),
}


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_no_decoder_reads_is_damaged(data: bytes) -> None:
    assert not decodes(data)
    assert answer(read_webp, data) is Damaged


def test_a_length_that_is_not_written_yet_is_awaited() -> None:
    assert answer(read_webp, changed(LOSSY, 4, bytes(4))) is EndMissing


@given(flipped(KINDS))
@PROPERTY
def test_changed_bytes_never_raise_and_agree_with_pillow(data: bytes) -> None:
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        found = answer(read_webp, data)
        if decodes(data):
            assert found == size_by_pillow(data)


@given(st.binary(max_size=300))
@PROPERTY
def test_rubbish_never_raises(rubbish: bytes) -> None:
    answer(read_webp, form(rubbish))
    answer(read_webp, form(canvas(67, 45, flags=2), rubbish))


def test_thousands_of_chunks_are_given_up_and_gigabytes_that_are_not_there_not_passed_over() -> (
    None
):
    many = canvas(9, 9) + chunk(b"ODD ") * (webp.MAX_CHUNKS + 1)
    assert answer(read_webp, b"RIFF" + struct.pack("<L", 4 + len(many)) + b"WEBP" + many) is Damaged
    assert webp.MAX_CHUNKS <= 100_000
    size = (1 << 32) - 2
    head = b"RIFF" + struct.pack("<L", size - 8) + b"WEBP" + canvas(9, 9)
    assert answer(read_webp, head, size=size) is EndMissing


def test_a_picture_of_gigabytes_is_not_read() -> None:
    size = (1 << 32) - 2
    head = (
        b"RIFF" + struct.pack("<L", size - 8) + b"WEBPVP8 " + struct.pack("<L", size - 20) + VP8[8:]
    )
    assert answer(read_webp, head, size=size) is EndMissing


def test_many_chunks_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webp, "MAX_CHUNKS", 50)
    assert answer(read_webp, form(canvas(67, 45), VP8, *[chunk(b"ODD ")] * 45)) == (67, 45)
    assert answer(read_webp, form(canvas(67, 45), VP8, *[chunk(b"ODD ")] * 50)) is Damaged
