"""What a file is when it is none of the four formats, by the bytes it begins with.

The name that a photographer reads in a note decides whether they know what to do: "a HEIC photo
(Apple's format)" beside a JPEG's name explains itself, "not an image" does not. What a format
begins with is from its specification; for camera RAW files, from what LibRaw and ExifTool look for.
RAW files that begin as a TIFF does are told by the TIFF reader.
"""

import re
from collections.abc import Mapping
from typing import Final

from watcher.inspection.verdicts import Refusal, RefusalCode


def refusal_of(head: bytes) -> Refusal:
    """Why a file that begins with `head` (some 4 KiB) is not taken. Never raises."""
    return (
        _by_frame(head)
        or _by_signature(head)
        or _by_text(head)
        or Refusal("not_an_image", "a file of an unknown kind")
    )


def _by_frame(head: bytes) -> Refusal | None:
    """Formats that share their beginning with others, or have none that is theirs alone."""
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head[4:8] in _OLD_QUICKTIME:
        return Refusal("other_format", _MOV)
    if head[:4] == b"RIFF":
        return Refusal("other_format", _RIFF.get(head[8:12], "a RIFF file, but no WebP"))
    if head[:4] == b"FORM":
        found = "an AIFF sound" if head[8:12] in {b"AIFF", b"AIFC"} else "an Amiga image (IFF)"
        return Refusal("other_format", found)
    if head[:2] == b"BM" and not any(head[6:10]):  # reserved, so that no text is taken for one
        return Refusal("other_format", "a Windows bitmap (BMP)")
    if _TARGA.match(head):
        return Refusal("other_format", "a Targa image (TGA)")
    return None


def _by_signature(head: bytes) -> Refusal | None:
    for code, found, offset, signatures in _SIGNATURES:
        if head.startswith(signatures, offset):
            return Refusal(code, found)
    return None


