"""Shares that do not answer: said once, waited for by nobody, scanned when they answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.factories import (
    PATIENCE,
    Clock,
    Log,
    a_share,
    ended,
    in_thread,
    wait_until,
)
from watcher import hangs
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Hashed, Priority
from watcher.conditions import Conditions
from watcher.errors import ShareGone
from watcher.hangs import HUNG_SECONDS, Hangs
from watcher.inspection import Image
from watcher.intake import Intake
from watcher.outcomes import Gone, Outcome, Stamp
from watcher.places import Places
from watcher.pool import Pool, Way
from watcher.share import LARGE

FILE_SECONDS = 120.0


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
            backlog=self.backlog,
            pool=self.pool,
            conditions=self.conditions,
            clock=self.clock,
            log=self.log.logger,
            file_seconds=FILE_SECONDS,
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
            self.held = candidate
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

    def lets_time_go(self, seconds: float) -> None:
        """Time in which both shares come past, and the worker has what it has."""
        self.clock.advance(seconds)
        self.dead.beat = self.well.beat = self.clock()
        self.look()
        self.hangs.look_at_files()

    def answers(self) -> None:
        self.dead.beat = self.clock()
        self.look()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.let_go.set()
    desk.dead.watch.end()
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


# A share that answers, with a file that does not


@pytest.fixture
def with_a_held_file(desk: Desk) -> Desk:
    assert desk.put(desk.dead)
    desk.pool.start()
    assert desk.stuck.wait(PATIENCE)
    assert desk.put(desk.well)
    desk.lets_time_go(0)
    return desk


def test_a_file_that_cannot_be_read_holds_its_worker_only_so_long(with_a_held_file: Desk) -> None:
    desk = with_a_held_file
    desk.lets_time_go(FILE_SECONDS - 1)
    assert not desk.log.events
    desk.lets_time_go(1)
    assert desk.done.wait(PATIENCE)  # the other one
    (entry,) = desk.log.entries
    assert (entry["event"], entry["reason"], entry["path"]) == ("deferred", "unreadable", "a.jpg")
    for _ in range(3):
        desk.lets_time_go(FILE_SECONDS)
    assert len(desk.log.entries) == 1
    assert not desk.conditions.active


def test_nobody_waits_for_it_and_it_goes_on_when_it_can_be_read(with_a_held_file: Desk) -> None:
    desk = with_a_held_file
    desk.lets_time_go(FILE_SECONDS)
    assert desk.done.wait(PATIENCE)
    wait_until(lambda: not desk.backlog.under_way())
    assert not desk.pool.flights()
    assert len(desk.backlog) == desk.hangs.held == 1
    desk.let_go.set()
    wait_until(lambda: len(desk.backlog) == 0)


def test_who_was_replaced_and_is_let_go_counts_no_more(desk: Desk) -> None:
    assert desk.put(desk.dead)
    desk.pool.start()
    assert desk.stuck.wait(PATIENCE)
    desk.silence(HUNG_SECONDS + 1)
    assert len(desk.backlog) == desk.hangs.held == 1
    desk.let_go.set()

    def none_is_held() -> bool:
        desk.hangs.look_at_files()
        return not desk.hangs.held

    wait_until(none_is_held)
    assert len(desk.backlog) == 0


def test_one_that_gets_on_however_slowly_keeps_its_worker(with_a_held_file: Desk) -> None:
    desk = with_a_held_file
    for _ in range(5):
        desk.held.on_read(1)
        desk.lets_time_go(FILE_SECONDS - 1)
    for sent in range(5):
        desk.held.on_sent(sent)
        desk.lets_time_go(FILE_SECONDS - 1)
    assert not desk.log.events


def test_one_that_waits_for_the_service_keeps_its_worker(with_a_held_file: Desk) -> None:
    desk = with_a_held_file
    desk.held.hashed = Hashed(Stamp(1, 1, 1, 1, 1), Image("jpeg", 1, 1), "0" * 64)
    for _ in range(5):
        desk.lets_time_go(FILE_SECONDS)
    assert not desk.log.events
    desk.held.on_sent(5)  # and then it does not get on
    for _ in range(2):
        desk.lets_time_go(FILE_SECONDS)
    assert desk.log.events == ["deferred"]


def test_a_share_that_does_not_give_out_many_of_its_files_hangs(
    with_a_held_file: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = with_a_held_file
    monkeypatch.setattr(hangs, "MOST_HELD", 1)
    desk.lets_time_go(FILE_SECONDS)
    assert desk.done.wait(PATIENCE)
    wait_until(lambda: not desk.pool.busy())  # or it would count as stuck, too
    for _ in range(2):
        desk.lets_time_go(FILE_SECONDS)
    assert desk.log.events == ["deferred", "condition_raised"]
    assert desk.log.entries[1]["reason"] == "it does not give out 1 of its files"
    assert desk.hangs.hung(desk.dead)
    assert not desk.put(desk.dead, "b.jpg")
    assert desk.put(desk.well, "b.jpg")
    desk.let_go.set()

    def answers() -> bool:
        desk.lets_time_go(0)
        return not desk.hangs.hung(desk.dead)

    wait_until(answers)
    assert desk.log.events[2:] == ["condition_cleared"]
    assert desk.dead.rescans == 1
    assert desk.put(desk.dead, "b.jpg")


def test_one_whose_server_takes_its_time_to_say_that_it_is_gone_hangs_until_it_is_back(
    desk: Desk,
) -> None:
    root = Path(desk.dead.share.root)
    for _ in range(3):
        desk.silence(HUNG_SECONDS + 1)
        root.rename(root.with_name("elsewhere"))
        with pytest.raises(ShareGone):
            desk.dead.watch.look(desk.clock())
        desk.answers()
        assert desk.hangs.hung(desk.dead)
        root.with_name("elsewhere").rename(root)
    assert desk.log.events == ["condition_raised"]
    desk.dead.watch.look(desk.clock())
    desk.answers()
    assert not desk.hangs.hung(desk.dead)
    assert desk.dead.rescans == 1


# Under a new configuration


def test_one_that_hung_before_hangs_until_it_is_seen_to_answer(desk: Desk) -> None:
    share = desk.dead.share
    desk.conditions.begin("share_hung", share.root, "no answer for 10 seconds")
    desk.hangs.inherit(desk.dead)
    desk.look()
    assert desk.conditions.holds("share_hung", share.root)
    assert desk.hangs.hung(desk.dead)
    for _ in range(2):
        desk.dead.watch.look(desk.clock())
        desk.look()
    assert not desk.hangs.hung(desk.dead)
    assert desk.log.events == ["condition_raised", "condition_cleared"]


def test_one_that_hung_before_and_hangs_still_is_not_said_again(desk: Desk) -> None:
    share = desk.dead.share
    desk.conditions.begin("share_hung", share.root, "no answer for 10 seconds")
    desk.hangs.inherit(desk.dead)
    desk.silence(HUNG_SECONDS + 1)
    assert desk.log.events == ["condition_raised"]
    desk.answers()
    assert desk.log.events == ["condition_raised", "condition_cleared"]
