"""The scan: what on a share has no current record. The disk is the truth, events are only hints.

It reads names and `stat`s and opens no file. Its memory does not grow with the tree: a folder is
listed in slices, and nothing is kept of one that is done. No folder is open while a candidate
waits at the backlog's door.
"""

import heapq
import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from watcher.errors import FileUnreadable, MirrorFolderBarred, ShareTrouble
from watcher.record import NOTE, SIDECAR, State, state_of
from watcher.share import Share
from watcher.tree import PATH_MAX, NotThere, Translated

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


@dataclass(slots=True)
class ScanSummary:
    """What one scan of a whole share met: files by what their record said (`bytes` are those of the
    candidates), folders that could not be listed (with why), and the trouble that ended it early,
    if any. A scan that is not `full` listed only folders with changes."""

    recorded: int = 0
    rejected: int = 0
    candidates: int = 0
    bytes: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    trouble: ShareTrouble | None = None
    seconds: float = 0.0
    full: bool = True
    unwatched: str = ""
    """Why not every folder can be watched, if it should be."""


class Visitor:
    """Who wants to be in each folder before it is listed. This one wants nothing."""

    def enter(self, folder: str, fd: int, status: os.stat_result) -> Sequence[str] | None:
        """The scan is in `folder`, open as `fd` during this call. Returns the paths of the folders
        in it if its files need not be looked at; None to have it listed."""

    def listed(
        self, folder: str, status: os.stat_result, *, names: int, below: Sequence[str]
    ) -> None:
        """It was listed to the end after `status`: a digest of the names, the folders in it."""

    def goes_on(self) -> None:
        """Another name was read, or another file looked at: a slow share is not one that hangs."""

    def gone(self, folder: str) -> None:
        """It was not there any more."""


def scan(
    share: Share, below: str = "", *, visitor: Visitor | None = None
) -> Iterator[Found | Unreadable]:
    """Every regular file below the folder `below` that the share's rules do not ignore.

    Depth first, each folder's names in order. What disappears meanwhile is left out. Raises
    `ShareGone` if the share or its file system fails: then nothing may be concluded.
    """
    visitor = visitor or Visitor()
    folders = [below]
    while folders:
        folder = folders.pop()
        try:
            with share.tree.folder(folder) as fd, Translated(folder):
                status = os.fstat(fd)
                inside = visitor.enter(folder, fd, status)
            if inside is None:
                listed: list[str] = []
                names = yield from _files(share, folder, listed, visitor)
                inside = sorted(listed)
                visitor.listed(folder, status, names=names, below=inside)
        except NotThere:
            visitor.gone(folder)
        except FileUnreadable as error:
            yield Unreadable(folder, str(error))
        else:
            folders.extend(reversed(inside))


def walk(
    share: Share,
    enter: Callable[[str, int, os.stat_result], None],
    goes_on: Callable[[], None],
) -> None:
    """Only the folders, some six times as fast: calls `enter` in each, as `Visitor.enter`, and
    `goes_on` at each name, as there.

    What cannot be entered is left out; the scan says so. Raises `ShareGone`.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        prefix, below = f"{folder}/" if folder else "", list[str]()
        try:
            with share.tree.folder(folder) as fd, Translated(folder):
                enter(folder, fd, os.fstat(fd))
                with os.scandir(fd) as entries:
                    for entry in entries:
                        goes_on()
                        if entry.is_dir(follow_symlinks=False):
                            below.append(prefix + entry.name)
        except (NotThere, FileUnreadable):
            continue
        folders += [each for each in below if _is_ours(share, each)]


def _is_ours(share: Share, folder: str) -> bool:
    return share.ignores.folder(folder) is None and len(os.fsencode(folder)) < PATH_MAX


def _files(
    share: Share, folder: str, below_it: list[str], visitor: Visitor
) -> Generator[Found, None, int]:
    """The files of one folder; appends the folders in it to `below_it`; a digest of all names."""
    after, digest = "", 0
    while True:
        names, bare = _names(share, folder, after, below_it if not after else [], visitor)
        digest ^= hash((after, *names))
        yield from _with_state(share, folder, names, visitor, bare=bare)
        if len(names) < SLICE:
            return digest ^ hash(tuple(sorted(below_it)))
        after = names[-1]


def _names(
    share: Share, folder: str, after: str, below_it: list[str], visitor: Visitor
) -> tuple[list[str], bool]:
    """The next slice of candidates' names in order, those that come after `after`; and whether
    there is no record beside any of them."""
    prefix = f"{folder}/" if folder else ""
    ignores, bare = share.ignores, share.mirror is None

    def candidates() -> Iterator[str]:
        nonlocal bare
        with Translated(folder), os.scandir(fd) as entries:
            for entry in entries:
                visitor.goes_on()
                name = entry.name
                # (Some servers show all names in capitals, and find them by any.)
                bare = bare and not name.lower().endswith((SIDECAR, NOTE))
                if entry.is_dir(follow_symlinks=False):
                    if _is_ours(share, prefix + name):
                        below_it.append(prefix + name)
                elif name > after and ignores.file(prefix + name) is None:
                    yield name

    with share.tree.folder(folder) as fd:
        names = heapq.nsmallest(SLICE, candidates())
    return names, bare


def _with_state(
    share: Share, folder: str, names: list[str], visitor: Visitor, *, bare: bool
) -> list[Found]:
    if not names:
        return []
    with share.tree.folder(folder) as images:
        try:
            with share.records(folder, images) as records:
                # Many a folder is new, and to ask for each record would cost half of the scan.
                return list(_states(folder, names, images, None if bare else records, visitor))
        except MirrorFolderBarred:
            # Its images' own way tells; the other folders have nothing to do with it.
            return list(_states(folder, names, images, None, visitor))


def _states(
    folder: str, names: list[str], images: int, records: int | None, visitor: Visitor
) -> Iterator[Found]:
    prefix = f"{folder}/" if folder else ""
    for name in names:
        visitor.goes_on()
        with Translated(name):
            try:
                image = os.stat(name, dir_fd=images, follow_symlinks=False)
            except FileNotFoundError:
                continue  # it went since it was listed
            if stat.S_ISREG(image.st_mode):
                state: State = "none" if records is None else state_of(image, name, records)
                yield Found(prefix + name, image.st_size, state)