def _by_brand(head: bytes) -> Refusal:
    """An ISO base media file (ISO/IEC 14496-12), by its major brand, else by a compatible one."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]
    if brands[0] in _ANY_HEIF:  # which one, only the others say
        brands = [*brands[1:], brands[0]]
    for brand in brands:
        if known := _BRANDS.get(brand):
            return Refusal(*known)
    return Refusal("other_format", _MP4)


def _by_text(head: bytes) -> Refusal | None:
    """Markup and plain text: pages saved under a picture's name, error messages, notes."""
    text = _decoded(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    for found, pattern in _MARKUP:
        if pattern.match(start):
            return Refusal("other_format" if pattern is _SVG else "not_an_image", found)
    return Refusal("not_an_image", "a text file")


def _decoded(head: bytes) -> str | None:
    """The text that `head` begins, or None if it is no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[: len(head) // 2 * 2].decode("utf-16", "replace")
    else:
        # A character may be cut where `head` ends; older encodings have their own letters.
        text = head.decode("utf-8", "ignore")
        if len(text) < 0.8 * len(head):
            return None
    return None if _NO_TEXT.search(text) else text


_MP4: Final = "a video (MP4)"
_MOV: Final = "a QuickTime video (MOV)"
_HEIC: Final = "a HEIC photo (Apple's format)"
_HEIF: Final = "a HEIF photo"
_CRW: Final = "a Canon RAW file (CRW)"
_ZIP: Final = "a ZIP archive or an office document"
_NETPBM: Final = "a Netpbm image (PBM, PGM, PPM)"

_SIGNATURES: Final[tuple[tuple[RefusalCode, str, int, bytes | tuple[bytes, ...]], ...]] = (
    # code, what it is, offset, what stands there; the more specific before the more general.
    # Camera RAW files with a beginning of their own
    ("raw", "a Fujifilm RAW file (RAF)", 0, b"FUJIFILMCCD-RAW"),
    ("raw", "a Panasonic or Leica RAW file (RW2)", 0, b"IIU\0"),
    ("raw", "an Olympus RAW file (ORF)", 0, (b"IIRO", b"IIRS", b"MMOR")),
    ("raw", _CRW, 6, b"HEAPCCDR"),
    ("raw", "a Sigma RAW file (X3F)", 0, b"FOVb"),
    ("raw", "a Minolta RAW file (MRW)", 0, (b"\0MRM", b"\0MRI")),
    ("raw", "a Phase One or Leaf RAW file", 0, (b"IIII", b"MMMM")),
    ("raw", "a Kodak RAW file", 0, (b"DSC-Image", b"EASTMAN KODAK COMPANY")),
    ("raw", "a Nokia RAW file", 0, b"NOKIARAW"),
    ("raw", "an ARRI RAW file (ARI)", 0, b"ARRI\x12\x34\x56\x78"),
    ("raw", "a RED RAW video (R3D)", 4, (b"RED1", b"RED2")),
    # Other images
    ("other_format", "a JPEG 2000 image", 0, b"\0\0\0\x0cjP"),
    ("other_format", "a JPEG 2000 image", 0, b"\xff\x4f\xff\x51"),
    ("other_format", "a JPEG XL image", 0, b"\0\0\0\x0cJXL "),
    ("other_format", "a JPEG XL image", 0, b"\xff\x0a"),
    ("other_format", "a JPEG XR image", 0, (b"II\xbc\0", b"II\xbc\x01")),
    ("other_format", "a large Photoshop document (PSB)", 0, b"8BPS\0\x02"),
    ("other_format", "a Photoshop document (PSD)", 0, b"8BPS"),
    ("other_format", "a GIF image", 0, (b"GIF87a", b"GIF89a")),
    ("other_format", "a Windows icon (ICO)", 0, b"\0\0\x01\0"),
    ("other_format", "a Windows cursor (CUR)", 0, b"\0\0\x02\0"),
    ("other_format", "a macOS icon (ICNS)", 0, b"icns"),
    ("other_format", "an MNG animation", 0, b"\x8aMNG"),
    ("other_format", "a JNG image", 0, b"\x8bJNG"),
    ("other_format", "an OpenEXR image", 0, b"\x76\x2f\x31\x01"),
    ("other_format", "a Radiance HDR image", 0, (b"#?RADIANCE", b"#?RGBE")),
    ("other_format", "a DirectDraw texture (DDS)", 0, b"DDS "),
    ("other_format", "a Khronos texture (KTX)", 0, b"\xabKTX"),
    ("other_format", "a QOI image", 0, b"qoif"),
    ("other_format", "a FLIF image", 0, b"FLIF"),
    ("other_format", "a BPG image", 0, b"BPG\xfb"),
    ("other_format", "a Farbfeld image", 0, b"farbfeld"),
    ("other_format", "a DPX film image", 0, (b"SDPX", b"XPDS")),
    ("other_format", "a Cineon film image", 0, b"\x80\x2a\x5f\xd7"),
    ("other_format", "a FITS image", 0, b"SIMPLE  ="),
    ("other_format", "a DICOM image", 128, b"DICM"),
    ("other_format", "a Silicon Graphics image (SGI)", 0, b"\x01\xda"),
    ("other_format", "a Sun raster image", 0, b"\x59\xa6\x6a\x95"),
    ("other_format", "a PCX image", 0, (b"\x0a\x05\x01", b"\x0a\x03\x01", b"\x0a\x02\x01")),
    ("other_format", "an XPM image", 0, b"/* XPM"),
    ("other_format", "a Portable Float Map (PFM)", 0, (b"PF\n", b"Pf\n")),
    (
        "other_format",
        _NETPBM,
        0,
        tuple(b"P%d%c" % (n, c) for n in range(1, 8) for c in b"\n\r\t #"),
    ),
    ("other_format", "a DjVu document", 0, b"AT&TFORM"),
    (
        "other_format",
        "a Windows metafile (WMF or EMF)",
        0,
        (b"\xd7\xcd\xc6\x9a", b"\1\0\x09\0\0\3"),
    ),
    ("other_format", "a Windows metafile (WMF or EMF)", 40, b" EMF\0\0\1\0"),
    ("other_format", "a Macintosh picture (PICT)", 522, (b"\0\x11\2\xff", b"\x11\1")),
    ("other_format", "a Paint Shop Pro image", 0, b"Paint Shop Pro Image File"),
    ("other_format", "a GIMP document (XCF)", 0, b"gimp xcf"),
    ("other_format", "an Affinity document", 0, b"\0\xffKA"),
    ("other_format", "an InDesign document", 0, b"\x06\x06\xed\xf5\xd8\x1d\x46\xe5"),
    ("other_format", "a Capture One catalogue or another database", 0, b"SQLite format 3\0"),
    # Documents, sound, video, archives, programs
    ("other_format", "a PDF document", 0, b"%PDF-"),
    ("other_format", "a PostScript document (EPS)", 0, (b"%!", b"\xc5\xd0\xd3\xc6", b"\x04%!")),
    ("other_format", "a Matroska or WebM video", 0, b"\x1a\x45\xdf\xa3"),
    ("other_format", "an MPEG video", 0, (b"\0\0\1\xba", b"\0\0\1\xb3")),
    ("other_format", "a Windows Media file", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("other_format", "a Flash file", 0, (b"FLV\1", b"FWS", b"CWS", b"ZWS")),
    ("other_format", "an MP3 sound", 0, (b"ID3", b"\xff\xfb", b"\xff\xf3")),
    ("other_format", "an Ogg sound or video", 0, b"OggS"),
    ("other_format", "a FLAC sound", 0, b"fLaC"),
    ("other_format", _ZIP, 0, (b"PK\3\4", b"PK\5\6", b"PK\7\x08")),
    ("other_format", "an office document", 0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("other_format", "an RTF document", 0, b"{\\rtf"),
    ("other_format", "a RAR archive", 0, b"Rar!\x1a\x07"),
    ("other_format", "a 7-Zip archive", 0, b"7z\xbc\xaf\x27\x1c"),
    ("other_format", "a gzip archive", 0, b"\x1f\x8b"),
    ("other_format", "a bzip2 archive", 0, b"BZh"),
    ("other_format", "an xz archive", 0, b"\xfd7zXZ\0"),
    ("other_format", "a Zstandard archive", 0, b"\x28\xb5\x2f\xfd"),
    ("other_format", "a tar archive", 257, b"ustar"),
    ("not_an_image", "a macOS resource fork", 0, (b"\0\x05\x16\x07", b"\0\x05\x16\0")),
    ("not_an_image", "a Windows shortcut", 0, b"L\0\0\0\1\x14\x02\0"),
    ("not_an_image", "a macOS alias", 0, b"book\0\0\0\0mark"),
    ("not_an_image", "a colour profile (ICC)", 36, b"acsp"),
    ("not_an_image", "a macOS settings file", 0, b"bplist00"),
    ("not_an_image", "a bare EXIF block without its picture", 0, b"Exif\0\0"),
    ("not_an_image", "a program", 0, (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"#!")),
    ("not_an_image", "a program", 0, (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")),
    # The beginnings of ours, when the rest of the signature is not theirs
    ("damaged", "a JPEG whose beginning is damaged", 0, b"\xff\xd8"),
    ("damaged", "a PNG whose beginning is damaged", 0, b"\x89PNG"),
)

_BRANDS: Final[Mapping[bytes, tuple[RefusalCode, str]]] = {
    b"crx ": ("raw", "a Canon RAW file (CR3)"),
    b"avif": ("other_format", "an AVIF image"),
    b"avis": ("other_format", "an AVIF image"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), ("other_format", _HEIC)),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), ("other_format", _HEIC)),
    **dict.fromkeys((b"mif1", b"msf1", b"jpeg"), ("other_format", _HEIF)),
    b"jp2 ": ("other_format", "a JPEG 2000 image"),
    b"jpx ": ("other_format", "a JPEG 2000 image"),
    b"jxl ": ("other_format", "a JPEG XL image"),
    b"qt  ": ("other_format", _MOV),
    b"M4A ": ("other_format", "an MPEG-4 sound (M4A)"),
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"M4V "), ("other_format", _MP4)),
}
_ANY_HEIF: Final = frozenset({b"mif1", b"msf1"})

_OLD_QUICKTIME: Final = frozenset({b"moov", b"mdat", b"wide", b"skip", b"pnot"})
"""The first box of a QuickTime file from before there was `ftyp`."""

_RIFF: Final[Mapping[bytes, str]] = {
    b"WAVE": "a WAV sound",
    b"AVI ": "an AVI video",
    b"ACON": "a Windows animated cursor",
    b"CDR9": "a CorelDRAW document",
}

_TARGA: Final = re.compile(
    rb".(?:\x01[\x01\x09].{5}|\0[\x02\x03\x0a\x0b]\0{5})"  # colour map or none, kind of picture
    rb".{4}(?!\0\0)..(?!\0\0)..[\x08\x0f\x10\x18\x20][\0-\x3f]",  # place, sides, depth, flags
    re.DOTALL,
)
"""Targa has no signature: its header (Truevision 2.0, fields 2 to 5) must make sense instead."""

_SVG: Final = re.compile(r"(?:<\?xml.*?)?(?:<!doctype svg|<!--.*?-->\s*<svg|<svg)", re.DOTALL)
_MARKUP: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("an SVG drawing", _SVG),
    (
        "a web page (HTML)",
        re.compile(r"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype )?html", re.DOTALL),
    ),
    ("a web page (HTML)", re.compile(r"<(?:head|body|script|title|meta|div|table|p|h1|a|!--)\b")),
    (
        "an XMP sidecar of another program",
        re.compile(r"(?:<\?xml[^>]*>\s*)?<(?:\?xpacket|x:xmpmeta)"),
    ),
    ("an XML file", re.compile(r"<\?xml|<[a-z][\w:.-]*[\s/>]")),
    ("a JSON file", re.compile(r"[{\[]\s*[\"{\[}\]]")),
)

_NO_TEXT: Final = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]|^\Z")
