"""One share's intake: its events and its scans, into the backlog.

A scan runs at the start, when the timer says so, for every folder that appears, and whenever events
may have been lost. On file systems whose changes the kernel cannot announce it is the only source
and runs every `poll_seconds`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from watcher.backlog import Backlog, Priority
from watcher.errors import ShareTrouble
from watcher.record import NOTE, SIDECAR
from watcher.scan import Found, Unreadable, scan
from watcher.share import Share

MAX_FOLDERS = 1_000
"""Folders that appeared and wait for their scan; more are answered by one scan of the share."""

DOOR_SECONDS = 0.2
"""How long a scan waits at the backlog's door before it looks whether it should stop."""


@dataclass(slots=True)
class ScanSummary:
    """What one scan of a whole share met: files by what their record said, folders that could not
    be listed (with why), and the trouble that ended it early, if any."""

    recorded: int = 0
    rejected: int = 0
    candidates: int = 0
    bytes: int = 0
    """Bytes of the candidates."""
    unreadable: dict[str, str] = field(default_factory=dict)
    trouble: ShareTrouble | None = None
    seconds: float = 0.0


Report = Callable[[Share, ScanSummary], None]
"""Who wants to know of a scan that ended; called from the intake's thread."""


class Intake:
    """Implements `observer.Hints`, called from watchdog's threads; `run` is its own thread's.

    The lock guards what events leave for the scan: `_folders` and `_dirty`.
    """

    def __init__(
        self,
        share: Share,
        *,
        backlog: Backlog,
        report: Report,
        settle_seconds: float,
        polled: bool,
        clock: Callable[[], float],
    ) -> None:
        self.share = share
        self._backlog = backlog
        self._report = report
        self._settle_seconds = settle_seconds
        self._period = share.poll_seconds if polled else share.rescan_seconds
        self._clock = clock
        self._wake = threading.Condition()
        self._folders: dict[str, None] = {}
        self._dirty = True
        self._scan_due = clock()
        self._stopping = False

    # Hints, from watchdog's threads.

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

    def _offer(self, path: str, *, vanished: bool = False) -> None:
        if not self._backlog.offer(
            self.share, path, settle_seconds=self._settle_seconds, vanished=vanished
        ):
            self.overflowed()

    def appeared(self, folder: str) -> None:
        """A folder appeared: its files may have been there before it was watched."""
        if self.share.ignores.folders(folder) is not None:
            return
        with self._wake:
            if len(self._folders) < MAX_FOLDERS:
                self._folders[folder] = None
            else:
                self._dirty = True
            self._wake.notify()

    def overflowed(self) -> None:
        """Events were lost, or found no room: only a scan of the whole share can tell."""
        with self._wake:
            self._dirty = True
            self._wake.notify()

    # The scan's thread.

    def run(self) -> None:
        """Scans whenever there is a reason to, until `stop`."""
        while True:
            folder = self._next_reason()
            if folder is None:
                return
            self._scan(folder)

    def run_once(self) -> None:
        """One scan of the whole share."""
        self._scan("")

    def stop(self) -> None:
        """Ends a scan that is under way and the thread after it."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def _next_reason(self) -> str | None:
        """The folder to scan next, "" for the share; waits for one. None to stop."""
        with self._wake:
            while not (self._stopping or self._dirty or self._folders):
                left = self._scan_due - self._clock()
                if left <= 0:
                    break
                self._wake.wait(left)
            if self._stopping:
                return None
            if self._folders and not self._dirty and self._clock() < self._scan_due:
                folder = next(iter(self._folders))
                del self._folders[folder]
                return folder
            self._dirty = False
            self._folders.clear()
            return ""

    def _scan(self, below: str) -> None:
        summary, started = ScanSummary(), self._clock()
        try:
            for file in scan(self.share, below):
                if self._stopping:
                    return
                self._take_in(file, summary)
        except ShareTrouble as error:
            summary.trouble = error
        if not below:
            summary.seconds = self._clock() - started
            # A share that is gone is looked for as often as one that is polled.
            period = self._period if summary.trouble is None else self.share.poll_seconds
            self._scan_due = self._clock() + min(period, self._period)
            self._report(self.share, summary)

    def _take_in(self, file: Found | Unreadable, summary: ScanSummary) -> None:
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
        while not self._stopping:
            if self._backlog.put(self.share, path, priority, timeout=DOOR_SECONDS):
                return
