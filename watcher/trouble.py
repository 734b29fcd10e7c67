"""What a failure means: whose it is, what is said, and when the file is tried again.

The one policy of trouble. What is the service's, the share's or the set-up's fault is a condition
and blames no file; a file that keeps failing while others pass waits for itself alone.
"""

import random
import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from watcher.backlog import Backlog
from watcher.backoff import LONGEST_SECONDS, delay
from watcher.candidate import Candidate
from watcher.conditions import Conditions, Name
from watcher.errors import (
    AccessDenied,
    CertificateRefused,
    FileUnreadable,
    LoginNeeded,
    RecordsGone,
    RecordUnwritable,
    ServiceTrouble,
    ShareGone,
)
from watcher.gates import Gates
from watcher.tally import Tally
from watcher.tree import split

HELD_SECONDS = 60.0
"""Longest wait of a file for what may not be its own fault."""

STUCK_SECONDS = 300.0
"""How long `run --once` waits for the service when nothing at all gets through."""

ATTEMPTS_ONCE = 3
"""How often `run --once` tries a file that fails for another reason."""


class Trouble:
    """Called from every worker; holds only when any file last got through.

    `patient` is the daemon, which gives nothing up; `run --once` has an end. `signed_in` tells
    whether there is a login: an upload may end after a logout.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        gates: Gates,
        log: FilteringBoundLogger,
        conditions: Conditions,
        tally: Tally,
        patient: bool,
        signed_in: Callable[[], bool] = lambda: True,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backlog = backlog
        self._gates = gates
        self._log = log
        self._conditions = conditions
        self._tally = tally
        self._patient = patient
        self._signed_in = signed_in
        self._chance = chance
        self._clock = clock
        self._last_answer = clock()

    def service_answered(self, candidate: Candidate) -> None:
        """The service answered this candidate well: trouble with it is over."""
        self._last_answer = self._clock()
        self._conditions.end("access_denied", candidate.share.organization)
        holds, closed = self._conditions.holds, self._gates.any_closed
        if holds("service_unavailable") and not closed():
            self._conditions.end("service_unavailable")
        if holds("login_needed") and not closed() and self._signed_in():
            self._conditions.end("login_needed")

    def is_final(self, candidate: Candidate, error: Exception) -> bool:
        """Deals with a failure. True if the file is given up; else the backlog has it again."""
        match error:
            case CertificateRefused():  # no other file would get further
                return self._all_held(candidate, "service_unavailable", "", error)
            case ServiceTrouble():
                return self._service_failed(candidate, error)
            case LoginNeeded():
                return self._all_held(candidate, "login_needed", "", error)
            case AccessDenied():
                organization = candidate.share.organization
                return self._all_held(candidate, "access_denied", organization, error)
        self._probe_is_unused(candidate)
        match error:
            case ShareGone():
                return self._share_gone(candidate, error)
            case RecordsGone() if candidate.share.mirror is None:
                return self._share_gone(candidate, error)
            case RecordUnwritable():
                self._conditions.begin("sidecar_unwritable", record_folder(candidate), str(error))
                return self._try_again(candidate, "sidecar_unwritable", error, longest=HELD_SECONDS)
            case FileUnreadable():
                self._say_first(candidate, "unreadable", str(error))
                return self._try_again(candidate, "unreadable", error)
            case _:
                self._say_first(candidate, "internal_error", f"{type(error).__name__}: {error}")
                self._log.debug("internal_error", exc_info=error)
                return self._try_again(candidate, "internal_error", error)

    # The service

    def _service_failed(self, candidate: Candidate, error: ServiceTrouble) -> bool:
        gate, probe = self._gates.of(candidate), candidate.probe
        candidate.probe = False
        gate.failed(
            (candidate.share, candidate.path),
            probe=probe,
            sending=candidate.sent is not None,
            at_least=error.retry_after,
        )
        if gate.state == "closed":
            self._conditions.begin("service_unavailable", "", str(error))
            self._backlog.hold(candidate, candidate.share.organization, failed=True)
            return False
        if candidate.passes is None:
            candidate.passes = gate.passes
        if candidate.attempts == 0:
            self._say(candidate).info("deferred", reason="service_trouble", found=str(error))
        if not self._patient and self._clock() - self._last_answer > STUCK_SECONDS:
            self._say(candidate).error("failed", reason="service_trouble", found=str(error))
            return True
        others_pass = gate.passes > candidate.passes
        self._retry(
            candidate,
            at_least=error.retry_after or 0.0,
            longest=LONGEST_SECONDS if others_pass else HELD_SECONDS,
        )
        return False

    def _all_held(self, candidate: Candidate, name: Name, place: str, error: Exception) -> bool:
        """A token, a right or a trusted certificate is missing: no other file of this organization
        gets further."""
        probe, candidate.probe = candidate.probe, False
        self._gates.of(candidate).shut(probe=probe)
        self._conditions.begin(name, place, str(error))
        self._backlog.hold(candidate, candidate.share.organization, failed=True)
        return False

    def _probe_is_unused(self, candidate: Candidate) -> None:
        if candidate.probe:
            candidate.probe = False
            self._gates.of(candidate).unused()

    # The share

    def _share_gone(self, candidate: Candidate, error: Exception) -> bool:
        self._conditions.begin("share_gone", candidate.share.root, str(error))
        if not self._patient:
            self._say(candidate).error("failed", reason="share_gone", found=str(error))
            return True
        # The next scan finds the file again, if the share comes back with it.
        self._backlog.finish(candidate)
        return False

    # The file

    def _try_again(
        self, candidate: Candidate, reason: str, error: Exception, longest: float = LONGEST_SECONDS
    ) -> bool:
        if not self._patient and candidate.attempts + 1 >= ATTEMPTS_ONCE:
            if reason == "sidecar_unwritable":
                self._say(candidate).error("failed", reason=reason, found=str(error))
            return True
        self._retry(candidate, longest=longest)
        return False

    def _retry(self, candidate: Candidate, *, longest: float, at_least: float = 0.0) -> None:
        seconds = delay(candidate.attempts, random=self._chance, longest=longest, at_least=at_least)
        self._backlog.retry(candidate, seconds)

    def _say_first(self, candidate: Candidate, reason: str, found: str) -> None:
        if candidate.attempts == 0:
            self._say(candidate).error("failed", reason=reason, found=found)
            if self._patient:  # it is not given up, so it comes to no other end that counts
                self._tally.add("failed")

    def _say(self, candidate: Candidate) -> FilteringBoundLogger:
        return self._log.bind(share=candidate.share.root, path=candidate.path)


def record_folder(candidate: Candidate) -> str:
    """The folder where the record of this candidate is written, for people."""
    share = candidate.share
    folder = split(candidate.path)[0]
    return f"{share.mirror or share.root}/{folder}".rstrip("/")
