import contextlib
import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import watcher.inspection
from tests.inspection.tiff_writing import Tags, Writer, grey_page, read
from watcher.inspection import Incomplete, Verdict, inspect, tiff
from watcher.inspection.source import Damaged, EndMissing, Source
from watcher.inspection.tiff import read_tiff
from watcher.inspection.verdicts import Refusal

PROPERTY = settings(max_examples=150, deadline=None)


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


def noise(mode: str, size: tuple[int, int] = (67, 45)) -> Image.Image:
    rgb = Image.effect_noise(size, 90).convert("RGB")
    return rgb.convert("L").convert(mode) if mode in {"I", "F", "I;16"} else rgb.convert(mode)


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0110] = "A camera with a name that does not fit into its entry"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:01 00:00:00"
    exif.get_ifd(0x8825)[29] = "2024:01:01"
    return saved(noise("RGB"), exif=exif, icc_profile=bytes(500))


def many_pages(**options: object) -> bytes:
    pages = [noise("RGB", (30 + n, 20)) for n in range(5)]
    return saved(pages[0], save_all=True, append_images=pages[1:], **options)


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")
PACKED = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd")

WHOLE: dict[str, bytes] = {
    **{f"mode {mode}": saved(noise(mode)) for mode in MODES},
    **{f"packed {name}": saved(noise("RGB"), compression=name) for name in PACKED},
    **{f"fax {n}": saved(noise("1"), compression=f"group{n}") for n in (3, 4)},
    "many strips": saved(noise("RGB", (50, 333)), strip_size=150),
    "many packed strips": saved(
        noise("RGB", (50, 333)), compression="tiff_lzw", strip_size=450, tiffinfo={278: 3}
    ),
    "big": saved(noise("RGB"), big_tiff=True),
    "big and packed": saved(noise("RGB"), big_tiff=True, compression="tiff_lzw"),
    "pages": many_pages(),
    "packed pages": many_pages(compression="tiff_lzw"),
    "big pages": many_pages(big_tiff=True),
    "exif": with_exif(),
    "one pixel": saved(noise("L", (1, 1))),
}


def tiled(*, big: bool = False, order: str = "<") -> bytes:
    writer = Writer(order, big=big)
    at = [writer.block(bytes([n + 1]) * 256) for n in range(6)]
    tags: Tags = {
        256: (3, [40]),
        257: (3, [20]),
        258: (3, [8]),
        259: (3, [1]),
        262: (3, [1]),
        322: (3, [16]),
        323: (3, [16]),
        324: (16 if big else 4, at),
        325: (3, [256] * 6),
    }
    return writer.chain(tags)


def planar() -> bytes:
    writer = Writer(">")
    at = [writer.block(bytes([n + 1]) * size) for n in range(3) for size in (80, 40)]
    page = grey_page(writer, 8, 15, t258=(3, [8, 8, 8]), t262=(3, [2]), t277=(3, [3]))
    page |= {273: (4, at), 278: (3, [10]), 279: (3, [80, 40] * 3), 284: (3, [2])}
    return writer.chain(page)


def with_preview_below(kind: int = 4) -> bytes:
    writer = Writer()
    below = [writer.directory(grey_page(writer, 4, 2, t254=(4, [1]))) for _ in range(2)]
    return writer.chain(grey_page(writer, t330=(kind, below), t271=(2, b"NIKON CORPORATION\0")))


OWN: dict[str, bytes] = {
    "tiles": tiled(),
    "tiles, big": tiled(big=True),
    "tiles, big-endian": tiled(order=">"),
    "planes": planar(),
    "previews below": with_preview_below(),
    "previews below as IFD": with_preview_below(13),
    "pages, big-endian": (w := Writer(">")).chain(*(grey_page(w, 8 + n) for n in range(3))),
}

ALL = WHOLE | OWN


@pytest.mark.parametrize("name", ALL)
def test_a_whole_image_has_the_size_that_pillow_finds(name: str) -> None:
    with Image.open(io.BytesIO(ALL[name])) as image:
        image.load()
        assert read(ALL[name]) == image.size


