"""How many images of one share are in which state, counted on the share itself in one walk.

It is the daemon's own `scan` with the daemon's own `ignores` and `record`, so that the two cannot
disagree. "Images" are regular files whose names have an image extension. Each is counted once:

    uploaded + rejected + waiting + ignored = the images there

- A rejection is counted whether it has a note or not: where none can stand, because the name is too
  long or somebody's own file is in its place, the image is looked at as the daemon does.
- Images in ignored folders are ignored images, so those folders are walked, too; but nobody can
  want to wait for a file server's snapshots, which hold the whole share over and over. Folders of
  snapshots, other file systems below an ignored folder and what goes beyond `MAX_IGNORED_NAMES` are
  left out of all counts, and their number is told (`left_out`).
- Memory does not grow with the tree.
"""

import heapq
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from watcher.commands.kinds import kind_of
from watcher.commands.reasons import has_room, why_noted, why_without_note
from watcher.errors import FileUnreadable, RecordUnwritable
from watcher.ignores import IMAGE
from watcher.record import NOTE, State
from watcher.scan import Unreadable, Visitor, scan
from watcher.share import Share
from watcher.tree import PATH_MAX, NotThere, Translated, look, split

NEWEST = 10
"""So many rejections are kept with their reason."""

MAX_IGNORED_NAMES = 200_000
"""Names that are looked at in all ignored folders of a share together: 0.2 s on a local disk."""

SNAPSHOTS = frozenset({".snapshot", ".snapshots", ".zfs", "#snapshot"})
"""Folders of NetApp, Btrfs tools, ZFS and Synology that hold the whole share as it was, many
times."""

_TOGETHER = 1_000
"""Images of one folder that are looked at more closely in one go."""


@dataclass(frozen=True, slots=True, order=True)
class Rejection:
    """One rejected image. `at` is when its note was written (epoch seconds), or when the image
    changed last, if it has none; `why` is for people, and is not to be trusted as a text."""

    at: float
    path: str
    why: str


@dataclass(slots=True)
class Stock:
    """What one walk found. Filled by one thread; any may read single counts meanwhile."""

    uploaded: int = 0
    rejected: int = 0
    waiting: int = 0
    ignored: int = 0
    left_out: int = 0
    """Ignored folders that were not counted, or not to their end."""
    not_sent: Counter[str] = field(default_factory=Counter)
    """Images of other kinds, by kind."""
    unreadable: int = 0
    """Folders that could not be listed."""
    unreadable_folder: str = ""
    """The first of them, and why."""
    newest: list[Rejection] = field(default_factory=list)
    """The newest rejections, the newest first."""
    steps: int = 0
    """Grows as long as the share answers."""

    @property
    def images(self) -> int:
        """All that were counted."""
        return self.uploaded + self.rejected + self.waiting + self.ignored


