"""Shares that do not answer: a hard-mounted server that is gone, a stuck FUSE daemon. And single
files: on a tape, or on a bad sector.

A call on such a share never returns and cannot be interrupted, so nobody waits for it: the share's
candidates are dropped, the workers that it holds are replaced, and it is scanned when it answers.
So is a worker that a single file holds; that one goes on its way when it can be read.
"""

from collections.abc import Callable
from threading import Thread

from structlog.typing import FilteringBoundLogger

from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.conditions import Conditions
from watcher.intake import Intake
from watcher.pool import Pool
from watcher.share import Share

HUNG_SECONDS = 10.0
"""After so long without an answer a share hangs. A disk that spins up can take this long: then a
condition comes and goes, no more."""

MOST_HELD = 16
"""Files of one share that may hold a worker at the same time; from then on it is the share that
hangs, and until half of them have come back."""


class Hangs:
    """Owned by the main thread, which asks now and then.

    `abandon` is told each thread that is given up and the candidate that it has, to take back what
    they hold.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        pool: Pool,
        conditions: Conditions,
        clock: Callable[[], float],
        log: FilteringBoundLogger,
        abandon: Callable[[Thread, Candidate], None] = lambda _, __: None,
        file_seconds: float,
    ) -> None:
        """After `file_seconds` without a byte read or sent, a file holds its worker: nobody waits
        so long for a byte, or for an answer of the service, but in vain."""
        self._backlog = backlog
        self._pool = pool
        self._conditions = conditions
        self._clock = clock
        self._log = log
        self._abandon = abandon
        self._file_seconds = file_seconds
        self._hung: set[Intake] = set()
        self._inherited: set[Intake] = set()
        self._progress: dict[Candidate, tuple[tuple[float, int, int], float]] = {}
        self._held: list[tuple[Thread, Share]] = []

    def inherit(self, intake: Intake) -> None:
        """It hung under the configuration before: so it does until it is seen to answer."""
        self._inherited.add(intake)

    def look(self, intake: Intake, *, beats: bool = True) -> None:
        """Whether the thread of this share's intake, if it `beats`, has come past lately, and its
        files come."""
        silent = beats and self._silent(intake)
        why = self._why(intake, silent=silent)
        if why and intake not in self._hung:
            self._begins(intake, why)
        elif not why and intake in self._hung:
            # A server that takes as long at each look to say that it is gone hangs on.
            if intake.watch.how != "gone":
                self._ends(intake)
        elif not why and intake in self._inherited and intake.watch.armed:
            self._inherited.remove(intake)
            self._conditions.end("share_hung", intake.share.root)
        if silent:  # again and again: a worker may just have been taking a candidate
            self._replace(lambda candidate: candidate.share is intake.share)

    def _silent(self, intake: Intake) -> bool:
        return self._clock() - intake.beat > HUNG_SECONDS

    def _why(self, intake: Intake, *, silent: bool) -> str:
        """In which way it hangs, or ""."""
        if silent:
            return f"no answer for {HUNG_SECONDS:.0f} seconds"
        held = sum(share is intake.share for _, share in self._held)
        if held >= MOST_HELD or (held > MOST_HELD / 2 and intake in self._hung):
            return f"it does not give out {held} of its files"
        return ""

    def look_at_files(self) -> None:
        """Whether the workers get on with what they have."""
        self._held = [held for held in self._held if held[0].is_alive()]
        now, before = self._clock(), self._progress
        self._progress = {}
        for candidate, started in self._pool.busy():
            if candidate.hashed is not None and candidate.sent is None:
                continue  # it waits for the service, or for others
            progress = (started, candidate.read, candidate.sent or 0)
            same = candidate in before and before[candidate][0] == progress
            self._progress[candidate] = before[candidate] if same else (progress, now)
        stuck = {
            candidate
            for candidate, (_, since) in self._progress.items()
            if now - since >= self._file_seconds
        }
        for candidate in self._replace(stuck.__contains__):
            self._log.warning(
                "deferred",
                share=candidate.share.root,
                path=candidate.path,
                reason="unreadable",
                found=f"nothing came of it for {self._file_seconds:.0f} seconds",
            )

    @property
    def held(self) -> int:
        """How many files in the backlog nobody waits for: their workers were replaced, and had not
        come back at the last look."""
        return len(self._held)

    def _replace(self, held: Callable[[Candidate], bool]) -> list[Candidate]:
        replaced = self._pool.replace(held)
        for thread, candidate in replaced:
            self._held.append((thread, candidate.share))
            candidate.share.abandon(thread)
            self._backlog.give_up(candidate)
            self._abandon(thread, candidate)
        return [candidate for _, candidate in replaced]

    def hung(self, intake: Intake) -> bool:
        """Whether it was found to hang, here or under the configuration before."""
        return intake in self._hung or intake in self._inherited

    def _begins(self, intake: Intake, why: str) -> None:
        self._hung.add(intake)
        self._inherited.discard(intake)
        self._conditions.begin("share_hung", intake.share.root, why)
        self._backlog.shut(intake.share)

    def _ends(self, intake: Intake) -> None:
        self._hung.remove(intake)
        self._conditions.end("share_hung", intake.share.root)
        self._backlog.reopen(intake.share)
        intake.overflowed()  # what was dropped is on the share
