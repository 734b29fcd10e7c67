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

HUNG_SECONDS = 10.0
"""A disk that spins up can take this long: then a condition comes and goes, no more."""

FILE_SECONDS = 120.0
"""Nobody waits so long for a byte, or for an answer of the service, but in vain."""

MOST_HELD = 64
"""So many replaced workers may not have come back when another one that a file holds is replaced:
each is a thread."""


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
        hung_seconds: float = HUNG_SECONDS,
        file_seconds: float = FILE_SECONDS,
    ) -> None:
        """In seconds: after so long without an answer a share hangs; after so long without a byte
        read or sent, a file holds its worker."""
        self._backlog = backlog
        self._pool = pool
        self._conditions = conditions
        self._clock = clock
        self._log = log
        self._abandon = abandon
        self._hung_seconds = hung_seconds
        self._file_seconds = file_seconds
        self._hung: set[Intake] = set()
        self._progress: dict[Candidate, tuple[tuple[float, int, int], float]] = {}
        self._held: list[Thread] = []

    def look(self, intake: Intake) -> None:
        """Whether the thread of this share's intake has come past lately."""
        silent = self._clock() - intake.beat > self._hung_seconds
        if silent and intake not in self._hung:
            self._begins(intake)
        elif not silent and intake in self._hung:
            self._ends(intake)
        if silent:  # again and again: a worker may just have been taking a candidate
            self._replace(lambda candidate: candidate.share is intake.share)

    def look_at_files(self) -> None:
        """Whether the workers get on with what they have."""
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
        self._held = [thread for thread in self._held if thread.is_alive()]
        if stuck and len(self._held) < MOST_HELD:
            for candidate in self._replace(stuck.__contains__):
                candidate.alone = True
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
            self._held.append(thread)
            candidate.share.large_reads.abandon(thread)
            self._abandon(thread, candidate)
        return [candidate for _, candidate in replaced]

    def hung(self, intake: Intake) -> bool:
        """Whether it was found to hang."""
        return intake in self._hung

    def _begins(self, intake: Intake) -> None:
        self._hung.add(intake)
        share = intake.share
        self._conditions.begin(
            "share_hung", share.root, f"no answer for {self._hung_seconds:.0f} seconds"
        )
        self._backlog.shut(share)

    def _ends(self, intake: Intake) -> None:
        self._hung.remove(intake)
        self._conditions.end("share_hung", intake.share.root)
        self._backlog.reopen(intake.share)
        intake.overflowed()  # what was dropped is on the share
