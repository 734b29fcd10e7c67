"""One share's intake: its events and its scans, into the backlog.

One thread a share looks every second whether it is still the share that is watched. It scans at the
start, when the timer says so, in each folder that appears, and whenever events may have been lost.
Where the kernel announces nothing, or not all, scans are the only source, every `poll_seconds`;
between two full ones they pass over folders in which nothing changed.
"""

import os
import threading
from collections.abc import Callable, Sequence

from watcher.backlog import Backlog
from watcher.candidate import Priority
from watcher.errors import ShareTrouble
from watcher.folders import Folders
from watcher.record import NOTE, SIDECAR
from watcher.renames import distrust
from watcher.scan import Found, ScanSummary, Unreadable, Visitor, scan, walk
from watcher.share import Share
from watcher.watch import Watch

LOOK_SECONDS = 1.0
"""How often it is looked whether all is still as it was; some 0.02 % of a core."""

MAX_FOLDERS = 1_000
"""Folders that appeared and wait for their scan; more are answered by one scan of the share."""

DOOR_SECONDS = 0.2
"""How long a scan waits at the backlog's door before it looks up."""

Report = Callable[[Share, ScanSummary], None]
"""Who wants to know of a scan that ended; called from the intake's thread."""


class _Interrupted(Exception):
    """The scan is of no use any more."""


