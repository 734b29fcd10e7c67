import io
import struct
import tracemalloc
from collections.abc import Callable

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
from watcher.inspection import jpeg, source
from watcher.inspection.jpeg import MAX_MARKERS, read_jpeg
from watcher.inspection.source import MAX_READ, Damaged, EndMissing, Source
from watcher.inspection.verdicts import Refusal


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def behind_soi(data: bytes, extra: bytes) -> bytes:
    return data[:2] + extra + data[2:]


def find(data: bytes, marker: int) -> int:
    """Where the first segment of this kind begins; the samples have no such bytes in others."""
    return data.index(bytes((0xFF, marker)))


def with_thumbnail() -> bytes:
    thumbnail = saved(noise(size=(16, 12)), "JPEG")
    return behind_soi(saved(noise(), "JPEG"), segment(0xE1, b"Exif\0\0" + thumbnail))


def mpo(**options: object) -> bytes:
    others = [noise(size=(60, 40)), noise(size=(50, 30))]
    return saved(noise(), "MPO", save_all=True, append_images=others, **options)


PLAIN = saved(noise(), "JPEG", quality=80)

KINDS = {
    "plain": PLAIN,
    "grey": saved(noise("L"), "JPEG"),
    "CMYK": saved(noise("CMYK"), "JPEG"),
    "progressive": saved(noise(), "JPEG", progressive=True),
    "progressive grey": saved(noise("L"), "JPEG", progressive=True, quality=30),
    "progressive CMYK": saved(noise("CMYK"), "JPEG", progressive=True),
    "optimised": saved(noise(), "JPEG", optimize=True),
    "4:4:4": saved(noise(), "JPEG", subsampling="4:4:4", quality=100),
    "4:2:2": saved(noise(), "JPEG", subsampling="4:2:2"),
    "RGB channels": saved(noise(), "JPEG", keep_rgb=True),
    "restarts": saved(noise(), "JPEG", restart_marker_blocks=3),
    "progressive restarts": saved(noise(), "JPEG", progressive=True, restart_marker_rows=1),
    "EXIF": saved(noise(), "JPEG", exif=exif()),
    "thumbnail": with_thumbnail(),
    "big profile": saved(noise(), "JPEG", icc_profile=bytes(range(256)) * 600),
    "comment": saved(noise(), "JPEG", comment=b"\xff\xd9" * 100),
    "1 x 1": saved(noise(size=(1, 1)), "JPEG"),
    "wide": saved(noise(size=(3000, 1)), "JPEG"),
    "larger than a chunk": saved(noise(size=(900, 600)), "JPEG", quality=95),
    "MPO": mpo(),
    "MPO, EXIF": mpo(exif=exif()),
}

each_kind = pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())


@each_kind
def test_a_whole_image_has_the_size_that_pillow_finds(data: bytes) -> None:
    assert answer(read_jpeg, data) == size_by_pillow(data)


@each_kind
def test_an_image_cut_anywhere_is_not_at_its_end(data: bytes) -> None:
    for length in cuts(data, at_least=3):
        assert answer(read_jpeg, data[:length]) is EndMissing, length


@each_kind
@pytest.mark.parametrize(
    "trailer", [b"\0", b"\n", bytes(70_000), b"\0\0\0\x18ftypmp42", b"\xff\xd8"]
)
def test_what_follows_the_end_does_not_matter(data: bytes, trailer: bytes) -> None:
    assert answer(read_jpeg, data + trailer) == size_by_pillow(data)


@pytest.mark.parametrize("size", [(10_000, 10_000), (10_001, 1), (1, 65_500)])
def test_great_sizes_are_read(size: tuple[int, int]) -> None:
    assert answer(read_jpeg, saved(Image.new("L", size), "JPEG")) == size


