"""Shares that do not answer: said once, waited for by nobody, scanned when they answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.factories import PATIENCE, Clock, Log, a_share, ended, in_thread
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.conditions import Conditions
from watcher.hangs import HUNG_SECONDS, Hangs
from watcher.intake import Intake
from watcher.outcomes import Gone, Outcome
from watcher.places import Places
from watcher.pool import Pool, Way
from watcher.share import LARGE


class Counted(Intake):
    """A real intake whose thread does not run; it counts how often it is told to scan."""

    rescans = 0

    def overflowed(self) -> None:
        super().overflowed()
        self.rescans += 1


class Desk:
    """Two shares and a pool of one worker, which the first of them holds if it is to."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.log = Clock(), Log()
        self.backlog = Backlog(clock=self.clock)
        self.dead, self.well = (self.an_intake(folder / name) for name in ("dead", "well"))
        self.stuck, self.let_go, self.done = (threading.Event() for _ in range(3))
        self.pool = Pool(1, backlog=self.backlog, ways=self.ways, verdicts=self)
        self.conditions = Conditions(self.log.logger)
        self.hangs = Hangs(
            backlog=self.backlog, pool=self.pool, conditions=self.conditions, clock=self.clock
        )

    def an_intake(self, root: Path) -> Counted:
        return Counted(
            a_share(root, large_reads=Places(1)),
            backlog=self.backlog,
            report=lambda *_: None,
            settle_seconds=0,
            clock=self.clock,
        )

    @contextmanager
    def ways(self) -> Iterator[Way]:
        yield self.way

    def way(self, candidate: Candidate) -> Outcome:
        if candidate.share is self.dead.share:
            with candidate.share.readers(LARGE):
                self.stuck.set()
                self.let_go.wait(PATIENCE)
        return Gone()

    def outcome(self, candidate: Candidate, _outcome: Outcome, _seconds: float) -> None:
        self.backlog.finish(candidate)
        if candidate.share is self.well.share:
            self.done.set()

    def failure(self, _candidate: Candidate, error: Exception) -> None:
        raise AssertionError from error

    def put(self, intake: Intake, path: str = "a.jpg") -> bool:
        return self.backlog.put(intake.share, path, Priority.BACKLOG, timeout=0)

    def silence(self, seconds: float) -> None:
        """Time in which only the share that is well comes past."""
        self.clock.advance(seconds)
        self.well.beat = self.clock()
        self.look()

    def look(self) -> None:
        for intake in (self.dead, self.well):
            self.hangs.look(intake)

    def answers(self) -> None:
        self.dead.beat = self.clock()
        self.look()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.let_go.set()
    desk.backlog.close()
    assert desk.pool.join(PATIENCE) == 0


def test_a_share_that_comes_past_in_time_does_not_hang(desk: Desk) -> None:
    desk.silence(HUNG_SECONDS)
    assert not desk.hangs.hung(desk.dead)
    assert not desk.log.events
    assert desk.put(desk.dead)


def test_one_that_does_not_answer_is_said_once_and_once_when_it_answers(desk: Desk) -> None:
    for _ in range(3):
        desk.silence(HUNG_SECONDS + 1)
    assert desk.hangs.hung(desk.dead)
    assert not desk.hangs.hung(desk.well)
    assert desk.conditions.holds("share_hung", desk.dead.share.root)
    assert desk.log.events == ["condition_raised"]
    assert desk.log.entries[0]["place"] == desk.dead.share.root
    for _ in range(2):
        desk.answers()
    assert not desk.hangs.hung(desk.dead)
    assert desk.log.events == ["condition_raised", "condition_cleared"]


def test_its_candidates_are_dropped_and_found_again_by_a_scan(desk: Desk) -> None:
    assert desk.put(desk.dead)
    assert desk.put(desk.well)
    desk.silence(HUNG_SECONDS + 1)
    assert len(desk.backlog) == 1
    assert not desk.put(desk.dead)
    assert desk.put(desk.well, "b.jpg")
    assert not desk.dead.rescans
    desk.answers()
    assert desk.put(desk.dead)
    assert (desk.dead.rescans, desk.well.rescans) == (1, 0)


def test_the_other_shares_go_on_though_it_holds_every_worker(desk: Desk) -> None:
    assert desk.put(desk.dead)
    desk.pool.start()
    assert desk.stuck.wait(PATIENCE)
    assert desk.put(desk.well)
    desk.silence(HUNG_SECONDS + 1)
    assert desk.done.wait(PATIENCE)
    assert len(desk.backlog) in {1, 2}  # what is held, and perhaps what is just being finished


def test_one_that_hangs_again_is_told_again(desk: Desk) -> None:
    for _ in range(2):
        desk.silence(HUNG_SECONDS + 1)
        assert desk.hangs.hung(desk.dead)
        desk.answers()
    assert desk.log.events == ["condition_raised", "condition_cleared"] * 2
    assert desk.dead.rescans == 2


def test_who_reads_next_on_it_need_not_wait_for_the_one_that_it_holds(desk: Desk) -> None:
    def read() -> None:
        with desk.dead.share.readers(LARGE):
            pass

    assert desk.put(desk.dead)
    desk.pool.start()
    assert desk.stuck.wait(PATIENCE)
    desk.silence(HUNG_SECONDS + 1)
    assert ended(in_thread(read))