@pytest.mark.parametrize("name", ALL)
def test_a_cut_image_is_never_whole(name: str) -> None:
    data = ALL[name]
    last = len(data) - (17 if "pages" in name and name in WHOLE else 1)  # Pillow pads the last page
    for end in {*range(8, last, max(1, last // 60)), last}:
        with pytest.raises(EndMissing):
            read(data[:end])


@pytest.mark.parametrize("name", ALL)
def test_what_follows_the_end_changes_nothing(name: str) -> None:
    for tail in (b"\0", b"II*\0" * 100, os.urandom(5000)):
        assert read(ALL[name] + tail) == read(ALL[name])


@PROPERTY
@given(data=st.data())
def test_flipped_bytes_raise_nothing_else(data: st.DataObject) -> None:
    image = bytearray(ALL[data.draw(st.sampled_from(sorted(ALL)))])
    for _ in range(data.draw(st.integers(1, 6))):
        near_the_structure = st.one_of(
            st.integers(0, 300), st.integers(len(image) - 300, len(image) - 1)
        )
        image[data.draw(near_the_structure) % len(image)] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EndMissing, Damaged):
        found = read(bytes(image))
        assert isinstance(found, Refusal) or min(found) > 0


@PROPERTY
@given(
    head=st.sampled_from([b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"]),
    body=st.binary(max_size=600),
)
def test_rubbish_raises_nothing_else(head: bytes, body: bytes) -> None:
    with contextlib.suppress(EndMissing, Damaged):
        read(head + body)


@pytest.mark.parametrize("side", [10_000, 10_001])
def test_large_sides_are_told(side: int) -> None:
    image = Image.new("1", (side, side))
    assert read(saved(image, compression="group4")) == (side, side)


@pytest.mark.parametrize("compression", [1, 5])
@pytest.mark.parametrize("last", [39_998, 19_999])
def test_more_strips_than_are_held_at_a_time(compression: int, last: int) -> None:
    """Two planes of 20,000 strips of two rows, the last of each of one; one strip lies last."""
    offsets = [400_000] * 40_000
    offsets[last] = 500_000
    end = 500_000 + (1 if last == 19_999 else 2) * 7
    page: Tags = {
        256: (4, [7]),
        257: (4, [39_999]),
        258: (3, [8, 8]),
        259: (3, [compression]),
        273: (4, offsets),
        277: (3, [2]),
        278: (4, [2]),
        279: (3, [14] * 19_999 + [7] + [14] * 19_999 + [7]),
        284: (3, [2]),
    }
    whole = Writer().chain(page).ljust(500_000, b"\0")[:500_000] + b"\x80" * (end - 500_000)
    assert read(whole) == (7, 39_999)
    with pytest.raises(EndMissing):
        read(whole[:-1])


def test_a_big_endian_big_tiff_is_read_though_pillow_cannot() -> None:
    data = tiled(big=True, order=">")
    assert read(data) == (40, 20)
    with pytest.raises(EndMissing):
        read(data[:-1])


def test_width_and_height_are_those_in_the_file_whatever_its_orientation() -> None:
    assert read(saved(noise("L", (20, 10)), tiffinfo={274: 6})) == (20, 10)


def written_first(page: Tags, *, pixels_end: int) -> bytes:
    """A file whose directory comes first and whose pixels reach up to `pixels_end`."""
    return Writer().chain(page).ljust(pixels_end, b"\x80")


class TestOddButReadable:
    def test_a_chain_that_leads_back_ends_there(self) -> None:
        writer = Writer()
        data = bytearray(writer.chain(grey_page(writer), grey_page(writer, 9)))
        data[-4:] = data[4:8]
        assert read(bytes(data)) == (8, 6)

    @pytest.mark.parametrize("missing", [258, 262, 277, 278, 279])
    def test_a_value_with_a_default_may_be_missing(self, missing: int) -> None:
        writer = Writer()
        page = grey_page(writer)
        del page[missing]
        assert read(writer.chain(page)) == (8, 6)

    def test_a_wrong_size_of_an_uncompressed_strip_is_passed_over(self) -> None:
        writer = Writer()
        assert read(writer.chain(grey_page(writer, t279=(4, [99_999])))) == (8, 6)

    def test_a_packed_only_strip_of_unknown_size_is_taken_as_it_is(self) -> None:
        writer = Writer()
        assert read(writer.chain(grey_page(writer, t259=(3, [5]), t279=(4, [0])))) == (8, 6)

    def test_the_last_strip_is_as_long_as_its_rows(self) -> None:
        page = grey_page(Writer(), 8, 10, t278=(4, [4]), t273=(4, [200, 232, 264]))
        assert read(written_first(page, pixels_end=264 + 16)) == (8, 10)
        with pytest.raises(EndMissing):
            read(written_first(page, pixels_end=264 + 15))

    def test_subsampled_colour_needs_half(self) -> None:
        page = grey_page(Writer(), t258=(3, [8]), t262=(3, [6]), t277=(3, [3]), t273=(4, [200]))
        assert read(written_first(page, pixels_end=200 + 8 * 6 * 3 // 2)) == (8, 6)
        with pytest.raises(EndMissing):
            read(written_first(page, pixels_end=200 + 8 * 6 * 3 // 2 - 1))

    def test_a_subsampling_by_nothing_is_passed_over(self) -> None:
        writer = Writer()
        page = grey_page(writer, 4, 2, t262=(3, [6]), t277=(3, [3]), t530=(3, [0, 0]))
        assert read(writer.chain(page) + bytes(100)) == (4, 2)

    def test_an_unknown_type_of_value_is_passed_over(self) -> None:
        writer = Writer()
        assert read(writer.chain(grey_page(writer, t65001=(99, [1, 2, 3])))) == (8, 6)

    def test_a_later_page_may_be_no_page(self) -> None:
        writer = Writer()
        assert read(writer.chain(grey_page(writer), {270: (2, b"abc\0")})) == (8, 6)

    def test_what_follows_may_be_no_directory(self) -> None:
        writer = Writer()
        none = writer.block(b"\xff" * 10)
        writer.data[4:8] = struct.pack("<I", writer.directory(grey_page(writer), following=none))
        assert read(bytes(writer.data)) == (8, 6)

    def test_an_old_jpeg_needs_no_strips(self) -> None:
        writer = Writer()
        page = grey_page(writer, t259=(3, [6]), t514=(4, [40]))
        page[513] = page.pop(273)
        assert read(writer.chain(page)) == (8, 6)


class TestDamaged:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({256: (4, [0])}, "0 x 6"),
            ({256: (4, [])}, "how wide"),
            ({257: (4, [6, 6])}, "how wide"),
            ({257: (11, [6])}, "how wide"),
            ({278: (4, [0])}, "no height"),
            ({278: (4, [2])}, "1 of its 3"),
            ({273: (4, [])}, "no pixels"),
            ({259: (3, [34712])}, "number 34712"),
            ({322: (3, [16])}, "no size"),
            ({278: (4, [3]), 273: (4, [8, 9]), 279: (4, [5]), 259: (3, [5])}, "how long"),
        ],
    )
    def test_a_first_page_that_none_can_show(self, change: Tags, text: str) -> None:
        writer = Writer()
        with pytest.raises(Damaged, match=text):
            read(writer.chain(grey_page(writer) | dict(change)))

    def test_a_directory_that_is_none(self) -> None:
        for count in (0, 5000):
            with pytest.raises(Damaged, match="is none"):
                read(b"II*\0\x08\0\0\0" + struct.pack("<H", count) + bytes(70_000))

    def test_a_big_header_with_small_offsets(self) -> None:
        with pytest.raises(Damaged, match="header"):
            read(b"II+\0\x04\0\0\0" + bytes(100))

    @pytest.mark.parametrize("limit", ["MAX_ENTRIES_IN_ALL", "MAX_PARTS"])
    def test_more_than_can_be_looked_at(self, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
        monkeypatch.setattr(tiff, limit, 0)
        with pytest.raises(Damaged, match="more pages or parts"):
            read(ALL["mode L"])


class TestNotWrittenYet:
    def test_no_directory(self) -> None:
        with pytest.raises(EndMissing, match="directory has not been written"):
            read(b"II*\0" + bytes(100))

    @pytest.mark.parametrize("change", [{273: (4, [8, 0])}, {279: (4, [9, 0])}])
    def test_no_strip(self, change: Tags) -> None:
        writer = Writer()
        page = grey_page(writer, t259=(3, [5]), t278=(4, [3]), t273=(4, [8, 9]), t279=(4, [5, 5]))
        with pytest.raises(EndMissing, match="strips or tiles have not been written"):
            read(writer.chain(page | dict(change)))


def test_inspection_gives_the_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"

    def verdict(data: bytes) -> Verdict:
        path.write_bytes(data)
        with path.open("rb") as file:
            return inspect(Source(file.fileno(), len(data)))

    whole = ALL["mode RGB"]
    assert verdict(whole) == watcher.inspection.Image("tiff", 67, 45)
    cut = verdict(whole[:-1])
    assert isinstance(cut, Incomplete)
    large = saved(Image.new("1", (10_001, 3)), compression="group4")
    assert verdict(large) == Refusal("too_large", "10001 x 3 pixels")
    writer = Writer()
    none = verdict(writer.chain(grey_page(writer, 0)))
    assert isinstance(none, Refusal)
    assert none.code == "damaged"


@pytest.mark.parametrize("tag", [330, 34665, 34853])
def test_directories_below_a_page_must_be_there(tag: int) -> None:
    writer = Writer()
    with pytest.raises(EndMissing):
        read(writer.chain(grey_page(writer) | {tag: (4, [5000])}))


def test_a_thumbnail_without_a_size_must_be_there_too() -> None:
    writer = Writer()
    thumbnail: Tags = {259: (3, [6]), 513: (4, [1000]), 514: (4, [200])}
    data = writer.chain(grey_page(writer), thumbnail)
    assert read(data.ljust(1200, b"\0")) == (8, 6)
    with pytest.raises(EndMissing):
        read(data.ljust(1199, b"\0"))


def test_strips_that_a_flat_picture_does_not_need_must_be_there_too() -> None:
    page = grey_page(Writer(), t273=(4, [200, 300]))
    assert read(written_first(page, pixels_end=348)) == (8, 6)
    with pytest.raises(EndMissing):
        read(written_first(page, pixels_end=347))


class TestBounds:
    """What a hostile file may cost; each of them would keep a careless reader for minutes."""

    def test_a_chain_of_200_000_directories(self) -> None:
        links = [struct.pack("<HHHIII", 1, 256, 4, 1, 1, 26 + 18 * n) for n in range(200_000)]
        with pytest.raises(Damaged, match="more pages"):
            read(b"II*\0\x08\0\0\0" + b"".join(links))

    def test_a_directory_that_leads_to_too_many_others(self) -> None:
        writer = Writer()
        many = writer.block(struct.pack("<70000I", *range(9, 70_009)))
        entry = struct.pack("<HHII", 330, 4, 70_000, many)
        writer.data[4:8] = struct.pack("<I", writer.block(b"\x01\0" + entry + bytes(4)))
        with pytest.raises(Damaged, match="more pages"):
            read(bytes(writer.data))

    def test_directories_that_each_lead_to_all_others(self) -> None:
        writer = Writer()
        size, many = 18, 20_000
        start = len(writer.data) + 4 * many
        offsets = writer.block(struct.pack(f"<{many}I", *range(start, start + many * size, size)))
        one = struct.pack("<HHHIII", 1, 330, 4, many, offsets, 0)
        writer.data[4:8] = struct.pack("<I", start)
        with pytest.raises(Damaged, match="more pages"):
            read(bytes(writer.data) + one * many)

    def test_a_large_exif_table_below_each_of_many_directories(self) -> None:
        writer = Writer()
        table = writer.block(struct.pack("<H", 4096) + 4096 * struct.pack("<HHII", 270, 2, 5, 8))
        one = struct.pack("<HHHIII", 1, 34665, 4, 1, table, 0)
        below = [writer.block(one) for _ in range(3000)]
        with pytest.raises(Damaged, match="more pages"):
            read(writer.chain(grey_page(writer, t330=(4, below))))

    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("compression", [1, 5])
    def test_three_gigabytes_of_nothing_behind_huge_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int, *, big: bool
    ) -> None:
        asked: list[int] = []
        plain = Source.read_some

        def counted(source: Source, offset: int, length: int) -> bytes:
            asked.append(length)
            return plain(source, offset, length)

        monkeypatch.setattr(Source, "read_some", counted)
        values = {256: (1, 60_000), 257: (1, 60_000), 259: (1, compression), 278: (1, 1)}
        values |= dict.fromkeys((270, 273, 279, 330), (600_000_000, 100))
        entry = "<HHQQ" if big else "<HHII"
        head = b"II+\0\x08\0\0\0\x10" + bytes(7) if big else b"II*\0\x08\0\0\0"
        head += len(values).to_bytes(8 if big else 2, "little")
        head += b"".join(struct.pack(entry, tag, 4, *value) for tag, value in values.items())
        path = tmp_path / "huge.tif"
        path.write_bytes(head)
        os.truncate(path, 3 << 30)
        with path.open("rb") as file, pytest.raises((Damaged, EndMissing)):
            read_tiff(Source(file.fileno(), 3 << 30))
        assert max(asked) <= 1 << 20
        assert sum(asked) < 64 << 20
