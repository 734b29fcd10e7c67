"""The scan: what on a share has no current record. The disk is the truth, events are only hints.

It reads names and `stat`s and opens no file. Its memory does not grow with the tree: a folder is
listed in slices, and nothing is kept of one that is done. No folder is open while a candidate
waits at the backlog's door.
"""

import heapq
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from watcher.errors import FileUnreadable
from watcher.record import State, state_of
from watcher.share import Share
from watcher.tree import PATH_MAX, NotThere, translated

SLICE = 20_000
"""Files of one folder that are held at a time, some 5 MB."""


class Found(NamedTuple):
    """One candidate by name, its size in bytes and what its record says."""

    path: str
    size: int
    state: State


class Unreadable(NamedTuple):
    """A folder that could not be listed, and why."""

    path: str
    why: str


def scan(share: Share, below: str = "") -> Iterator[Found | Unreadable]:
    """Every regular file below the folder `below` that the share's rules do not ignore.

    Depth first, each folder's names in order. What disappears meanwhile is left out. Raises
    `ShareGone` if the share or its file system fails: then nothing may be concluded.
    """
    folders = [below]
    while folders:
        folder = folders.pop()
        try:
            below_it: list[str] = []
            yield from _files(share, folder, below_it)
        except NotThere:
            continue
        except FileUnreadable as error:
            yield Unreadable(folder, str(error))
            continue
        folders.extend(sorted(below_it, reverse=True))


def _files(share: Share, folder: str, below_it: list[str]) -> Iterator[Found]:
    """The files of one folder; appends the folders in it to `below_it`."""
    after = ""
    while True:
        names = _names(share, folder, after, below_it if not after else [])
        yield from _with_state(share, folder, names)
        if len(names) < SLICE:
            return
        after = names[-1]


def _names(share: Share, folder: str, after: str, below_it: list[str]) -> list[str]:
    """The next slice of candidates' names in order, those that come after `after`."""
    prefix = f"{folder}/" if folder else ""
    ignores = share.ignores

    def candidates() -> Iterator[str]:
        with translated(folder), os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    path = prefix + name
                    if ignores.folder(path) is None and _reachable(path):
                        below_it.append(path)
                elif name > after and ignores.file(prefix + name) is None:
                    yield name

    with share.tree.folder(folder) as fd:
        return heapq.nsmallest(SLICE, candidates())


def _reachable(path: str) -> bool:
    return len(os.fsencode(path)) < PATH_MAX


def _with_state(share: Share, folder: str, names: list[str]) -> list[Found]:
    if not names:
        return []
    prefix = f"{folder}/" if folder else ""
    found = []
    with share.tree.folder(folder) as images, share.records(folder, images) as records:
        for name in names:
            with translated(name):
                try:
                    image = os.stat(name, dir_fd=images, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # it went since it was listed
                if stat.S_ISREG(image.st_mode):
                    state: State = "none" if records is None else state_of(image, name, records)
                    found.append(Found(prefix + name, image.st_size, state))
    return found
