"""The workers: every candidate gets its verdict, no failure ends a thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.core.factories import PATIENCE, Clock, wait_until
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.outcomes import Gone, Outcome
from watcher.pool import Pool, Way
from watcher.share import Share

SHARE = Share("/photos")
COUNT = 4


class Verdicts:
    """Finishes every candidate and remembers what it was told; the condition guards it."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._news = threading.Condition()
        self.outcomes: list[str] = []
        self.failures: list[tuple[str, str]] = []

    def outcome(self, candidate: Candidate, outcome: Outcome, seconds: float) -> None:
        assert outcome == Gone()
        assert seconds >= 0
        self._end(candidate)
        with self._news:
            self.outcomes.append(candidate.path)
            self._news.notify_all()

    def failure(self, candidate: Candidate, error: Exception) -> None:
        self._end(candidate)
        with self._news:
            self.failures.append((candidate.path, str(error)))
            self._news.notify_all()

    def _end(self, candidate: Candidate) -> None:
        self._backlog.finish(candidate)

    def came(self, count: int) -> bool:
        with self._news:
            return self._news.wait_for(
                lambda: len(self.outcomes) + len(self.failures) >= count, PATIENCE
            )


class Ways:
    """Makes each worker's way; counts those that are open, and the threads that made them."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._lock = threading.Lock()
        self.open = 0
        self.makers: list[int] = []

    @contextmanager
    def __call__(self) -> Iterator[Way]:
        with self._lock:
            self.open += 1
            self.makers.append(threading.get_ident())
        try:
            yield self._way
        finally:
            assert threading.get_ident() in self.makers
            with self._lock:
                self.open -= 1


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(clock=Clock())


def started(backlog: Backlog, way: Way) -> tuple[Pool, Verdicts, Ways]:
    verdicts, ways = Verdicts(backlog), Ways(way)
    pool = Pool(COUNT, backlog=backlog, ways=ways, verdicts=verdicts)
    pool.start()
    return pool, verdicts, ways


def put(backlog: Backlog, *paths: str) -> None:
    for path in paths:
        assert backlog.put(SHARE, path, Priority.BACKLOG, timeout=PATIENCE)


def test_every_candidate_gets_its_verdict_once(backlog: Backlog) -> None:
    pool, verdicts, _ = started(backlog, lambda _: Gone())
    paths = [f"{number}.jpg" for number in range(200)]
    put(backlog, *paths)
    assert verdicts.came(200)
    assert sorted(verdicts.outcomes) == sorted(paths)
    backlog.close()
    assert pool.join(PATIENCE) == 0


def test_a_failure_is_told_and_the_worker_goes_on(backlog: Backlog) -> None:
    def way(candidate: Candidate) -> Outcome:
        if candidate.path.startswith("bad"):
            raise KeyError(candidate.path)
        return Gone()

    pool, verdicts, _ = started(backlog, way)
    put(backlog, *[f"bad{number}" for number in range(3 * COUNT)], "good.jpg")
    assert verdicts.came(3 * COUNT + 1)
    assert verdicts.outcomes == ["good.jpg"]
    assert ("bad0", "'bad0'") in verdicts.failures
    backlog.close()
    assert pool.join(PATIENCE) == 0


def test_all_workers_work_at_the_same_time(backlog: Backlog) -> None:
    together = threading.Barrier(COUNT, timeout=PATIENCE)

    def way(_: Candidate) -> Outcome:
        together.wait()  # passes only if all are here at once
        return Gone()

    pool, verdicts, _ = started(backlog, way)
    put(backlog, *[f"{number}.jpg" for number in range(COUNT)])
    assert verdicts.came(COUNT)
    assert not verdicts.failures
    backlog.close()
    assert pool.join(PATIENCE) == 0


def test_each_worker_has_a_way_of_its_own_closed_at_its_end(backlog: Backlog) -> None:
    pool, _, ways = started(backlog, lambda _: Gone())
    backlog.close()
    assert pool.join(PATIENCE) == 0
    assert len(set(ways.makers)) == COUNT
    assert ways.open == 0


def test_a_worker_that_hangs_is_counted_and_holds_up_nothing(backlog: Backlog) -> None:
    hung, release = threading.Event(), threading.Event()

    def way(candidate: Candidate) -> Outcome:
        if candidate.path == "hang.jpg":
            hung.set()
            release.wait(PATIENCE)
        return Gone()

    pool, verdicts, ways = started(backlog, way)
    put(backlog, "hang.jpg")
    assert hung.wait(PATIENCE)
    put(backlog, "other.jpg")
    assert verdicts.came(1)
    backlog.close()
    while ways.open > 1:
        assert pool.join(0.01) >= 1
    assert pool.join(0) == 1
    release.set()
    assert pool.join(PATIENCE) == 0
    assert sorted(verdicts.outcomes) == ["hang.jpg", "other.jpg"]


def test_what_fails_when_all_has_ended_is_told_to_nobody(backlog: Backlog) -> None:
    """At the end the connections are closed under those that still send."""
    begun, closed = threading.Event(), threading.Event()

    def way(candidate: Candidate) -> Outcome:
        begun.set()
        closed.wait(PATIENCE)
        raise ConnectionError(candidate.path)

    pool, verdicts, ways = started(backlog, way)
    put(backlog, "a.jpg")
    assert begun.wait(PATIENCE)
    backlog.close()
    assert pool.join(0.01) >= 1
    closed.set()
    wait_until(lambda: ways.open == 0)
    assert not verdicts.failures


# Shares that hang

HUNG = Share("/hung")


class Holding:
    """A way on which whatever is on the share that hangs is held until it is let go."""

    def __init__(self, count: int) -> None:
        self.let_go = threading.Event()
        self._all_held = threading.Barrier(count + 1, timeout=PATIENCE)

    def __call__(self, candidate: Candidate) -> Outcome:
        if candidate.share is HUNG:
            self._all_held.wait()
            self.let_go.wait(PATIENCE)
        return Gone()

    def hold(self, backlog: Backlog) -> None:
        for number in range(self._all_held.parties - 1):
            assert backlog.put(HUNG, f"hung{number}.jpg", Priority.BACKLOG, timeout=PATIENCE)
        self._all_held.wait()


def of(share: Share) -> Callable[[Candidate], bool]:
    return lambda candidate: candidate.share is share


@pytest.mark.parametrize("stuck", [1, COUNT])
def test_workers_that_a_share_holds_are_replaced_and_end_when_they_are_let_go(
    backlog: Backlog, stuck: int
) -> None:
    way = Holding(stuck)
    pool, verdicts, ways = started(backlog, way)
    wait_until(lambda: ways.open == COUNT)
    way.hold(backlog)
    pool.replace(of(HUNG))
    wait_until(lambda: ways.open == COUNT + stuck)
    put(backlog, "other.jpg")
    assert verdicts.came(1)
    assert verdicts.outcomes == ["other.jpg"]
    way.let_go.set()
    assert verdicts.came(1 + stuck)
    wait_until(lambda: ways.open == COUNT)  # no more than there were
    backlog.close()
    assert pool.join(PATIENCE) == 0
    assert len(ways.makers) == COUNT + stuck


def test_the_end_does_not_wait_for_a_worker_that_was_replaced(backlog: Backlog) -> None:
    way = Holding(COUNT)
    pool, _, ways = started(backlog, way)
    way.hold(backlog)
    pool.replace(of(HUNG))
    backlog.close()
    assert pool.join(PATIENCE) == 0
    assert ways.open == COUNT  # the old ones are still held
    way.let_go.set()
    wait_until(lambda: ways.open == 0)


def test_a_worker_is_replaced_once_and_only_for_the_share_that_holds_it(
    backlog: Backlog,
) -> None:
    way = Holding(2)
    pool, _, ways = started(backlog, way)
    wait_until(lambda: ways.open == COUNT)
    way.hold(backlog)
    pool.replace(of(SHARE))
    assert len(ways.makers) == COUNT
    for _ in range(3):
        pool.replace(of(HUNG))
    wait_until(lambda: ways.open == COUNT + 2)
    assert len(ways.makers) == COUNT + 2
    way.let_go.set()
    backlog.close()
    assert pool.join(PATIENCE) == 0
    wait_until(lambda: ways.open == 0)
