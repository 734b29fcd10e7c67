"""What an outcome or a failure means: for the log, for the conditions, and what happens next.

The one policy of trouble. Each file's end state is one event; trouble of the whole is a condition
and no file's fault.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Literal

from structlog.typing import FilteringBoundLogger

from watcher.backlog import Backlog, Candidate
from watcher.backoff import LONGEST_SECONDS, delay
from watcher.conditions import Conditions
from watcher.errors import (
    AccessDenied,
    FileUnreadable,
    LoginNeeded,
    RecordUnwritable,
    ServiceTrouble,
    ShareGone,
)
from watcher.inspection import Image
from watcher.outcomes import (
    AlreadyKnown,
    Changed,
    Gone,
    NotSettled,
    Outcome,
    Rehearsed,
    Rejected,
    Standing,
    Uploaded,
)
from watcher.tally import Tally
from watcher.tree import split

HELD_SECONDS = 60.0
"""Longest wait of a file that a condition holds: to ask again costs one request and no blame."""

IN_A_ROW = 3
"""Files in a row that the service fails before it counts as the service and not as the file."""

GiveUp = Callable[[Candidate, Exception, float], bool]
"""Whether a file that failed is given up; told the seconds since any file last succeeded."""


def never(_candidate: Candidate, _error: Exception, _stuck_seconds: float) -> bool:
    """The daemon's patience: nothing is given up."""
    return False


STUCK_SECONDS = 300.0


def when_stuck(candidate: Candidate, error: Exception, stuck_seconds: float) -> bool:
    """The patience of `run --once`: trouble of the service is waited out as long as anything still
    gets through, and five minutes more; for anything else three attempts."""
    if isinstance(error, ServiceTrouble):
        return stuck_seconds > STUCK_SECONDS
    return candidate.attempts >= 2


class Disposition:
    """Implements `pool.Verdicts`; called from every worker. Its lock guards the run of troubles."""

    def __init__(
        self,
        *,
        backlog: Backlog,
        log: FilteringBoundLogger,
        conditions: Conditions,
        tally: Tally,
        give_up: GiveUp,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backlog = backlog
        self._log = log
        self._conditions = conditions
        self._tally = tally
        self._give_up = give_up
        self._chance = chance
        self._clock = clock
        self._lock = threading.Lock()
        self._troubles = 0
        self._last_success = clock()

    def outcome(self, candidate: Candidate, outcome: Outcome, seconds: float) -> None:
        """A journey ended."""
        match outcome:
            case Uploaded() | AlreadyKnown():
                self._arrived(candidate, outcome, seconds)
            case Rejected(reason, found):
                self._say(candidate).warning("rejected", reason=reason, found=found)
                self._end(candidate, "rejected")
            case Standing(rejected):
                self._end(candidate, "standing_rejected" if rejected else "standing")
            case NotSettled(reason, wait):
                self._deferred(candidate, reason)
                self._backlog.later(candidate, wait)
            case Changed():
                self._backlog.later(candidate, 0)
            case Gone():
                self._backlog.finish(candidate)
            case Rehearsed(would, size):
                self._rehearsed(candidate, would, size)

    def failure(self, candidate: Candidate, error: Exception) -> None:
        """A journey failed."""
        longest, at_least = HELD_SECONDS, None
        match error:
            case ServiceTrouble():
                longest, at_least = LONGEST_SECONDS, error.retry_after
                self._service_failed(candidate, error)
            case LoginNeeded():
                self._conditions.begin("login_needed", "", str(error))
            case AccessDenied():
                self._conditions.begin("access_denied", candidate.share.organization, str(error))
            case RecordUnwritable():
                self._conditions.begin("sidecar_unwritable", _folder(candidate), str(error))
            case ShareGone():
                # The next scan finds the file again, if the share comes back with it.
                self._conditions.begin("share_gone", candidate.share.root, str(error))
                self._backlog.finish(candidate)
                return
            case FileUnreadable():
                longest = LONGEST_SECONDS
                self._failed_once(candidate, "unreadable", str(error))
            case _:
                longest = LONGEST_SECONDS
                self._failed_once(candidate, "internal_error", f"{type(error).__name__}: {error}")
                self._log.debug("internal_error", exc_info=error)
        if self._give_up(candidate, error, self._clock() - self._last_success):
            if isinstance(error, ServiceTrouble | RecordUnwritable):
                self._say(candidate).error("failed", reason=_code(error), found=str(error))
            self._end(candidate, "failed")
            return
        self._backlog.retry(
            candidate,
            delay(candidate.attempts, random=self._chance, longest=longest, at_least=at_least),
        )

    # Ends

    def _arrived(
        self, candidate: Candidate, outcome: Uploaded | AlreadyKnown, seconds: float
    ) -> None:
        restamped = isinstance(outcome, AlreadyKnown) and outcome.restamped
        if not restamped:
            self._service_answered()
        self._conditions.end("sidecar_unwritable", _folder(candidate))
        kind: Literal["uploaded", "already_known"] = (
            "uploaded" if isinstance(outcome, Uploaded) else "already_known"
        )
        details = {"reason": "sidecar_restamped"} if restamped else {}
        self._say(candidate).info(
            kind,
            sha256=outcome.sha256,
            bytes=outcome.size,
            seconds=round(seconds, 3),
            **_of(outcome.image),
            **details,
        )
        self._end(candidate, kind, size=outcome.size)

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

    # Trouble

    def _service_answered(self) -> None:
        with self._lock:
            self._troubles = 0
            self._last_success = self._clock()
        for name in ("service_unavailable", "login_needed"):
            self._conditions.end(name)

    def _service_failed(self, candidate: Candidate, error: Exception) -> None:
        with self._lock:
            self._troubles += 1
            in_a_row = self._troubles
        if in_a_row >= IN_A_ROW:
            self._conditions.begin("service_unavailable", "", str(error))
        if not self._conditions.holds("service_unavailable"):
            self._say(candidate).info("deferred", reason="service_trouble", found=str(error))

    def _failed_once(self, candidate: Candidate, reason: str, found: str) -> None:
        if candidate.attempts == 0:
            self._say(candidate).error("failed", reason=reason, found=found)

    def _deferred(self, candidate: Candidate, reason: str) -> None:
        """Said once for what may last; a quiet time of seconds is the normal course."""
        if reason in {"being_written", "incomplete"} and candidate.said != reason:
            candidate.said = reason
            self._say(candidate).info("deferred", reason=reason)

    def _say(self, candidate: Candidate) -> FilteringBoundLogger:
        return self._log.bind(share=candidate.share.root, path=candidate.path)


def _folder(candidate: Candidate) -> str:
    share = candidate.share
    folder = split(candidate.path)[0]
    return f"{share.mirror or share.root}/{folder}".rstrip("/")


def _of(image: Image) -> dict[str, object]:
    details: dict[str, object] = {
        "format": image.format,
        "width": image.width,
        "height": image.height,
    }
    if image.will_be_scaled_down:
        details["will_be_scaled_down"] = True
    return details


def _code(error: Exception) -> str:
    return "service_trouble" if isinstance(error, ServiceTrouble) else "sidecar_unwritable"
