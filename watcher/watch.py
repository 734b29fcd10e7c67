"""What a share is just now, and whether the kernel announces all that happens on it.

The path of a share can lead to another volume from one second to the next, or to nothing; watches
run out; the thread that reads events can be dead. So all of that is looked at, not believed.
"""

import os
from typing import Literal, NamedTuple

from watcher.errors import ShareGone, ShareTrouble
from watcher.mounts import is_announced, keeps_times, mount_id
from watcher.observer import Hints, Observer
from watcher.share import Share


class _Root(NamedTuple):
    """What tells one share on a path from another: `st_dev` alone is the same for two mounts in
    turn, and the inode for two volumes."""

    mount: int
    device: int
    inode: int


class Watch:
    """One share's; owned by the thread of its intake.

    `shortage` says why not every folder can be watched that should be; "" if they can. `seen`:
    it was looked for at least once. `unplanted`: its folders are to be entered, and were not yet.
    """

    def __init__(self, share: Share, hints: Hints) -> None:
        self._share = share
        self._hints = hints
        self._observer: Observer | None = None
        self._root: _Root | None = None
        self._devices: set[int] = set()
        self._unannounced = False
        self._foreign = False
        self.shortage = ""
        self.keeps_times = False
        self.seen = False
        self.unplanted = False

    @property
    def how(self) -> Literal["events", "polling", "not yet", "gone"]:
        """How what happens on it is noticed."""
        if not self.armed:
            return "gone" if self.seen else "not yet"
        return "events" if self.complete else "polling"

    @property
    def armed(self) -> bool:
        """Whether the share was there at the last look."""
        return self._root is not None

    def look(self, now: float) -> bool:
        """True if it has been armed anew: it is there for the first time, is another one, or its
        events stay away. `now` is in steady seconds. Raises `ShareGone`."""
        try:
            root = self._enter()
        except ShareTrouble:
            self.end()
            raise
        finally:
            self.seen = True
        if root == self._root and (self._observer is None or self._observer.alive(now)):
            return False
        self.end()
        self._arm(root)
        return True

    def catch_up(self) -> None:
        """What happened on it before has been told when this returns; for a deaf thread it waits a
        second."""
        if self._observer is not None:
            self._observer.catch_up(1.0)

    def end(self) -> None:
        """Watches nothing more."""
        observer, self._observer, self._root = self._observer, None, None
        self.unplanted = False
        if observer is not None:
            observer.stop(1.0)

    def _enter(self) -> _Root:
        try:
            with self._share.tree.folder("") as fd:
                status = os.fstat(fd)
                # A server that is gone may let us in from what the kernel remembers; this asks it.
                self.keeps_times, self._unannounced = keeps_times(fd), not is_announced(fd)
                return _Root(mount_id(fd), status.st_dev, status.st_ino)
        except OSError as error:
            raise ShareGone(f"the file system answers: {error.strerror}") from error

    def _arm(self, root: _Root) -> None:
        self._root, self._devices, self._foreign = root, {root.device}, False
        self._observe()

    def _observe(self) -> None:
        wanted = self._share.watch
        self.shortage = ""
        if wanted == "events" or (wanted == "auto" and not self._unannounced):
            try:
                self._observer = Observer(self._hints)
                self.unplanted = True
            except OSError as error:  # no inotify instance is left
                self.shortage = str(error)

    # During a scan

    def scan_begins(self) -> None:
        """A scan of the whole share begins; there may be room by now for what was short."""
        if self._root is not None and self.shortage:
            self.shortage = ""
            if self._observer is None:
                self._observe()

    def enter(self, folder: str, fd: int, status: os.stat_result) -> None:
        """The scan is in this open folder: from now on what happens in it is announced."""
        if status.st_dev not in self._devices:  # another file system is mounted below the root
            self._devices.add(status.st_dev)
            self._foreign |= not is_announced(fd)
        if self._observer is not None:
            try:
                self._observer.watch(folder, fd)
            except OSError as error:
                self.shortage = self.shortage or str(error)

    @property
    def complete(self) -> bool:
        """Whether each folder that the scan entered is watched, and to some use."""
        of_use = self._share.watch == "events" or not (self._unannounced or self._foreign)
        return of_use and self._observer is not None and not self.shortage
