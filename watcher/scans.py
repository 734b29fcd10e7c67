"""What the scans found, for the log, the conditions and the exit code."""

import threading

from structlog.typing import FilteringBoundLogger

from watcher.conditions import Conditions
from watcher.errors import RecordUnwritable, ShareTrouble
from watcher.scan import ScanSummary
from watcher.share import Share


class ScanLog:
    """Each share's last scan. Told by the intakes' threads; its lock guards the tables."""

    def __init__(self, log: FilteringBoundLogger, conditions: Conditions) -> None:
        self._log = log
        self._conditions = conditions
        self._lock = threading.Lock()
        self._last: dict[Share, ScanSummary] = {}
        self._mirror_missing: set[Share] = set()

    def report(self, share: Share, scan: ScanSummary) -> None:
        """A scan of the whole share ended."""
        with self._lock:
            before = self._last.get(share)
            known = {} if before is None else before.unreadable
            if before is None or scan.full or scan.trouble is not None:
                self._last[share] = scan
            else:
                before.unreadable = scan.unreadable
            if isinstance(scan.trouble, RecordUnwritable):
                self._mirror_missing.add(share)
            mirror_is_back = scan.trouble is None and share in self._mirror_missing
            if mirror_is_back:
                self._mirror_missing.remove(share)
        match scan.trouble:
            case RecordUnwritable():
                self._conditions.begin("sidecar_unwritable", _mirror(share), str(scan.trouble))
                return
            case ShareTrouble():
                self._conditions.begin("share_gone", share.root, str(scan.trouble))
                return
        self._conditions.end("share_gone", share.root)
        if scan.unwatched:
            self._conditions.begin("watch_limit", share.root, scan.unwatched)
        else:
            self._conditions.end("watch_limit", share.root)
        if mirror_is_back:
            self._conditions.end("sidecar_unwritable", _mirror(share))
        log = self._log.bind(share=share.root)
        for folder, why in scan.unreadable.items():
            if folder not in known:
                log.error("failed", path=folder or ".", reason="unreadable", found=why)
        # The first scan is news; of the later ones only those that found something.
        say = log.info if before is None or (scan.full and scan.candidates) else log.debug
        say(
            "rescan",
            candidates=scan.candidates,
            recorded=scan.recorded,
            rejected=scan.rejected,
            seconds=round(scan.seconds, 3),
        )

    def to_do(self, shares: int) -> tuple[int, int] | None:
        """Files and bytes that the first scans found to do; None until all `shares` are scanned."""
        scans = self._scans
        if len(scans) < shares:
            return None
        return sum(scan.candidates for scan in scans), sum(scan.bytes for scan in scans)

    @property
    def _scans(self) -> tuple[ScanSummary, ...]:
        with self._lock:
            return tuple(self._last.values())

    @property
    def all_well(self) -> bool:
        """Whether every share was scanned whole and has nothing rejected."""
        return all(
            scan.trouble is None and not scan.unreadable and not scan.rejected
            for scan in self._scans
        )

    @property
    def recorded(self) -> int:
        """Files that had a current sidecar at the last scans."""
        return sum(scan.recorded for scan in self._scans)

    @property
    def rejected(self) -> int:
        """Files that had a current note at the last scans."""
        return sum(scan.rejected for scan in self._scans)


def _mirror(share: Share) -> str:
    return share.mirror or share.root
