"""The one place that knows watchdog: what the kernel announces, as hints about one share.

Events are hints. They overflow, come twice, come late or not at all; whoever gets a hint looks at
the disk. The scan plants the watches, one in each folder that it enters and before it lists it, so
that what appears later is announced and what was there before is listed. watchdog's own recursive
observer is not used: it walks the tree itself, passes over folders that it may not watch, keeps old
paths after renames, and builds all watches anew when events are lost, which can lose the next ones
(measured from 18,000 folders on).
"""

import errno
import os
import threading
import time
import warnings
from contextlib import ExitStack
from typing import Protocol

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

# No opening, reading or single writes: our own scan would be an event for each folder, and a copy
# one for each 64 KiB. Whoever still writes is found by the lease.
_WANTED = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
_OURS = CallbackId(1)

CANARY_SECONDS = 30.0
"""An event that we caused ourselves has so long to come back."""


class Hints(Protocol):
    """What wants to know. Each call comes from the observer's thread, must return soon, not raise.

    Paths are relative to the share; names that are not UTF-8 hold surrogates.
    """

    def changed(self, path: str) -> None:
        """A file appeared, was written to, closed or moved here."""
        ...

    def vanished(self, path: str) -> None:
        """A file was deleted or moved out of the share."""
        ...

    def renamed(self, source: str, path: str) -> None:
        """A file has another name or folder within the share."""
        ...

    def appeared(self, folder: str, source: str | None = None) -> None:
        """A folder was made or moved here, `source` if it is known from where; nobody watches it
        yet, and there may be files in it that nobody announced."""
        ...

    def overflowed(self) -> None:
        """Events were lost."""
        ...


