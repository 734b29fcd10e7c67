"""Counts of what became of the files, for progress, the summary and the exit code."""

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Files by end state since the start, and bytes of those that are now with the service.

    `standing` had a current sidecar already, `standing_rejected` a current note.
    """

    uploaded: int = 0
    already_known: int = 0
    rejected: int = 0
    failed: int = 0
    standing: int = 0
    standing_rejected: int = 0
    bytes: int = 0

    @property
    def done(self) -> int:
        """Files that this run brought to an end state."""
        return self.uploaded + self.already_known + self.rejected + self.failed

    @property
    def all_well(self) -> bool:
        """Whether no file is rejected or failed."""
        return not (self.rejected or self.failed or self.standing_rejected)


@dataclass(frozen=True, slots=True)
class LastUpload:
    """The newest file that the service took; `at` in epoch seconds."""

    share: str
    path: str
    at: float


class Tally:
    """Thread-safe; its lock guards the counts. `last_upload` may be set by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[str]()
        self.last_upload: LastUpload | None = None

    def add(self, kind: str, *, size: int = 0) -> None:
        """One more file of this `kind`, a field of `Counts`."""
        with self._lock:
            self._counts[kind] += 1
            self._counts["bytes"] += size

    @property
    def counts(self) -> Counts:
        """The counts at this moment."""
        with self._lock:
            return Counts(**self._counts)
