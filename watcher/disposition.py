"""What an outcome means: for the log, the tally, the gate, and what happens to the candidate next.

Each file's end state is one event. What a failure means is in `trouble`.
"""

import time

from structlog.typing import FilteringBoundLogger

from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.conditions import Conditions
from watcher.gates import Gates
from watcher.inspection import Image
from watcher.logs import internal_error
from watcher.outcomes import (
    AlreadyKnown,
    Changed,
    Gone,
    Held,
    NotSettled,
    Outcome,
    Rehearsed,
    Rejected,
    Stamp,
    Standing,
    Uploaded,
)
from watcher.recent import Recent
from watcher.share import Share
from watcher.tally import LastUpload, Tally
from watcher.trouble import Trouble, record_folder

REMEMBERED = 10_000
"""Rejections without a note that are remembered as told; more are told again."""

LAST_RESORT_SECONDS = 60.0
"""When a candidate is tried again whose failure could not be judged."""


class Disposition:
    """Implements `pool.Verdicts`; called from every worker."""

    def __init__(
        self,
        *,
        backlog: Backlog,
        gates: Gates,
        log: FilteringBoundLogger,
        conditions: Conditions,
        tally: Tally,
        trouble: Trouble,
    ) -> None:
        self._backlog = backlog
        self._gates = gates
        self._log = log
        self._conditions = conditions
        self._tally = tally
        self._trouble = trouble
        self._told = Recent[tuple[Share, str], tuple[Stamp | None, str]](REMEMBERED)

    def outcome(self, candidate: Candidate, outcome: Outcome, seconds: float) -> None:
        """A journey ended."""
        self._tell_gate(candidate, outcome)
        match outcome:
            case Uploaded() | AlreadyKnown():
                self._arrived(candidate, outcome, seconds)
            case Rejected(noted=False, reason=reason) if self._was_told(candidate, reason):
                self._backlog.finish(candidate)
            case Rejected(reason, found):
                self._say(candidate).warning("rejected", reason=reason, found=found)
                self._end(candidate, "rejected")
            case Standing(rejected):
                self._end(candidate, "standing_rejected" if rejected else "standing")
            case NotSettled(reason, wait):
                self._deferred(candidate, reason)
                self._backlog.later(candidate, wait)
            case Held():
                self._backlog.hold(candidate, candidate.share.organization)
            case Changed():
                self._backlog.later(candidate, 0)
            case Gone():
                self._backlog.finish(candidate)
            case Rehearsed(would, size):
                self._rehearsed(candidate, would, size)

    def failure(self, candidate: Candidate, error: Exception) -> None:
        """A journey failed."""
        try:
            if self._trouble.is_final(candidate, error):
                self._end(candidate, "failed")
        except Exception as another:  # noqa: BLE001 - it is logged, and may at most cost time
            internal_error(self._say(candidate), another)
            self._backlog.retry(candidate, LAST_RESORT_SECONDS)

    def _tell_gate(self, candidate: Candidate, outcome: Outcome) -> None:
        """What this says about the service."""
        gate, probe = self._gates.of(candidate), candidate.probe
        candidate.probe = False
        match outcome:
            case Uploaded() | AlreadyKnown(how="asked") | Rejected(reason="refused_by_service"):
                gate.passed(probe=probe)
                self._trouble.service_answered(candidate)
            case _ if probe:
                gate.unused()

    def _was_told(self, candidate: Candidate, reason: str) -> bool:
        """Whether a rejection that has no note, which every scan finds anew, was told already."""
        now = (candidate.seen.stamp if candidate.seen else None, reason)
        return self._told.put((candidate.share, candidate.path), now) == now

    def _arrived(
        self, candidate: Candidate, outcome: Uploaded | AlreadyKnown, seconds: float
    ) -> None:
        self._conditions.end("sidecar_unwritable", record_folder(candidate))
        details = {} if outcome.image is None else _of(outcome.image)
        if isinstance(outcome, AlreadyKnown) and outcome.how != "asked":
            details["reason"] = outcome.how
        kind = "already_known"
        if isinstance(outcome, Uploaded):
            kind = "uploaded"
            self._tally.last_upload = LastUpload(candidate.share.root, candidate.path, time.time())
        # First it leaves the backlog: whoever reads the event and renames the file at once has
        # renamed one with which all is done.
        self._end(candidate, kind, size=outcome.size)
        self._log.info(
            kind,
            share=candidate.share.root,
            path=candidate.path,
            sha256=outcome.sha256,
            bytes=outcome.size,
            seconds=round(seconds, 3),
            **details,
        )

    def _rehearsed(self, candidate: Candidate, would: Image | Rejected, size: int) -> None:
        match would:
            case Rejected(reason, found):
                self._say(candidate).info("would_reject", reason=reason, found=found)
                self._end(candidate, "rejected")
            case Image():
                self._say(candidate).info("would_upload", bytes=size, **_of(would))
                self._end(candidate, "uploaded", size=size)

    def _end(self, candidate: Candidate, kind: str, *, size: int = 0) -> None:
        self._tally.add(kind, size=size)
        self._backlog.finish(candidate)

    def _deferred(self, candidate: Candidate, reason: str) -> None:
        """Said once for what may last; a quiet time of seconds is the normal course."""
        if reason in {"being_written", "incomplete"} and candidate.said != reason:
            candidate.said = reason
            self._say(candidate).info("deferred", reason=reason)

    def _say(self, candidate: Candidate) -> FilteringBoundLogger:
        return self._log.bind(share=candidate.share.root, path=candidate.path)


def _of(image: Image) -> dict[str, object]:
    details: dict[str, object] = {
        "format": image.format,
        "width": image.width,
        "height": image.height,
    }
    if image.will_be_scaled_down:
        details["will_be_scaled_down"] = True
    return details
