"""Images of every kind that a share holds, made on the spot and each different from the others."""

import io
import random
from collections.abc import Mapping

from PIL import Image


def picture(seed: int = 0, form: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """A whole image; another seed, another content."""
    noise = random.Random(seed).randbytes(64 * 48 * 3)
    image = Image.frombytes("RGB", (64, 48), noise).resize(size)
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def raw(seed: int = 0) -> bytes:
    """A DNG: a TIFF with the tag that says so."""
    out = io.BytesIO()
    Image.new("RGB", (16, 12), (seed % 256, 0, 0)).save(out, "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    return out.getvalue()


REJECTED: Mapping[str, tuple[bytes, str]] = {
    "wide.png": (picture(1, "PNG", (10_001, 3)), "too_large"),
    "DSC_1.tif": (raw(), "raw"),
    "IMG_1.HEIC.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "other_format"),
    "page.jpeg": (b"<!DOCTYPE html><html>404</html>", "not_an_image"),
    "words.png": (b"just some words\n" * 9, "not_an_image"),
    "broken.png": (b"\x89PNG\r\n\x1a\n" + b"\xff" * 200, "damaged"),
}
"""What no waiting will mend: content and reason by name."""