class Intake(Visitor):
    """Implements `observer.Hints`, called from the observer's thread; `run` is its own
    thread's. The lock guards what events leave for the scan.

    `beat` is when the thread last came past, in steady seconds: a file server that hangs keeps it
    in a call.
    """

    def __init__(
        self,
        share: Share,
        *,
        backlog: Backlog,
        report: Report,
        settle_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.share = share
        self._backlog = backlog
        self._report = report
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._wake = threading.Condition()
        self._appeared: dict[str, str | None] = {}
        self._dirty = True
        self._stopping = False
        self._sure = False
        self.watch = Watch(share, self)
        self._folders = Folders(trusted=False)
        self._often = False
        self._full = True
        self._scan_due = self._full_due = self._look_due = self.beat = clock()

    # Hints, from the observer's thread.

    def changed(self, path: str) -> None:
        """A file was written or moved here. (Our own records are no candidates by their names.)"""
        if self.share.ignores.anywhere(path) is None:
            self._offer(path)

    def vanished(self, path: str) -> None:
        """A file went. If it was a record, its image is to be looked at again; if it was an image,
        its record goes, too."""
        for suffix in (SIDECAR, NOTE):
            if path.endswith(suffix):
                self.changed(path.removesuffix(suffix))
                return
        if self.share.ignores.anywhere(path) is None:
            self._offer(path, vanished=True)

    def renamed(self, source: str, path: str) -> None:
        """A file has another name. Its sidecar follows if nothing else happened to it."""
        ignored = [self.share.ignores.anywhere(name) is not None for name in (source, path)]
        if any(ignored) or not self._sure:
            self.vanished(source)
            self.changed(path)
        elif not self._backlog.rename(
            self.share, source, path, settle_seconds=self._settle_seconds
        ):
            self.overflowed()

    def _offer(self, path: str, *, vanished: bool = False) -> None:
        if not self._backlog.offer(
            self.share, path, settle_seconds=self._settle_seconds, vanished=vanished
        ):
            self.overflowed()

    def appeared(self, folder: str, source: str | None = None) -> None:
        """A folder appeared: its files may have been there before it was watched."""
        if self.share.ignores.folders(folder) is not None:
            return
        with self._wake:
            if len(self._appeared) < MAX_FOLDERS:
                self._appeared[folder] = source
            else:
                self._dirty = True
            self._wake.notify()

    def overflowed(self) -> None:
        """Events were lost, or found no room: only a scan of the whole share can tell."""
        with self._wake:
            self._dirty, was_sure, self._sure = True, self._sure, False
            self._wake.notify()
        if was_sure:
            self._backlog.doubt(self.share)

    # The intake's own thread.

    def run(self) -> None:
        """Watches and scans until `stop`."""
        try:
            while self._wait():
                if self._look() and not self._scan_appeared():
                    self._scan_if_due()
            self.watch.catch_up()
        finally:
            self.watch.end()

    def run_once(self) -> None:
        """One scan of the whole share."""
        self._look_due = float("inf")
        self._scan()

    def stop(self) -> None:
        """Ends a scan that is under way and the thread after it."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def _wait(self) -> bool:
        """Waits until there is something to do or to look at; False to stop."""
        self.beat = self._clock()
        with self._wake:
            if not (self._stopping or self._appeared or (self._dirty and self.watch.armed)):
                due = min(self._look_due, self._scan_due) if self.watch.armed else self._look_due
                self._wake.wait(max(0.0, due - self._clock()))
            return not self._stopping

    def _look(self) -> bool:
        """Whether the share is there and still the same."""
        now = self.beat = self._clock()
        if now >= self._look_due:
            self._look_due = now + LOOK_SECONDS
            try:
                if self.watch.look(now):
                    self._folders = Folders(trusted=self.watch.keeps_times)
                    self._often = not self.watch.complete
                    self.overflowed()
                    return False
            except ShareTrouble as error:
                self._report(self.share, ScanSummary(trouble=error))
        return self.watch.armed

    # Scans

    def _scan_appeared(self) -> bool:
        """Scans one of the folders that appeared, if there is one. Its files are fresh drops: they
        do not queue behind a backlog."""
        with self._wake:
            if not self._appeared:
                return False
            folder = next(iter(self._appeared))  # the oldest: what moved on is followed in order
            source = self._appeared.pop(folder)
        try:
            came_along = source is not None and self.share.move_records(source, folder)
            for file in scan(self.share, folder, visitor=self):
                if isinstance(file, Unreadable):
                    self.overflowed()
                elif file.state in {"none", "stale"}:
                    self._offer(file.path)
                elif self.share.mirror is not None and not came_along:
                    distrust(self.share, file.path)  # it was a former folder's of that name
                    self._offer(file.path)
            well = self._often or self.watch.complete
        except ShareTrouble:
            well = False
        if not well:  # no watch was left, or worse: the scan of the whole share says what
            self.overflowed()
        return True

    def _scan_if_due(self) -> None:
        now = self._clock()
        with self._wake:
            full = self._dirty or now >= self._full_due
            if not full and now < self._scan_due:
                return
            self._dirty = False
            if full:
                self._appeared.clear()
        well = self._scan(full=full)
        if full:
            with self._wake:
                self._sure = well and not self._dirty and not self._often

    def _scan(self, *, full: bool = True) -> bool:
        """One scan; whether it was whole."""
        summary, started = ScanSummary(full=full), self._clock()
        self._full = full
        self.watch.scan_begins()
        try:
            self._watch_all()
            for file in scan(self.share, visitor=self):
                self._take_in(file, summary)
        except _Interrupted:
            return False
        except ShareTrouble as error:
            summary.trouble = error
        summary.seconds = (now := self._clock()) - started
        summary.unwatched = self.watch.shortage
        self._often = bool(summary.unreadable) or not self.watch.complete
        if summary.trouble is not None:
            self._full_due = now + self.share.poll_seconds
        elif full:
            self._full_due = now + self.share.rescan_seconds
        soon = now + self.share.poll_seconds if self._often else self._full_due
        self._scan_due = min(soon, self._full_due)
        self._report(self.share, summary)
        return summary.trouble is None

    def _watch_all(self) -> None:
        """Before anything waits at the backlog's door: what is dropped from now on is noticed at
        once, however much there is to take in."""
        if self.watch.unplanted:
            walk(self.share, self._plant, self.goes_on)
            self.watch.unplanted = False

    def _plant(self, folder: str, fd: int, status: os.stat_result) -> None:
        self._look_up()
        self.watch.enter(folder, fd, status)

    def _take_in(self, file: Found | Unreadable, summary: ScanSummary) -> None:
        self._look_up()
        match file:
            case Unreadable(path, why):
                summary.unreadable[path] = why
            case Found(state="uploaded"):
                summary.recorded += 1
            case Found(state="rejected"):
                summary.rejected += 1
            case Found(path, size, state):
                summary.candidates += 1
                summary.bytes += size
                self._put(path, Priority.RECHECK if state == "stale" else Priority.BACKLOG)

    def _put(self, path: str, priority: Priority) -> None:
        while not self._backlog.put(self.share, path, priority, timeout=DOOR_SECONDS):
            self._look_up()

    def _look_up(self) -> None:
        """What must not wait until a scan has brought everything in."""
        self.beat = self._clock()
        if self._stopping:
            raise _Interrupted
        if self.beat >= self._look_due and not self._look():
            raise _Interrupted
        while self._appeared and self._scan_appeared():
            pass

    # The scan's visitor

    def enter(self, folder: str, fd: int, status: os.stat_result) -> Sequence[str] | None:
        """Plants a watch; knows whether anything in the folder has changed."""
        self.beat = self._clock()
        self.watch.enter(folder, fd, status)
        return None if self._full else self._folders.unchanged(folder, status)

    def listed(
        self, folder: str, status: os.stat_result, *, names: int, below: Sequence[str]
    ) -> None:
        """Remembers what the folder looked like, where that saves a listing."""
        if self._often:
            self._folders.listed(folder, status, names=names, below=below, now=self._clock())

    def goes_on(self) -> None:
        """The file server answers."""
        self.beat = self._clock()

    def gone(self, folder: str) -> None:
        """Forgets it."""
        self._folders.gone(folder)