ODD: dict[str, Callable[[bytes], bytes]] = {
    "padding before a marker": lambda data: data.replace(b"\xff\xdb", b"\xff" * 40 + b"\xdb", 1),
    "stray bytes between segments": lambda data: data.replace(
        b"\xff\xdb", b"\0\1\xff\0\xff\xdb", 1
    ),
    "padding before the end": lambda data: data[:-2] + b"\xff\xff\xff\xd9",
    "stray bytes before the end": lambda data: data[:-2] + bytes(9) + data[-2:],
    "a restart where none belongs": lambda data: data[:-2] + b"\xff\xd0" + data[-2:],
    "a comment of impossible length": lambda data: behind_soi(data, b"\xff\xfe\0\0"),
    "an empty comment": lambda data: behind_soi(data, segment(0xFE, b"")),
    "an application segment behind the scan": lambda data: (
        data[:-2] + segment(0xE4, b"\xff\xd9") + data[-2:]
    ),
    "many application segments": lambda data: behind_soi(data, segment(0xE5, bytes(60_000)) * 30),
    "an MPF segment that is none": lambda data: behind_soi(data, segment(0xE2, b"MPF\0nonsense")),
    "an MPF segment that is short": lambda data: behind_soi(data, segment(0xE2, b"MPF\0II*\0")),
    "an MPF index elsewhere": lambda data: behind_soi(
        data, segment(0xE2, b"MPF\0II*\0\xff\xff\0\0")
    ),
    "an MPF index without pictures": lambda data: behind_soi(
        data, segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1" + bytes(12))
    ),
    "an unused Huffman table of nonsense": lambda data: behind_soi(
        data, segment(0xC4, b"\x03\3" + bytes(15) + b"abc")
    ),
    "a length of lines (DNL)": lambda data: data[:-2] + segment(0xDC, b"\0\x2d") + data[-2:],
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD.keys())
def test_odd_but_good_files_are_taken(change: Callable[[bytes], bytes]) -> None:
    for kind in ("plain", "progressive"):
        data = change(KINDS[kind])
        assert decodes(data), kind
        assert answer(read_jpeg, data) == (67, 45), kind


def test_a_temporary_marker_is_passed_over() -> None:
    # libjpeg does so; Pillow gives up before it asks libjpeg.
    assert answer(read_jpeg, behind_soi(PLAIN, b"\xff\x01")) == (67, 45)


def test_channels_may_all_have_the_same_id() -> None:
    data = bytearray(PLAIN)
    frame, scan = find(PLAIN, 0xC0) + 10, find(PLAIN, 0xDA) + 5
    for channel in range(3):
        data[frame + 3 * channel] = data[scan + 2 * channel] = 1
    assert decodes(bytes(data))
    assert answer(read_jpeg, bytes(data)) == (67, 45)


def test_reserved_markers_between_restarts_are_passed_over() -> None:
    data = KINDS["restarts"]
    at = data.index(b"\xff\xd3")
    data = data[:at] + b"\xff\x42" + data[at:]
    assert decodes(data)
    assert answer(read_jpeg, data) == (67, 45)


def test_frames_of_a_motion_jpeg_go_without_huffman_tables() -> None:
    data = PLAIN
    while b"\xff\xc4" in data:
        at = find(data, 0xC4)
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    assert decodes(data)
    assert answer(read_jpeg, data) == (67, 45)


def set_at(marker: int, offset: int, value: int) -> Callable[[bytes], bytes]:
    """Changes one byte of the first segment of a kind, counted from its length on."""

    def change(data: bytes) -> bytes:
        at = find(data, marker) + 2 + offset
        return data[:at] + bytes((value,)) + data[at + 1 :]

    return change


def frame_of(data: bytes) -> bytes:
    return data[find(data, 0xC0) : find(data, 0xC4)]


