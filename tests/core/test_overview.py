"""Whether work moves, and how fast."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from queue import Queue

import pytest

from tests.core.factories import PATIENCE, Clock, Log, a_share
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.conditions import Conditions
from watcher.gates import Gates
from watcher.hangs import Hangs
from watcher.outcomes import Gone, Outcome
from watcher.overview import Overview, in_words
from watcher.pool import Pool
from watcher.scans import ScanLog
from watcher.share import Share
from watcher.shift import Shift
from watcher.tally import Tally


class Nobody:
    """Verdicts of a pool that is never started."""

    def outcome(self, candidate: Candidate, outcome: Outcome, seconds: float) -> None: ...

    def failure(self, candidate: Candidate, error: Exception) -> None: ...


class Work:
    """A shift without shares, whose one worker keeps what it takes until it is let go."""

    def __init__(self, share: Share, clock: Clock) -> None:
        self.share, self.log = share, Log()
        self.taken: Queue[Candidate] = Queue()
        self.let_go = threading.Event()
        conditions = self.conditions = Conditions(self.log.logger, wall=clock.wall)
        self.backlog = Backlog(clock=clock)
        self.pool = Pool(
            1,
            backlog=self.backlog,
            ways=lambda: nullcontext(self.way),
            verdicts=Nobody(),
        )
        self.tally = Tally()
        self.shift = Shift(
            intakes=(),
            backlog=self.backlog,
            gates=Gates(self.backlog),
            conditions=conditions,
            tally=self.tally,
            scans=ScanLog(self.log.logger, conditions),
            pool=self.pool,
            hangs=Hangs(
                backlog=self.backlog,
                pool=self.pool,
                conditions=conditions,
                clock=clock,
                log=self.log.logger,
                file_seconds=PATIENCE,
            ),
            log=self.log.logger,
            once=False,
            monitor=nullcontext(),
            still_seconds=60,
        )

    def way(self, candidate: Candidate) -> Outcome:
        self.taken.put(candidate)
        self.let_go.wait(PATIENCE)
        return Gone()

    def comes(self, path: str) -> None:
        assert self.backlog.put(self.share, path, Priority.BACKLOG, timeout=0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(tmp_path: Path, clock: Clock) -> Work:
    return Work(a_share(tmp_path / "share"), clock)


@pytest.fixture
def overview(clock: Clock) -> Overview:
    return Overview(clock=clock, wall=clock.wall)


def moving(overview: Overview, work: Work) -> bool:
    return overview.look(work.shift).moving


def test_without_work_it_is_well_however_long(overview: Overview, work: Work, clock: Clock) -> None:
    for _ in range(5):
        clock.advance(1_000)
        assert moving(overview, work)


def test_work_that_nobody_takes_is_stuck_after_a_while(
    overview: Overview, work: Work, clock: Clock
) -> None:
    work.comes("a.jpg")
    assert moving(overview, work)
    clock.advance(59)
    assert moving(overview, work)
    clock.advance(1)
    assert not moving(overview, work)
    assert in_words(overview.latest) == (
        "0 shares, 0 uploaded, 0 rejected since the start, 1 waiting; nothing moves"
    )
    work.pool.turns += 1  # somebody took something
    assert moving(overview, work)


def test_a_file_that_takes_long_to_be_read_is_well_while_its_bytes_come(
    overview: Overview, work: Work, clock: Clock
) -> None:
    work.comes("a.jpg")
    work.pool.start()
    candidate = work.taken.get(timeout=PATIENCE)
    for read in range(100, 1_000, 100):
        candidate.on_read(read)
        clock.advance(59)
        assert moving(overview, work)
    clock.advance(60)
    assert not moving(overview, work)
    work.let_go.set()
    work.shift.stop_taking()
    assert work.shift.join(PATIENCE) == 0


def test_work_that_is_held_or_waits_for_its_time_is_not_stuck(
    overview: Overview, work: Work, clock: Clock
) -> None:
    work.comes("held.jpg")
    work.comes("later.jpg")
    held, later = work.backlog.take(), work.backlog.take()
    assert held is not None
    assert later is not None
    work.backlog.hold(held, "")
    work.backlog.later(later, 1e9)
    clock.advance(1_000)
    assert moving(overview, work)
    clock.advance(1_000)
    assert moving(overview, work)


def test_a_long_upload_is_well_while_its_bytes_move(
    overview: Overview, work: Work, clock: Clock
) -> None:
    work.comes("a.jpg")
    work.pool.start()
    candidate = work.taken.get(timeout=PATIENCE)
    candidate.size = 1_000_000
    for sent in range(100, 1_000, 100):
        candidate.on_sent(sent)
        clock.advance(59)
        assert moving(overview, work)
    (flight,) = overview.latest.flights
    assert (flight.path, flight.step) == ("a.jpg", "sending")
    assert (flight.sent, flight.size) == (900, 1_000_000)
    clock.advance(60)
    assert not moving(overview, work)
    work.let_go.set()
    work.shift.stop_taking()
    assert work.shift.join(PATIENCE) == 0
    assert moving(overview, work)


def each(times: int, deed: Callable[[], object]) -> None:
    for _ in range(times):
        deed()


def test_rates_are_those_of_the_last_minute(overview: Overview, work: Work, clock: Clock) -> None:
    for _ in range(60):
        each(2, lambda: work.tally.add("uploaded", size=1_000))
        clock.advance(1)
        now = overview.look(work.shift)
    assert now.files_per_second == pytest.approx(2)
    assert now.bytes_per_second == pytest.approx(2_000)
    for _ in range(30):
        clock.advance(1)
        now = overview.look(work.shift)
    assert now.files_per_second == pytest.approx(1)
    clock.advance(61)
    assert overview.look(work.shift).files_per_second == 0


def test_conditions_are_told_with_their_beginning(
    overview: Overview, work: Work, clock: Clock
) -> None:
    since = clock.wall()
    work.conditions.begin("login_needed", "", "no token")
    clock.advance(100)
    work.conditions.begin("share_gone", "/srv", "it is not there")
    now = overview.look(work.shift)
    assert [(held.name, held.since) for held in now.conditions] == [
        ("login_needed", since),
        ("share_gone", since + 100),
    ]
    assert "login" in now.conditions[0].remedy
    assert in_words(now).endswith("; login_needed, share_gone")
