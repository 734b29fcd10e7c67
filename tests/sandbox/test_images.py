import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tests.sandbox.client import picture, sha256, upload
from watcher.sandbox import Sandbox

TIFF_OPTIONS: list[dict[str, Any]] = [
    {},
    {"compression": "tiff_lzw"},
    {"compression": "tiff_adobe_deflate"},
    {"compression": "jpeg"},
    {"big_tiff": True},
]


@pytest.fixture(scope="module")
def judge() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def answer(service: Sandbox, content: bytes) -> tuple[int, str]:
    reply = upload(service, content, filesize=len(content))
    return reply.status, reply.body.decode()


def images() -> Iterator[tuple[str, bytes]]:
    size = (200, 150)
    yield "jpeg", picture("JPEG", size)
    yield "progressive jpeg", picture("JPEG", size, progressive=True)
    yield "png", picture("PNG", size)
    for options in TIFF_OPTIONS:
        yield f"tiff {options}", picture("TIFF", size, **options)
    yield "webp", picture("WEBP", size)
    yield "lossless webp", picture("WEBP", size, lossless=True)
    yield "mpo", picture("MPO", size, save_all=True, append_images=[second(size)])
    pages = picture("TIFF", size, save_all=True, append_images=[second(size)])
    yield "pages", pages.rstrip(b"\0")  # Pillow pads to a multiple of 16


def second(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 30).convert("RGB")


IMAGES = dict(images())


@pytest.mark.parametrize("name", IMAGES)
def test_whole_images_are_stored(judge: Sandbox, name: str) -> None:
    assert answer(judge, IMAGES[name]) == (201, sha256(IMAGES[name]))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("cut", ["one byte", "tenth", "half", "most"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of some before it fails
def test_truncated_images_are_refused(judge: Sandbox, name: str, cut: str) -> None:
    size = len(IMAGES[name])
    kept = {"one byte": size - 1, "tenth": size * 9 // 10, "half": size // 2, "most": 40}[cut]
    status, message = answer(judge, IMAGES[name][:kept])
    assert status == 422, message


def test_a_jpeg_with_bytes_behind_its_end_is_whole(judge: Sandbox) -> None:
    assert answer(judge, picture() + b"appended by a camera")[0] == 201


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "png"])
@pytest.mark.parametrize("missing", [2, 12, 5000])
def test_a_preallocated_copy_that_was_not_finished_is_refused(
    judge: Sandbox, name: str, missing: int
) -> None:
    status, message = answer(judge, IMAGES[name][:-missing] + bytes(missing))
    assert status == 422, message


def test_a_png_with_a_wrong_checksum_is_refused(judge: Sandbox) -> None:
    content = bytearray(IMAGES["png"])
    content[content.index(b"IEND") - 5] ^= 1  # in the checksum of the last IDAT
    assert answer(judge, bytes(content))[0] == 422


@pytest.mark.parametrize("form", ["GIF", "BMP", "PPM", "PDF", "ICO", "JPEG2000"])
def test_other_formats_are_refused(judge: Sandbox, form: str) -> None:
    status, message = answer(judge, picture(form))
    assert (status, "unsupported format" in message) == (422, True)


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"\xff\xd8\xff", b"II*\0" + b"\xff" * 99])
@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
def test_what_is_no_image_is_refused(judge: Sandbox, content: bytes) -> None:
    assert answer(judge, content)[0] == 422


@pytest.mark.parametrize(
    ("size", "status"),
    [((10_000, 2), 201), ((2, 10_000), 201), ((10_001, 2), 422), ((2, 10_001), 422)],
)
def test_sides_have_a_limit(judge: Sandbox, size: tuple[int, int], status: int) -> None:
    assert answer(judge, picture("PNG", size))[0] == status


def test_the_largest_image_is_accepted(judge: Sandbox) -> None:
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    assert answer(judge, buffer.getvalue())[0] == 201


def raw_posing_as_tiff(tag: int, value: object) -> bytes:
    directory = ImageFileDirectory_v2()
    directory[tag] = value
    return picture("TIFF", tiffinfo=directory)


def below(photometric: int) -> bytes:
    """A NEF's way: a plain TIFF whose sub-directory holds the sensor data."""
    entries = struct.pack("<HHHII", 1, 262, 3, 1, photometric) + struct.pack("<I", 0)
    directory = ImageFileDirectory_v2()
    directory.tagtype[330] = TiffTags.LONG
    directory[330] = 0
    plain = bytearray(picture("TIFF", tiffinfo=directory))
    entry = plain.index(struct.pack("<HHI", 330, 4, 1))
    plain[entry + 8 : entry + 12] = struct.pack("<I", len(plain))
    return bytes(plain) + entries


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (raw_posing_as_tiff(50706, b"\1\4\0\0"), "DNG"),
        (below(32803), "sensor data"),
        (below(34892), "sensor data"),
        (picture("TIFF")[:8] + b"CR\2\0" + picture("TIFF")[12:], "Canon"),
    ],
)
def test_raw_files_that_pose_as_tiff_are_refused(
    judge: Sandbox, content: bytes, reason: str
) -> None:
    status, message = answer(judge, content)
    assert (status, reason in message) == (422, True), message


def test_a_sub_directory_alone_does_not_make_a_raw_file(judge: Sandbox) -> None:
    assert answer(judge, below(2))[0] == 201


def test_directories_that_loop_end(judge: Sandbox) -> None:
    content = bytearray(picture("TIFF"))
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + count * 12, start)
    assert answer(judge, bytes(content))[0] in {201, 422}


def test_no_temporary_file_is_left(
    judge: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer(judge, picture())
    answer(judge, b"no image")
    assert list(tmp_path.iterdir()) == []
