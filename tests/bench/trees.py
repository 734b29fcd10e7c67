"""Large shares that cost little to make."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.end_to_end.pictures import picture
from watcher.record import write_sidecar
from watcher.tree import stamp_of

FOLDER = 100
"""Files in each folder."""

LINKS = 20_000
"""Hard links to one file, within what every file system allows."""

SIZE = 60_000
"""Bytes of a recorded image. They are a hole: nobody reads what has a current record."""

HASH = "0" * 64


def waiting(root: Path, count: int) -> Path:
    """`count` images, all to be done: hard links, so that a million fit anywhere."""
    return _made(_link, root, count)


def recorded(root: Path, count: int) -> Path:
    """`count` images, each a file of its own with a current sidecar."""
    return _made(_record, root, count)


def _made(make: Callable[[Path, int], None], root: Path, count: int) -> Path:
    """In a process of its own, which takes the memory for it along."""
    if not root.exists():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            other.submit(make, root, count).result()
    return root


def _folders(root: Path, count: int) -> Iterator[tuple[Path, list[str]]]:
    """A hundred files in each, a hundred folders in each."""
    for first in range(0, count, FOLDER):
        folder = root / f"{first // FOLDER // FOLDER}" / f"{first // FOLDER}"
        folder.mkdir(parents=True)
        yield folder, [f"IMG_{each:04}.jpg" for each in range(min(FOLDER, count - first))]


def _link(root: Path, count: int) -> None:
    done = 0
    for folder, names in _folders(root, count):
        for name in names:
            original = root.parent / f"original{done // LINKS}.jpg"
            if not original.exists():
                original.write_bytes(picture(done // LINKS))
            os.link(original, folder / name)
            done += 1


def _record(root: Path, count: int) -> None:
    for folder, names in _folders(root, count):
        records = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for name in names:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=records)
            os.truncate(fd, SIZE)
            stamp = stamp_of(os.fstat(fd))
            os.close(fd)
            write_sidecar(name, HASH, stamp=stamp, mode=0o644, folder=records)
        os.close(records)
