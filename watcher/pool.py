"""The pool of worker threads. It knows no HTTP and no images: it moves candidates.

Each worker has its own journey, made in its own thread and closed there, because a journey owns a
connection. A candidate that fails costs a log line, never a thread.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from watcher.backlog import Backlog, Candidate
from watcher.outcomes import Outcome

LAST_RESORT_SECONDS = 60.0
"""When a candidate is tried again whose failure could not even be told."""

Way = Callable[[Candidate], Outcome]
"""What a worker does with a candidate."""


class Verdicts(Protocol):
    """Who decides what an outcome or a failure means. Called from every worker."""

    def outcome(self, candidate: Candidate, outcome: Outcome, seconds: float) -> None:
        """A journey ended."""
        ...

    def failure(self, candidate: Candidate, error: Exception) -> None:
        """A journey failed."""
        ...


class Pool:
    """`count` threads between the backlog and the verdicts. Owned by the thread that starts it."""

    def __init__(
        self,
        count: int,
        *,
        backlog: Backlog,
        ways: Callable[[], AbstractContextManager[Way]],
        verdicts: Verdicts,
    ) -> None:
        self._backlog = backlog
        self._ways = ways
        self._verdicts = verdicts
        # Daemon threads: a worker that a dead file server holds for ever must not hold the exit.
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Starts all workers."""
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> int:
        """Waits until all workers are done, all together at most `seconds`; how many are not.

        They are done once the backlog is closed and each has finished the file it had.
        """
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        with self._ways() as way:
            while (candidate := self._backlog.take()) is not None:
                started = time.perf_counter()
                try:
                    outcome = way(candidate)
                    self._verdicts.outcome(candidate, outcome, time.perf_counter() - started)
                except Exception as error:  # noqa: BLE001 - it is logged; none may end a worker
                    self._failed(candidate, error)

    def _failed(self, candidate: Candidate, error: Exception) -> None:
        try:
            self._verdicts.failure(candidate, error)
        except Exception:  # noqa: BLE001 - a verdict that fails, too, may at most cost time
            self._backlog.retry(candidate, LAST_RESORT_SECONDS)