def without(marker: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        at = find(data, marker)
        return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]

    return change


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "no picture at all": ("plain", lambda _: b"\xff\xd8\xff\xd9"),
    "tables only": ("plain", lambda data: data[: find(data, 0xC0)] + b"\xff\xd9"),
    "no frame": ("plain", without(0xC0)),
    "no quantiser": ("grey", without(0xDB)),
    "no Huffman table": ("progressive grey", without(0xC4)),
    "two frames": ("plain", lambda data: data.replace(frame_of(data), 2 * frame_of(data))),
    "a frame in the scan": ("plain", lambda data: data[:-2] + segment(0xC0, bytes(15)) + data[-2:]),
    "another beginning": ("plain", lambda data: behind_soi(data, b"\xff\xd8")),
    "an unknown marker": ("plain", lambda data: behind_soi(data, b"\xff\x42")),
    "a reserved marker": ("plain", lambda data: behind_soi(data, segment(0xF3, b"x"))),
    "a reserved marker in the scan": ("plain", lambda data: data[:-2] + b"\xff\xf3" + data[-2:]),
    "an unknown marker in the scan": ("plain", lambda data: data[:-2] + b"\xff\x42" + data[-2:]),
    "no height": ("plain", lambda data: set_at(0xC0, 4, 0)(set_at(0xC0, 3, 0)(data))),
    "no width": ("plain", lambda data: set_at(0xC0, 6, 0)(set_at(0xC0, 5, 0)(data))),
    "a short frame": ("plain", set_at(0xC0, 1, 4)),
    "a frame of another length": ("plain", set_at(0xC0, 1, 18)),
    "a frame of no length": ("plain", set_at(0xC0, 1, 0)),
    "no sampling": ("plain", set_at(0xC0, 9, 0)),
    "too much sampling": ("plain", set_at(0xC0, 9, 0x44)),
    "a quantiser that is not there": ("plain", set_at(0xC0, 10, 3)),
    "a quantiser of another length": ("plain", set_at(0xDB, 2, 0x10)),
    "a quantiser number": ("plain", set_at(0xDB, 2, 0x09)),
    "a Huffman number": ("plain", set_at(0xC4, 2, 0x09)),
    "a Huffman length": ("plain", set_at(0xC4, 18, 0xFF)),
    "a Huffman code that cannot be": ("plain", set_at(0xC4, 3, 3)),
    "a Huffman value that cannot be": ("plain", set_at(0xC4, 19, 0xFF)),
    "a restart interval": ("restarts", set_at(0xDD, 1, 5)),
    "a scan of no channels": ("plain", set_at(0xDA, 2, 0)),
    "a scan of another length": ("plain", set_at(0xDA, 1, 11)),
    "a scan of an unknown channel": ("plain", set_at(0xDA, 3, 77)),
    "a scan with one channel twice": ("plain", set_at(0xDA, 5, 1)),
    "a Huffman table that is not there": ("plain", set_at(0xDA, 4, 0x22)),
    "a first scan of everything": ("progressive", set_at(0xDA, 10, 63)),
    "a precision beyond all": ("progressive", set_at(0xDA, 11, 0x0E)),
    "a refinement out of step": ("progressive", set_at(0xDA, 11, 0x53)),
    "a scan of details of all channels": ("progressive", set_at(0xDA, 9, 5)),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_no_decoder_reads_is_damaged(kind: str, change: Callable[[bytes], bytes]) -> None:
    data = change(KINDS[kind])
    assert not decodes(data)
    assert answer(read_jpeg, data) is Damaged


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (set_at(0xC0, 2, 12), "a JPEG with 12 bits per sample"),
        (lambda data: behind_soi(data, segment(0xF7, bytes(20))), "a JPEG-LS image"),
        (lambda data: behind_soi(data, segment(0xC5, bytes(20))), "a hierarchical JPEG"),
        (lambda data: behind_soi(data, segment(0xDE, bytes(20))), "a hierarchical JPEG"),
        (
            lambda data: behind_soi(data, segment(0xC0, b"\x08\0\2\0\2\2" + b"\1\x11\0" * 2)),
            "a JPEG with 2 colour channels",
        ),
        (
            lambda data: data.replace(b"\xff\xc0", b"\xff\xcb", 1),
            "a lossless JPEG with arithmetic coding",
        ),
    ],
)
def test_kinds_that_usual_decoders_do_not_read_are_named(
    change: Callable[[bytes], bytes], found: str
) -> None:
    data = change(PLAIN)
    assert not decodes(data)
    assert answer(read_jpeg, data) == Refusal("other_format", found)


def arithmetic() -> bytes:
    """The head of an arithmetic-coded picture: what is coded no matter, decoders read any noise."""
    data = without(0xC4)(without(0xC4)(without(0xC4)(without(0xC4)(PLAIN))))
    return data.replace(b"\xff\xc0", b"\xff\xc9", 1)


def test_arithmetic_coding_needs_no_huffman_table() -> None:
    assert decodes(arithmetic())
    assert answer(read_jpeg, arithmetic()) == (67, 45)