class Observer:
    """The kernel's events for one share: an inotify instance and a thread of its own, so that
    trouble with one share stays with it.

    The methods are for the one thread that owns it, the `on_...` for its own thread. The lock
    guards the table of watches: an event waits until its folder's path is in it.
    """

    def __init__(self, hints: Hints) -> None:
        """Takes an inotify instance; raises `OSError` (EMFILE) if there is none left."""
        # watchdog warns of each folder that is planted again, which is how it is meant here.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watcher\.observer")
        self._hints = hints
        self._lock = threading.Lock()
        self._folders: dict[WatchDescriptor, str] = {}
        self._left: dict[int, tuple[str, bool]] = {}
        self._leaving: dict[int, tuple[str, bool]] = {}
        self._canary_sent: float | None = None
        self._came = threading.Event()
        self._stopped = False
        self._canary = os.memfd_create("canary", os.MFD_CLOEXEC)
        try:
            _reserve(self._canary)
            self._inotify = InotifyFD()
        except OSError:
            os.close(self._canary)
            raise
        self._inotify.start()
        try:
            self._canary_watch = self._add(self._canary, InotifyConstants.IN_ATTRIB)
        except OSError:
            self._stop()
            raise

    def watch(self, folder: str, fd: int) -> None:
        """Announces from now on what happens in `folder`, open as `fd`; again does no harm.

        The watch is on the very folder that is open, whatever its path leads to by now. Raises
        `OSError`: ENOSPC for the limit of watches.
        """
        with self._lock:
            self._folders[self._add(fd, _WANTED)] = folder

    def _add(self, fd: int, wanted: Mask) -> WatchDescriptor:
        watch = self._inotify.add_callback(b"/proc/self/fd/%d" % fd, wanted, self, _OURS)
        if watch < 0:  # watchdog passes over what may not be watched
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return watch

    def alive(self, now: float) -> bool:
        """Whether events really come, asked now and then, `now` in steady seconds.

        Threads can be dead, or alive and deaf; so each time an event is caused that must come back.
        """
        if self._stopped or not self._inotify.is_alive():
            return False
        sent = self._canary_sent
        if sent is None:
            sent = self._canary_sent = now
            os.utime(self._canary)
        return now - sent < CANARY_SECONDS

    def catch_up(self, seconds: float) -> None:
        """Returns once all that happened before has been told, or after so many seconds."""
        ends = time.monotonic() + seconds
        # A move is told of by two canaries (`_canary_came`), and an older one may be on its way.
        for _ in range(3):
            self._came.clear()
            os.utime(self._canary)
            if not self._came.wait(ends - time.monotonic()):
                return

    def stop(self, timeout: float) -> None:
        """Ends its thread, once; waits for it up to `timeout` seconds."""
        self._stopped = True
        # A hung file system may hold the lock that this needs.
        stopping = threading.Thread(target=self._stop, name="observer-stop", daemon=True)
        stopping.start()
        stopping.join(timeout)

    def _stop(self) -> None:
        self._inotify.stop()
        self._inotify.join()
        os.close(self._canary)

    # From the observer's thread; the names are watchdog's.

    def on_event(self, event: InotifyEvent) -> None:
        """One event in a watched folder."""
        if self._stopped:
            return
        if event.wd == self._canary_watch:
            self._canary_came()
            return
        if event.mask & InotifyConstants.IN_UNMOUNT:
            self._hints.overflowed()  # other things are visible there now
            return
        with self._lock:
            folder = self._folders.get(event.wd)
        if folder is None or not event.name:
            return
        name = os.fsdecode(event.name)
        path = f"{folder}/{name}" if folder else name
        if event.is_moved_from:
            self._leaving[event.cookie] = path, event.is_directory
        if event.is_directory:
            self._folder_event(event, path)
        else:
            self._file_event(event, path)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """The kernel took a watch away: its folder is gone, or its file system."""
        with self._lock:
            folder = self._folders.pop(wd, None)
        if folder == "" and not self._stopped:
            self._hints.overflowed()

    def on_queue_overflow(self) -> None:
        """The kernel's queue was full."""
        self._canary_sent = None  # it may be among the lost ones
        if not self._stopped:
            self._hints.overflowed()

    def _canary_came(self) -> None:
        """A move is two events, one after the other or nearly so. What left before the last canary
        and has arrived nowhere by this one has left the share."""
        self._canary_sent = None
        for path, is_folder in self._left.values():
            if not is_folder:  # a folder's records went with it
                self._hints.vanished(path)
        self._left, self._leaving = self._leaving, {}
        self._came.set()

    def _came_from(self, cookie: int) -> str | None:
        left = self._leaving.pop(cookie, None) or self._left.pop(cookie, None)
        return None if left is None else left[0]

    def _folder_event(self, event: InotifyEvent, path: str) -> None:
        if event.is_moved_from:
            self._forget(path)
        elif event.is_moved_to:
            self._hints.appeared(path, self._came_from(event.cookie))
        elif event.is_create:
            self._hints.appeared(path)

    def _file_event(self, event: InotifyEvent, path: str) -> None:
        if event.is_delete:
            self._hints.vanished(path)
        elif event.is_moved_to:
            source = self._came_from(event.cookie)
            if source is None:
                self._hints.changed(path)
            else:
                self._hints.renamed(source, path)
        elif not event.is_moved_from:
            self._hints.changed(path)

    def _forget(self, folder: str) -> None:
        """Watches nothing more below a folder that was moved: it would be told under the old path.
        If it is still on the share, it is scanned where it is now."""
        below = f"{folder}/"
        with self._lock:
            gone = [wd for wd, path in self._folders.items() if f"{path}/".startswith(below)]
            for wd in gone:
                del self._folders[wd]
            self._inotify.remove_callbacks([(wd, _OURS) for wd in gone])


def _reserve(fd: int) -> None:
    """Raises `OSError` if there are not three descriptors left, as watchdog needs; it would leave
    what it got of them open."""
    with ExitStack() as taken:
        for _ in range(3):
            taken.callback(os.close, os.dup(fd))
