"""Shares that do not answer: a hard-mounted server that is gone, a stuck FUSE daemon.

A call on such a share never returns and cannot be interrupted, so nobody waits for it: the share's
candidates are dropped, the workers that it holds are replaced, and it is scanned when it answers.
"""

from collections.abc import Callable
from threading import Thread

from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.conditions import Conditions
from watcher.intake import Intake
from watcher.pool import Pool

HUNG_SECONDS = 10.0
"""A disk that spins up can take this long: then a condition comes and goes, no more."""


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
        abandon: Callable[[Thread, Candidate], None] = lambda _, __: None,
        hung_seconds: float = HUNG_SECONDS,
    ) -> None:
        self._backlog = backlog
        self._pool = pool
        self._conditions = conditions
        self._clock = clock
        self._abandon = abandon
        self._hung_seconds = hung_seconds
        self._hung: set[Intake] = set()

    def look(self, intake: Intake) -> None:
        """Whether the thread of this share's intake has come past lately."""
        silent = self._clock() - intake.beat > self._hung_seconds
        if silent and intake not in self._hung:
            self._begins(intake)
        elif not silent and intake in self._hung:
            self._ends(intake)
        if silent:  # again and again: a worker may just have been taking a candidate
            for thread, candidate in self._pool.replace(intake.share):
                candidate.share.large_reads.abandon(thread)
                self._abandon(thread, candidate)

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
