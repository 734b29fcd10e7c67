import io

import pytest
from PIL import Image

from tests.inspection.tiff_writing import Tags, Writer, grey_page, read
from watcher.inspection.source import EndMissing
from watcher.inspection.verdicts import Refusal


def named(make: str) -> Tags:
    return {271: (2, make.encode() + b"\0")}


THUMBNAIL: Tags = {254: (4, [1])}
FULL: Tags = {254: (4, [0])}
CFA: Tags = {262: (3, [32803])}


def raw(first: Tags, below: Tags | None = None, *, order: str = "<", mark: bytes = b"") -> bytes:
    """A thumbnail that Pillow shows, with its sensor data in a directory below it."""
    writer = Writer(order, mark=mark)
    page = grey_page(writer) | dict(first)
    if below is not None:
        page[330] = (4, [writer.directory(grey_page(writer, 16, 12) | dict(below))])
    return writer.chain(page)


def packed(number: int) -> Tags:
    return {259: (3, [number])}


FAMILIES: dict[str, tuple[str, bytes]] = {
    "DNG": ("(DNG)", raw({50706: (1, b"\x01\x04\0\0")}, {262: (3, [34892])})),
    "DNG, big-endian": ("(DNG)", raw({50706: (1, b"\x01\x04\0\0")}, order=">")),
    "NEF": ("Nikon", raw(THUMBNAIL | named("NIKON CORPORATION"), CFA | packed(34713))),
    "NEF, packed alone": ("Nikon", raw(named("NIKON CORPORATION"), packed(34713))),
    "NEF of Nikon Scan": ("Nikon", raw(THUMBNAIL | named("Nikon"), FULL)),
    "CR2": ("Canon", raw(named("Canon"), mark=b"CR\x02\0\xd9\0\0\0")),
    "EOS-1D": ("Canon", raw(named("Canon"), mark=b"\xba\xb0\xac\xbb\0\0\0\0", order=">")),
    "EOS D2000": ("Canon", raw(named("Canon"), CFA)),
    "ARW": ("Sony", raw(THUMBNAIL | named("SONY"), CFA | packed(32767))),
    "ARW, lossless": ("Sony", raw(THUMBNAIL | named("SONY"), CFA | packed(7))),
    "SRF": ("Sony", raw(named("SONY") | {50740: (1, b"\0\0\x01\0")})),
    "PEF": ("Pentax", raw(named("PENTAX             ") | CFA | packed(65535))),
    "PEF of Ricoh": ("Pentax", raw(named("RICOH IMAGING COMPANY, LTD.  ") | packed(65535))),
    "SRW": ("Samsung", raw(THUMBNAIL | named("SAMSUNG"), CFA | packed(32770))),
    "3FR": ("Hasselblad", raw(THUMBNAIL | named("Hasselblad"), CFA)),
    "IIQ": ("Phase One", raw(named("Phase One A/S"), mark=b"IIIItwaR")),
    "IIQ of Leaf": ("Phase One", raw(named("Leaf"), mark=b"IIIICwaR")),
    "IIQ, big-endian": ("Phase One", raw({}, mark=b"MMMMRawT", order=">")),
    "ERF": ("Epson", raw(THUMBNAIL | named("SEIKO EPSON CORP."), CFA | packed(32769))),
    "KDC": ("Kodak", raw(named("EASTMAN KODAK COMPANY") | {65024: (4, [8])})),
    "DCR": ("Kodak", raw(THUMBNAIL | named("Kodak"), packed(65000))),
    "MEF": ("Mamiya", raw(named("Mamiya-OP Co.,Ltd."), CFA)),
    "MOS": ("Leaf", raw(named("Leaf") | {34310: (1, bytes(40))})),
    "nameless TIFF/EP": ("a camera's RAW file", raw(CFA)),
    "nameless NEF": ("Nikon", raw({}, packed(34713))),
    "of a maker in three letters": ("a camera's RAW file", raw(named("ABC"), CFA)),
    "of an unknown maker": ("a camera's RAW file", raw(named("<b>%s</b>"), CFA)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_raw_files_are_refused_by_name(family: str) -> None:
    name, data = FAMILIES[family]
    found = read(data)
    assert isinstance(found, Refusal)
    assert found.code == "raw"
    assert name in found.found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_raw_file_that_still_arrives_is_never_taken(family: str) -> None:
    _, data = FAMILIES[family]
    for end in range(8, len(data)):
        try:
            assert isinstance(read(data[:end]), Refusal)
        except EndMissing:
            continue


def test_the_signs_count_in_any_directory_of_the_chain() -> None:
    writer = Writer()
    assert read(writer.chain(grey_page(writer), grey_page(writer) | CFA)) == Refusal(
        "raw", "a camera's RAW file"
    )


def test_a_raw_file_is_told_although_its_pixels_are_missing() -> None:
    found = read(raw(named("SONY"), CFA | {273: (4, [1 << 30])}))
    assert found == Refusal("raw", "a Sony RAW file (ARW)")


def test_a_raw_file_is_told_although_its_first_directory_holds_no_picture() -> None:
    writer = Writer()
    below = writer.directory(grey_page(writer) | CFA)
    found = read(writer.chain({**named("SONY"), 330: (4, [below])}))
    assert found == Refusal("raw", "a Sony RAW file (ARW)")


@pytest.mark.parametrize(
    "make",
    ["NIKON CORPORATION", "Canon", "SONY", "Phase One", "Hasselblad", "EPSON", "LEICA", "SAMSUNG"],
)
class TestWhatIsNoRaw:
    def test_a_developed_picture_with_previews_below(self, make: str) -> None:
        assert read(raw(FULL | named(make), THUMBNAIL)) == (8, 6)

    def test_a_picture_with_exif_and_profile_as_editors_save_it(self, make: str) -> None:
        exif = Image.Exif()
        exif[271] = make
        exif[305] = "Capture NX-D 1.6.5 W"
        exif.get_ifd(0x8769)[37500] = b"Nikon\0" + bytes(300)
        file = io.BytesIO()
        Image.new("RGB", (30, 20)).save(file, "TIFF", exif=exif, icc_profile=bytes(400))
        assert read(file.getvalue()) == (30, 20)


@pytest.mark.parametrize("pixels", [b"IIIIIIII", b"CRCRCRCR", b"MMMMMMMM", b"CR\x02\x01CR\x02\x01"])
def test_pixels_that_look_like_a_mark_are_none(pixels: bytes) -> None:
    assert read(raw({}, mark=pixels)) == (8, 6)