def test_lossless_coding_needs_no_quantiser() -> None:
    data = without(0xDB)(KINDS["grey"]).replace(b"\xff\xc0", b"\xff\xc3", 1)
    assert answer(read_jpeg, data) == (67, 45)
    assert answer(read_jpeg, set_at(0xDA, 4, 0x20)(data)) is Damaged


class TestMpo:
    whole = mpo()

    def test_it_is_whole_only_with_its_last_picture(self) -> None:
        first_end = self.whole.index(b"\xff\xd9") + 2
        for length in (first_end, first_end + 1, len(self.whole) - 1):
            assert answer(read_jpeg, self.whole[:length]) is EndMissing
            preallocated = self.whole[:length].ljust(len(self.whole), b"\0")
            assert answer(read_jpeg, preallocated) is EndMissing

    def test_a_further_picture_needs_no_end_marker(self) -> None:
        pair = saved(noise(), "MPO", save_all=True, append_images=[noise(size=(60, 40))])
        assert answer(read_jpeg, pair[:-2] + b"..") == (67, 45)
        assert answer(read_jpeg, pair[:-1]) is EndMissing

    def test_what_its_further_pictures_are_like_does_not_matter(self) -> None:
        second = self.whole.index(b"\xff\xd8", 2)
        for other in (b"\xff\xd8\xff\xd9", b"noise"):
            data = self.whole[:second] + other + self.whole[second + len(other) :]
            assert answer(read_jpeg, data) == (67, 45)

    def test_an_editor_that_kept_the_index_but_not_the_pictures_is_forgiven(self) -> None:
        start, end = self.whole.index(b"\xff\xe2"), self.whole.index(b"\xff\xdb")
        index = self.whole[start:end]
        edited = behind_soi(saved(noise(size=(900, 600)), "JPEG", quality=95), index)
        assert decodes(edited)
        assert answer(read_jpeg, edited) == (900, 600)

    def test_an_index_without_further_pictures_is_no_promise(self) -> None:
        entry = (
            struct.pack("<HHLL", 0xB002, 7, 16, 26)
            + bytes(4)
            + struct.pack("<LLLHH", 0, 9, 0, 0, 0)
        )
        index = b"MPF\0II*\0" + struct.pack("<LH", 8, 1) + entry
        assert answer(read_jpeg, behind_soi(PLAIN, segment(0xE2, index))) == (67, 45)


@given(flipped(KINDS))
@PROPERTY
def test_changed_bytes_never_raise_and_agree_with_pillow(data: bytes) -> None:
    found = answer(read_jpeg, data) if data.startswith(b"\xff\xd8") else EndMissing
    if type(found) is tuple and decodes(data):
        assert found == size_by_pillow(data)
    if found is Damaged:
        assert not decodes(data)


@given(st.binary(max_size=400))
@PROPERTY
def test_rubbish_never_raises(rubbish: bytes) -> None:
    answer(read_jpeg, b"\xff\xd8\xff" + rubbish)
    answer(read_jpeg, PLAIN[:-2] + rubbish)


def test_a_hole_of_gigabytes_is_read_in_bounded_memory() -> None:
    size = (1 << 31) + 1
    with opened(PLAIN[:-2], size=size) as fd:
        tracemalloc.start()
        with pytest.raises(EndMissing):
            read_jpeg(Source(fd, size))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2 * MAX_READ


def test_a_scan_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_SCANNED", 1 << 20)
    assert answer(read_jpeg, PLAIN[:-2], size=1 << 22) is Damaged


def test_markers_without_end_are_given_up() -> None:
    assert answer(read_jpeg, behind_soi(PLAIN, segment(0xFE, b"") * MAX_MARKERS)) is Damaged
    assert answer(read_jpeg, behind_soi(PLAIN, segment(0xFE, b"") * 60_000)) == (67, 45)


def test_a_marker_on_the_border_of_two_chunks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in range(len(PLAIN) - 4, len(PLAIN) + 2):
        monkeypatch.setattr(jpeg, "CHUNK", chunk)
        assert answer(read_jpeg, PLAIN) == (67, 45)


def test_the_samples_are_what_they_are_named_for() -> None:
    assert find(KINDS["progressive"], 0xC2)
    assert b"\xff\xd3" in KINDS["restarts"]
    with Image.open(io.BytesIO(KINDS["MPO"])) as image:
        assert getattr(image, "n_frames", 1) == 3
