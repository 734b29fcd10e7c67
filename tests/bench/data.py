"""Data sets: the same bytes each time, from a seed; random, so that nothing compresses."""

import io
import os
import random
import shutil
import struct
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from PIL import Image


class DataSet(NamedTuple):
    """`files` files of about `size` bytes; every `repeat`-th content is new. The service is
    `latency` seconds away and hashes each file so many `times`."""

    name: str
    files: int
    size: int
    form: str = "jpg"
    repeat: int = 1
    known: bool = False
    latency: float = 0.0
    times: int = 1


LATENCY = 0.05
"""Seconds: a service that is 50 ms away."""

FULL = (
    DataSet("S", 5_000, 60_000),
    DataSet("D", 5_000, 60_000, repeat=2),
    DataSet("M", 600, 3_000_000),
    DataSet("L", 40, 60_000_000, form="tif"),
    DataSet("K", 5_000, 60_000, known=True, latency=LATENCY),
    DataSet("W", 5_000, 60_000, latency=LATENCY),
)
_SHARE = {"S": 4, "D": 4, "M": 4, "L": 4, "K": 4, "W": 10}
"""Of the full sets in the short form: enough that the program's start does not decide."""

SHORT = tuple(data._replace(files=max(8, data.files // _SHARE[data.name])) for data in FULL)
TINY = tuple(data._replace(files=max(1, data.files // 250)) for data in FULL)

FOLDER_FILES = 200


def make(data: DataSet, root: Path) -> Path:
    """The data set's folder below `root`, made if it is not there yet.

    In a process of its own, which takes the memory for it along.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        return other.submit(_make, data, root).result()


def _make(data: DataSet, root: Path) -> Path:
    folder = root / f"{data.name}-{data.files}-{data.size}-{data.repeat}"
    done = folder / ".complete"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(data.files):
        place = folder / f"{number // FOLDER_FILES:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"IMG_{number:05}.{data.form}").write_bytes(content(data, number // data.repeat))
    done.touch()
    return folder


def content(data: DataSet, number: int) -> bytes:
    """A whole image as our structural readers and a decoder's header parser see it."""
    noise = random.Random(number).randbytes(data.size)
    return _tiff(noise) if data.form == "tif" else _jpeg(noise)


def _jpeg(noise: bytes) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (1000, 1000)).save(out, "JPEG")
    header = out.getvalue()
    scan = header.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(header[scan + 2 : scan + 4], "big")
    return header[:start] + noise.replace(b"\xff", b"\xfe") + b"\xff\xd9"


def _tiff(noise: bytes) -> bytes:
    width = 4000
    height = len(noise) // (3 * width)
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, height)]
    entries += [(279, 4, 1, width * height * 3)]
    pixels = noise[: width * height * 3]
    offset = 8 + len(pixels) + len(pixels) % 2
    table = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *entry) for entry in entries
    )
    pad = b"\0" * (len(pixels) % 2)
    return struct.pack("<2sHI", b"II", 42, offset) + pixels + pad + table + b"\0" * 4


def fresh(folder: Path) -> Path:
    """The same images in a new folder, without records: hard links.

    Removing the records instead would not be the same. ext4 without a journal does not give the
    number of a deleted file to a new one for a minute, and looks past all of those each time: a
    new sidecar then costs 200 to 700 us instead of 6 (measured, Linux 6.18).
    """
    new = next(
        place
        for number in count()
        if not (place := folder.parent / f"{folder.name}.{number}").exists()
    )
    shutil.copytree(folder, new, copy_function=os.link)
    return new


def images(folder: Path) -> list[Path]:
    """The images, in order."""
    return sorted(path for path in folder.rglob("IMG_*") if path.suffix in {".jpg", ".tif"})


def total(folder: Path) -> int:
    """Bytes of all images."""
    return sum(os.path.getsize(path) for path in images(folder))
