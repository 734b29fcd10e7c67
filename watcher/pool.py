"""The pool of worker threads. It knows no HTTP and no images: it moves candidates.

Each worker has its own journey, made in its own thread and closed there, because a journey owns a
connection. A candidate that fails costs a log line, never a thread.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.outcomes import Outcome
from watcher.snapshot import Flight

Way = Callable[[Candidate], Outcome]
"""What a worker does with a candidate."""


class Verdicts(Protocol):
    """Who decides what an outcome or a failure means. Called from every worker."""

    def outcome(self, candidate: Candidate, outcome: Outcome, seconds: float) -> None:
        """A journey ended."""
        ...

    def failure(self, candidate: Candidate, error: Exception) -> None:
        """A journey failed, or its verdict. Must not raise: it would end the worker."""
        ...


class Pool:
    """`count` threads between the backlog and the verdicts. Owned by the thread that starts it; the
    lock guards who is busy with what, and `_threads`, those that are to go on."""

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
        self._count = count
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._busy: dict[threading.Thread, tuple[Candidate, float]] = {}
        self._ended = False
        self.turns = 0
        """How often a worker took or ended a candidate: what changes while work is done."""

    def start(self) -> None:
        """Starts all workers."""
        for _ in range(self._count):
            self._start_one()

    def _start_one(self) -> None:
        # Daemon threads: a worker that a dead file server holds for ever must not hold the exit.
        thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._threads.add(thread)
        thread.start()

    def replace(
        self, held: Callable[[Candidate], bool]
    ) -> list[tuple[threading.Thread, Candidate]]:
        """Puts new workers in the place of those that are held by what they have; the old ones and
        what that is. An old one ends when it is let go."""
        with self._lock:
            stuck = {
                thread: candidate for thread, candidate, _ in self._at_work() if held(candidate)
            }
            self._threads.difference_update(stuck)
            for _ in stuck:
                self._start_one()
        return list(stuck.items())

    def _at_work(self) -> list[tuple[threading.Thread, Candidate, float]]:
        """Under the lock: who has what since when, but for those that were replaced."""
        return [(thread, *held) for thread, held in self._busy.items() if thread in self._threads]

    def busy(self) -> list[tuple[Candidate, float]]:
        """What the workers have just now and since when, in steady seconds, but for those that were
        replaced."""
        with self._lock:
            return [(candidate, started) for _, candidate, started in self._at_work()]

    def flights(self) -> tuple[Flight, ...]:
        """The same for people."""
        now = time.perf_counter()
        return tuple(_flight(candidate, now - started) for candidate, started in self.busy())

    def join(self, seconds: float) -> int:
        """Waits until all workers are done, all together at most `seconds`; how many are not.

        They are done once the backlog is closed and each has finished the file it had. What fails
        later does so because all around it has ended, and nobody is told.
        """
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._ended = True
        return sum(thread.is_alive() for thread in threads)

    def _work(self) -> None:
        with self._ways() as way:
            me = threading.current_thread()
            while me in self._threads and (candidate := self._backlog.take()) is not None:
                started, candidate.sent, candidate.read = time.perf_counter(), None, 0
                with self._lock:
                    self._busy[me] = candidate, started
                    self.turns += 1
                try:
                    outcome = way(candidate)
                    self._verdicts.outcome(candidate, outcome, time.perf_counter() - started)
                except Exception as error:  # noqa: BLE001 - it is logged; none may end a worker
                    if not self._ended:
                        self._verdicts.failure(candidate, error)
                with self._lock:
                    del self._busy[me]
                    self.turns += 1


def _flight(candidate: Candidate, seconds: float) -> Flight:
    sent = candidate.sent
    return Flight(
        share=candidate.share.root,
        path=candidate.path,
        step="looking" if sent is None else "sending",
        sent=sent or 0,
        size=candidate.size,
        seconds=seconds,
        read=candidate.read,
    )
