"""Images of kinds that are not sent, by their names' extensions: so that nobody wonders.

The families are those that `inspection` tells by content. Names alone decide here, because such
files are none of our business and are never opened.
"""

from collections.abc import Mapping

_EXTENSIONS: Mapping[str, str] = {
    "RAW": "3fr ari arw cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef ptx "
    "raf raw rw2 rwl rwz sr2 srf srw x3f",
    "HEIC": "heic heif hif",
    "AVIF": "avif",
    "PSD": "psd psb",
    "GIF": "gif",
    "BMP": "bmp dib",
    "JPEG 2000": "j2c j2k jp2 jpf jpx",
    "JPEG XL": "jxl",
    "JPEG XR": "hdp jxr wdp",
    "SVG": "svg svgz",
    "EPS": "ai eps",
    "TGA": "tga",
    "EXR and HDR": "exr hdr",
    "other": "afphoto bpg cin dcm dds dpx ico jng mng pbm pcx pct pgm pict pnm ppm qoi xcf",
}

_KINDS = {
    extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()
}


def kind_of(name: str) -> str | None:
    """The kind of image that a file name promises, if it is one that is not sent; None for our four
    formats, for what is no image, and for hidden and temporary files."""
    if name.startswith((".", "~$")):
        return None
    return _KINDS.get(name[name.rfind(".") + 1 :].lower()) if "." in name else None
