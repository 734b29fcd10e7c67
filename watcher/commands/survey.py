"""A look through the folders of a share, as far as time allows: how many, which cannot be read."""

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from watcher.errors import FileUnreadable
from watcher.mounts import is_announced
from watcher.share import Share
from watcher.tree import NotThere, Translated, open_regular

MAX_FOLDERS = 2_000_000
"""Folders after which counting stops: more than any kernel's limit of watches."""

FILES_A_FOLDER, MAX_FILES = 2, 200
"""Images that are opened to see whether they can be: so many of each folder, so many in all."""


@dataclass(slots=True)
class Survey:
    """What was seen: folders (ignored ones are not entered), those that cannot be read, mounts
    below the root whose file systems announce nothing, and of a sample of images those that cannot
    be opened. `stranger` is the path of an image of another user. Not `whole`: time was up."""

    folders: int = 0
    unreadable: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    files: int = 0
    closed: list[str] = field(default_factory=list)
    stranger: str = ""
    whole: bool = True


def survey(share: Share, *, seconds: float, beat: Callable[[], None]) -> Survey:
    """Looks through the share for at most so many seconds. Raises `ShareGone`."""
    return _Surveyor(share, ends=time.monotonic() + seconds, beat=beat).run()


class _Surveyor:
    def __init__(self, share: Share, *, ends: float, beat: Callable[[], None]) -> None:
        self._share = share
        self._ends = ends
        self._beat = beat
        self._seen = Survey()
        self._devices: set[int] = set()

    def run(self) -> Survey:
        """All of it, the upper folders first."""
        waiting = deque([""])
        seen = self._seen
        while waiting and seen.whole:
            folder = waiting.popleft()
            try:
                with self._share.tree.folder(folder) as fd, Translated(folder):
                    self._devise(folder, fd)
                    below, images = self._listed(folder, fd)
                    self._open_some(folder, fd, images)
            except NotThere:
                continue  # it went meanwhile
            except FileUnreadable:
                seen.folders += 1
                seen.unreadable.append(folder)
                continue
            seen.folders += 1
            seen.whole = not self._late() and seen.folders < MAX_FOLDERS
            waiting.extend(below)
        seen.whole = seen.whole and not waiting
        return seen

    def _late(self) -> bool:
        self._beat()
        return time.monotonic() > self._ends

    def _devise(self, folder: str, fd: int) -> None:
        """Notes which file system this is, if it is another one than those before."""
        os.stat(".", dir_fd=fd)  # a folder that can be listed but not entered fails here
        device = os.fstat(fd).st_dev
        if device not in self._devices:
            self._devices.add(device)
            if folder and not is_announced(fd):
                self._seen.foreign.append(folder)

    def _listed(self, folder: str, fd: int) -> tuple[list[str], list[str]]:
        """The paths of the folders in it, and the names of some images."""
        prefix = f"{folder}/" if folder else ""
        below: list[str] = []
        images: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if self._late():
                    self._seen.whole = False
                    break
                if entry.is_dir(follow_symlinks=False):
                    if self._share.ignores.folder(prefix + entry.name) is None:
                        below.append(prefix + entry.name)
                elif (
                    len(images) < FILES_A_FOLDER
                    and entry.is_file(follow_symlinks=False)
                    and self._share.ignores.file(prefix + entry.name) is None
                ):
                    images.append(entry.name)
        return below, images

    def _open_some(self, folder: str, fd: int, images: list[str]) -> None:
        """Opens them for reading, as the daemon would, and reads nothing."""
        seen = self._seen
        for name in images[: MAX_FILES - seen.files]:
            path = f"{folder}/{name}" if folder else name
            self._beat()
            try:
                file = open_regular(name, fd)
            except NotThere:
                continue
            except FileUnreadable:
                seen.closed.append(path)
            else:
                try:
                    if os.fstat(file).st_uid != os.geteuid():
                        seen.stranger = seen.stranger or path
                finally:
                    os.close(file)
            seen.files += 1