class Stocktaking(Visitor):
    """Walks one share once, and sees what the scan passes over."""

    def __init__(self, share: Share) -> None:
        self.stock = Stock()
        self._share = share
        self._folder = ""
        self._closer: list[tuple[str, State]] = []
        self._left = MAX_IGNORED_NAMES

    def run(self) -> Stock:
        """The whole share. Raises `ShareTrouble`: then the counts are not of the whole share."""
        for each in scan(self._share, visitor=self):
            self.stock.steps += 1
            if isinstance(each, Unreadable):
                self._unreadable(each.path, each.why)
            else:
                self._count(each.path, each.state)
        self._look_closer()
        self.stock.newest.sort(reverse=True)
        return self.stock

    def _unreadable(self, folder: str, why: str) -> None:
        if not self.stock.unreadable:
            self.stock.unreadable_folder = f"{folder or self._share.root}: {why}"
        self.stock.unreadable += 1

    # Candidates

    def _count(self, path: str, state: State) -> None:
        folder, name = split(path)
        if state == "uploaded":
            self.stock.uploaded += 1
        elif state == "none" and has_room(name):
            self.stock.waiting += 1
        else:
            if folder != self._folder or len(self._closer) >= _TOGETHER:
                self._look_closer()
            self._folder = folder
            self._closer.append((name, state))

    def _look_closer(self) -> None:
        """Images of one folder that are rejected, or could be although no note says so."""
        names, self._closer = self._closer, []
        if not names:
            return
        folder, share = self._folder, self._share
        try:
            with share.tree.folder(folder) as images, share.records(folder, images) as records:
                for name, state in names:
                    self.stock.steps += 1
                    self._decide(name, state, images, records)
        except NotThere:
            return  # the whole folder went
        except FileUnreadable as error:
            self._unreadable(folder, str(error))

    def _decide(self, name: str, state: State, images: int, records: int | None) -> None:
        try:
            image = look(name, images)
        except NotThere:
            return  # it went since the scan saw it
        try:
            if state == "rejected" and records is not None:
                self._rejected(name, look(name + NOTE, records).st_ctime, records)
                return
            why = why_without_note(name, state, image.st_size, images=images, records=records)
        except (NotThere, RecordUnwritable, FileUnreadable):
            why = None  # it cannot be read just now, so the daemon waits, too
        if why is None:
            self.stock.waiting += 1
        else:
            self._rejected(name, image.st_ctime, why)

    def _rejected(self, name: str, at: float, told: int | str) -> None:
        """One more; `told` is the reason, or the open folder with the note that tells it."""
        self.stock.rejected += 1
        newest = self.stock.newest
        if len(newest) == NEWEST and at <= newest[0].at:
            return
        path = f"{self._folder}/{name}" if self._folder else name
        rejection = Rejection(at, path, told if isinstance(told, str) else why_noted(name, told))
        if len(newest) < NEWEST:
            heapq.heappush(newest, rejection)
        else:
            heapq.heapreplace(newest, rejection)

    # What the scan passes over

    def enter(self, folder: str, fd: int, status: os.stat_result) -> Sequence[str] | None:
        """Counts what is ignored in this folder, and images of other kinds."""
        prefix = f"{folder}/" if folder else ""
        ignores = self._share.ignores
        with os.scandir(fd) as entries:
            for entry in entries:
                self.stock.steps += 1
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if ignores.folder(prefix + name) is not None:
                        self._ignored_folder(prefix + name, status.st_dev)
                elif IMAGE.match(name) is not None:
                    if ignores.file(prefix + name) is not None and _is_file(entry):
                        self.stock.ignored += 1
                elif (kind := kind_of(name)) is not None and _is_file(entry):
                    self.stock.not_sent[kind] += 1
        return None

    def goes_on(self) -> None:
        """The share answers."""
        self.stock.steps += 1

    def _ignored_folder(self, top: str, device: int) -> None:
        folders = [top]
        while folders:
            folder = folders.pop()
            if not self._left or not self._may_enter(folder):
                self.stock.left_out += 1
                continue
            try:
                with self._share.tree.folder(folder) as fd, Translated(folder):
                    if os.fstat(fd).st_dev == device:
                        folders += self._ignored_in(folder, fd)
                    else:
                        self.stock.left_out += 1
            except NotThere:
                continue
            except FileUnreadable:
                self.stock.left_out += 1

    @staticmethod
    def _may_enter(folder: str) -> bool:
        return split(folder)[1] not in SNAPSHOTS and len(os.fsencode(folder)) < PATH_MAX

    def _ignored_in(self, folder: str, fd: int) -> list[str]:
        """Counts the images in one ignored folder; the folders in it."""
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self.stock.steps += 1
                if not self._left:
                    self.stock.left_out += 1
                    break
                self._left -= 1
                if entry.is_dir(follow_symlinks=False):
                    below.append(f"{folder}/{entry.name}")
                elif IMAGE.match(entry.name) is not None and _is_file(entry):
                    self.stock.ignored += 1
        return below


def _is_file(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file(follow_symlinks=False)
