import gzip
import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inspection.samples import PROPERTY, noise, saved
from watcher.inspection.foreign import refusal_of
from watcher.inspection.verdicts import Refusal


def ftyp(brand: bytes, *compatible: bytes) -> bytes:
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">L", len(content) + 4) + content + b"\0\0\0\x08mdat"


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return file.getvalue()


RAW = {
    "a Fujifilm RAW file (RAF)": b"FUJIFILMCCD-RAW 0201FF393103",
    "a Panasonic or Leica RAW file (RW2)": b"IIU\0\x18\0\0\0",
    "an Olympus RAW file (ORF)": b"IIRO\x08\0\0\0",
    "a Canon RAW file (CRW)": b"II\x1a\0\0\0HEAPCCDR",
    "a Canon RAW file (CR3)": ftyp(b"crx ", b"crx ", b"isom"),
    "a Sigma RAW file (X3F)": b"FOVb\3\0\2\0",
    "a Minolta RAW file (MRW)": b"\0MRM\0\0\n\x0c",
}

OTHERS = {
    "a HEIC photo (Apple's format)": ftyp(b"heic", b"mif1", b"heic"),
    "a HEIF photo": ftyp(b"mif1", b"mif1"),
    "a JPEG XL image": b"\0\0\0\x0cJXL \r\n\x87\n",
    "a Photoshop document (PSD)": b"8BPS\0\1" + bytes(20),
    "a large Photoshop document (PSB)": b"8BPS\0\2" + bytes(20),
    "an OpenEXR image": b"v/1\1\2\0\0\0channels",
    "a Radiance HDR image": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n",
    "a FLIF image": b"FLIF31",
    "a DICOM image": bytes(128) + b"DICM",
    "a GIMP document (XCF)": b"gimp xcf v011",
    "a Macintosh picture (PICT)": bytes(522) + b"\0\x11\2\xff\x0c\0",
    "a PostScript document (EPS)": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "a video (MP4)": ftyp(b"abcd", b"isom"),
    "a QuickTime video (MOV)": ftyp(b"qt  "),
    "a Matroska or WebM video": b"\x1a\x45\xdf\xa3\x01\0\0\0",
    "an AVI video": b"RIFF\0\1\0\0AVI LIST",
    "a WAV sound": b"RIFF\0\1\0\0WAVEfmt ",
    "a RIFF file, but no WebP": b"RIFF\0\1\0\0CDXAfmt ",
    "an Amiga image (IFF)": b"FORM\0\0\1\0ILBMBMHD",
    "an AIFF sound": b"FORM\0\0\1\0AIFFCOMM",
    "a RAR archive": b"Rar!\x1a\x07\x01\0",
    "a 7-Zip archive": b"7z\xbc\xaf\x27\x1c\0\4",
    "a gzip archive": gzip.compress(b"picture"),
    "a ZIP archive or an office document": zipped(),
    "an SVG drawing": b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg">',
}

NO_IMAGES = {
    "a web page (HTML)": b"\n<!DOCTYPE html>\n<html><title>404</title>",
    "an XML file": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "an XMP sidecar of another program": b'<?xpacket begin=""?><x:xmpmeta>',
    "a JSON file": b'{"error": "not found"}',
    "a text file": "Grüße aus München\n".encode(),
    "a macOS resource fork": b"\0\x05\x16\x07\0\2\0\0Mac OS X",
    "a program": b"\x7fELF\2\1\1",
    "a file of an unknown kind": bytes(range(0x80, 0x100)),
}


def check(head: bytes, code: str, found: str) -> None:
    refusal = refusal_of(head)
    assert (refusal.code, refusal.found) == (code, found)


@pytest.mark.parametrize(("found", "head"), RAW.items(), ids=RAW.keys())
def test_raw_files_are_named(found: str, head: bytes) -> None:
    check(head, "raw", found)


@pytest.mark.parametrize(("found", "head"), OTHERS.items(), ids=OTHERS.keys())
def test_other_formats_are_named(found: str, head: bytes) -> None:
    check(head, "other_format", found)


@pytest.mark.parametrize(("found", "head"), NO_IMAGES.items(), ids=NO_IMAGES.keys())
def test_what_is_no_image_is_said_so(found: str, head: bytes) -> None:
    check(head, "not_an_image", found)


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("AVIF", "an AVIF image"),
        ("BMP", "a Windows bitmap (BMP)"),
        ("DDS", "a DirectDraw texture (DDS)"),
        ("GIF", "a GIF image"),
        ("ICNS", "a macOS icon (ICNS)"),
        ("ICO", "a Windows icon (ICO)"),
        ("JPEG2000", "a JPEG 2000 image"),
        ("PCX", "a PCX image"),
        ("PDF", "a PDF document"),
        ("PPM", "a Netpbm image (PBM, PGM, PPM)"),
        ("QOI", "a QOI image"),
        ("SGI", "a Silicon Graphics image (SGI)"),
        ("TGA", "a Targa image (TGA)"),
    ],
)
def test_what_pillow_writes_is_named(form: str, found: str) -> None:
    check(saved(noise(size=(64, 64)), form), "other_format", found)


def test_targa_images_of_all_kinds_are_named() -> None:
    for mode in ("L", "LA", "P", "RGB", "RGBA"):
        for options in ({}, {"compression": "tga_rle"}):
            data = saved(noise(size=(64, 64)).convert(mode), "TGA", **options)
            check(data, "other_format", "a Targa image (TGA)")


def test_a_heif_file_is_named_by_its_most_telling_brand() -> None:
    check(ftyp(b"mif1", b"miaf", b"heic"), "other_format", "a HEIC photo (Apple's format)")
    check(ftyp(b"mif1", b"avif", b"miaf"), "other_format", "an AVIF image")
    check(b"\0\0\0\x08ftyp", "other_format", "a video (MP4)")


def test_old_quicktime_files_are_named() -> None:
    check(b"\0\0\1\0moov\0\0\0\x6cmvhd", "other_format", "a QuickTime video (MOV)")


def test_text_in_any_usual_encoding_is_text() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        check(
            "Bitte die Bilder von gestern löschen.\n".encode(encoding),
            "not_an_image",
            "a text file",
        )


def test_a_text_that_begins_like_a_bitmap_is_text() -> None:
    check(b"BMW i3, studio 2, Tuesday\n", "not_an_image", "a text file")


def test_ours_with_a_damaged_beginning_are_damaged() -> None:
    check(b"\xff\xd8\0\0JFIF", "damaged", "a JPEG whose beginning is damaged")
    check(b"\x89PNG\n\x1a\n\0", "damaged", "a PNG whose beginning is damaged")


def test_every_phrase_is_one_for_people() -> None:
    heads = [*RAW.values(), *OTHERS.values(), *NO_IMAGES.values()]
    for refusal in map(refusal_of, heads):
        assert refusal.found.startswith(("a ", "an "))
        assert len(refusal.found) < 60
        assert refusal.found.isprintable()


@given(st.binary(max_size=600) | st.text(max_size=200).map(str.encode))
@PROPERTY
def test_rubbish_is_refused_without_an_exception(head: bytes) -> None:
    assert isinstance(refusal_of(head), Refusal)


def test_a_long_beginning_is_answered_at_once() -> None:
    for head in (b"<" * 4096, b"<!--" * 1024, b"<?xml " * 682, b"\0\x02\0" * 1365, b" " * 4096):
        assert refusal_of(head).code in {"other_format", "not_an_image"}
