"""Cameras' RAW files that pose as TIFF, told by what their directories hold.

Such a file opens as a TIFF of its thumbnail. None of the signs below is in a TIFF that a camera
maker's software, a scanner or an editor exports: the maker's name alone says nothing.

Sources: DNG 1.7.1 (Adobe); TIFF/EP (ISO 12234-2), the colour filter array; the tables of ExifTool
(Exif.pm) and the decoders of RawSpeed for what each maker does.
"""

from collections.abc import Mapping

from watcher.inspection.source import Source
from watcher.inspection.tiff_directory import Directory, Layout

_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _MAKE = 254, 259, 262, 271
_DNG_VERSION, _DNG_PRIVATE_DATA = 50706, 50740
_LEAF_DATA, _KODAK_KDC_IFD = 34310, 65024

_UNDEVELOPED = frozenset({32803, 34892})
"""Photometric interpretations of what a sensor saw: a colour filter array, and linear RAW."""

_COMPRESSIONS: Mapping[int, bytes] = {
    262: b"kodak",
    32767: b"sony",
    32769: b"",
    32770: b"samsung",
    32772: b"samsung",
    34713: b"nikon",
    65000: b"kodak",
    65535: b"pentax",
}
"""Compressions that nothing but a RAW file has, with whose they are (empty: more than one's)."""

_FAMILIES: Mapping[bytes, str] = {
    b"nikon": "a Nikon RAW file (NEF)",
    b"canon": "a Canon RAW file (CR2)",
    b"sony": "a Sony RAW file (ARW)",
    b"pentax": "a Pentax RAW file (PEF)",
    b"ricoh": "a Pentax RAW file (PEF)",
    b"asahi": "a Pentax RAW file (PEF)",
    b"samsung": "a Samsung RAW file (SRW)",
    b"hasselblad": "a Hasselblad RAW file (3FR)",
    b"imacon": "a Hasselblad RAW file (FFF)",
    b"phase one": "a Phase One RAW file (IIQ)",
    b"seiko epson": "an Epson RAW file (ERF)",
    b"epson": "an Epson RAW file (ERF)",
    b"kodak": "a Kodak RAW file (DCR)",
    b"eastman kodak": "a Kodak RAW file (KDC)",
    b"mamiya": "a Mamiya RAW file (MEF)",
    b"leaf": "a Leaf RAW file (MOS)",
    b"leica": "a Leica RAW file (RWL)",
    b"olympus": "an Olympus RAW file (ORF)",
    b"om digital": "an Olympus RAW file (ORF)",
    b"panasonic": "a Panasonic RAW file (RW2)",
    b"fujifilm": "a Fujifilm RAW file (RAF)",
    b"minolta": "a Minolta RAW file (MRW)",
    b"konica": "a Minolta RAW file (MRW)",
    b"sinar": "a Sinar RAW file",
    b"creo": "a Leaf RAW file (MOS)",
}
"""What to call it, by the beginning of the maker's name in lower case."""

_ANY_FAMILY = "a camera's RAW file"


def marked_family(source: Source, layout: Layout) -> str | None:
    """The family that a mark behind the header tells: Canon's and Phase One's.

    Four bytes at least, and the first directory behind them: a picture whose pixels begin there
    may well hold the letters "CR" or a grey that reads "IIII".
    """
    mark = source.read_some(8, 8)
    if layout.big or layout.first < 16:
        return None
    if mark.startswith((b"CR\x02\0", b"\xba\xb0\xac\xbb")):  # the second: EOS-1D, named .TIF
        return _FAMILIES[b"canon"]
    if (mark[:4], mark[5:]) == (b"IIII", b"waR") or mark.startswith(b"MMMMRaw"):
        return _FAMILIES[b"phase one"]
    return None


class RawSigns:
    """What the directories of one file, taken one by one, say about its being RAW."""

    def __init__(self) -> None:
        self._maker: bytes | None = None
        self._opens_with_thumbnail = False
        self._family: str | None = None

    def take(self, directory: Directory) -> None:
        """Look at one more directory, the file's first one first. Raises `EndMissing`."""
        if self._maker is None:
            self._maker = directory.text(_MAKE, 32).strip(b" \0").lower()
            self._opens_with_thumbnail = _is_reduced(directory)
        self._family = self._family or self._family_by(directory)

    def family(self) -> str | None:
        """The phrase that names the RAW family; None if nothing says that it is one."""
        return self._family

    def _family_by(self, directory: Directory) -> str | None:
        if directory.count(_DNG_VERSION) == 4:
            return "a RAW file in Adobe's format (DNG)"
        compression = directory.number(_COMPRESSION) or 0
        if compression in _COMPRESSIONS:
            return self._named(_COMPRESSIONS[compression])
        if directory.number(_PHOTOMETRIC) in _UNDEVELOPED or self._is_private(directory):
            return self._named(b"")
        return None

    def _is_private(self, directory: Directory) -> bool:
        """Signs that are one only together with the maker's name."""
        maker = self._maker or b""
        if maker.startswith(b"sony"):  # an SRF's pixels are described in there alone
            return _DNG_PRIVATE_DATA in directory
        if maker.startswith((b"kodak", b"eastman")):
            return _KODAK_KDC_IFD in directory
        if _LEAF_DATA in directory:
            return True
        # Nikon Scan's NEF holds developed pixels, behind the same thumbnail as a camera's.
        return (
            self._opens_with_thumbnail
            and maker.startswith(b"nikon")
            and directory.number(_SUBFILE) == 0
        )

    def _named(self, usual_maker: bytes) -> str:
        maker = self._maker or usual_maker
        for beginning, phrase in _FAMILIES.items():
            if maker.startswith(beginning):
                return phrase
        return _FAMILIES.get(usual_maker, _ANY_FAMILY)


def _is_reduced(directory: Directory) -> bool:
    return bool((directory.number(_SUBFILE) or 0) & 1)
