import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from tests.inspection.samples import PROPERTY, cuts, exif, flipped, noise, opened, saved
from watcher.inspection import MAX_SIDE, Image, Incomplete, Refusal, Source, Verdict, inspect
from watcher.inspection.inspect import HEAD

WHOLE = {
    "jpeg": saved(noise(), "JPEG", exif=exif()),
    "png": saved(noise(), "PNG"),
    "tiff": saved(noise(), "TIFF", compression="tiff_lzw"),
    "webp": saved(noise(), "WEBP", exif=exif()),
}

each_format = pytest.mark.parametrize(("form", "data"), WHOLE.items(), ids=WHOLE.keys())


def verdict(data: bytes, *, size: int | None = None) -> Verdict:
    with opened(data, size=size) as fd:
        return inspect(Source(fd, len(data) if size is None else size))


@each_format
def test_a_whole_image_is_an_image(form: str, data: bytes) -> None:
    assert verdict(data) == Image(form, 67, 45)  # type: ignore[arg-type]


@each_format
def test_every_beginning_of_an_image_is_incomplete(form: str, data: bytes) -> None:
    for length in cuts(data, at_least=0):
        found = verdict(data[:length])
        assert isinstance(found, Incomplete), (form, length)
        assert found.found


@pytest.mark.parametrize("form", ["jpeg", "png"])
def test_a_preallocated_copy_is_incomplete(form: str) -> None:
    # Of a WebP, whose structure stands at its beginning, only the lease and the quiet time tell it.
    # The last four bytes of a PNG are a check sum that decoders do not mind.
    data = WHOLE[form]
    for length in cuts(data[:-4], at_least=12):
        found = verdict(data[:length], size=len(data) + 600)
        assert isinstance(found, Incomplete), length


def test_a_file_of_zeros_is_incomplete() -> None:
    assert verdict(b"") == Incomplete("it is empty")
    assert verdict(bytes(10_000)) == Incomplete("so far it holds only zeros")


def test_damage_is_not_waited_for() -> None:
    assert verdict(b"\xff\xd8\xff\xd9") == Refusal("damaged", "it ends before its picture begins")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_one_pixel_more_than_the_service_takes_is_too_large(form: str) -> None:
    for size in ((MAX_SIDE, 1), (1, MAX_SIDE)):
        assert isinstance(verdict(saved(Pillow.new("L", size), form)), Image)
    for size in ((MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)):
        found = verdict(saved(Pillow.new("L", size), form))
        assert found == Refusal("too_large", f"{size[0]} x {size[1]} pixels")


def test_what_will_be_scaled_down_is_known() -> None:
    large, small = (verdict(saved(Pillow.new("L", (side, 2)), "PNG")) for side in (4097, 4096))
    assert isinstance(large, Image)
    assert large.will_be_scaled_down
    assert isinstance(small, Image)
    assert not small.will_be_scaled_down


def test_a_kind_that_usual_decoders_do_not_read_is_refused_by_name() -> None:
    data = WHOLE["jpeg"].replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")
    assert verdict(data) == Refusal("other_format", "a JPEG with 12 bits per sample")


def test_the_name_of_another_format_is_given() -> None:
    assert verdict(saved(noise(), "GIF")) == Refusal("other_format", "a GIF image")
    assert verdict(b"hello\n") == Refusal("not_an_image", "a text file")


def test_a_beginning_that_is_not_written_yet_is_incomplete() -> None:
    found = verdict(bytes(HEAD) + WHOLE["jpeg"])
    assert found == Incomplete("so far it holds only zeros")


@given(flipped(WHOLE))
@PROPERTY
def test_changed_bytes_never_raise(data: bytes) -> None:
    assert isinstance(verdict(data), Image | Incomplete | Refusal)


@given(st.binary(max_size=5000))
@PROPERTY
def test_rubbish_is_answered(data: bytes) -> None:
    assert not isinstance(verdict(data), Image)


@pytest.mark.parametrize("form", ["jpeg", "png", "tiff"])
def test_gigabytes_of_zeros_behind_the_beginning_are_answered(form: str) -> None:
    assert not isinstance(verdict(WHOLE[form][:200], size=(1 << 31) + 1), Image)
