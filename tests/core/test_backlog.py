"""The backlog against a model of it, and what only threads can show."""

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.core.factories import PATIENCE, PROPERTY, Clock, a_candidate, ended, in_thread, promote
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.share import Share

SHARES = (Share("/one"), Share("/two"))
PATHS = tuple((share, name) for share in SHARES for name in ("a.jpg", "b.jpg", "c/d.jpg"))
SECONDS = st.sampled_from([0.0, 1.0, 2.0, 5.0, 60.0])
PRIORITIES = st.sampled_from([Priority.BACKLOG, Priority.RECHECK])
CAPACITY = 2
AT_ONCE = 2


@dataclass
class Entry:
    """What the model knows of one path. It is at one of three places: ready since `turn`, waiting
    until `due`, or with a worker."""

    priority: Priority
    turn: int | None = None
    due: float | None = None
    held: Candidate | None = None
    alone: bool = False
    touched: float | None = None
    attempts: int = 0


class BacklogMachine(RuleBasedStateMachine):
    """Every step is done to the backlog and to a plain dictionary, which must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(0)
        self.backlog = Backlog(clock=self.clock, capacity=CAPACITY, at_once=AT_ONCE)
        self.model: dict[tuple[Share, str], Entry] = {}
        self.turns = 0
        self.shut: set[Share] = set()

    # What the model knows

    def ready(self) -> list[tuple[Priority, int, tuple[Share, str]]]:
        out = Counter(key[0] for key, e in self.model.items() if e.held and not e.alone)
        return sorted(
            (entry.priority, entry.turn, key)
            for key, entry in self.model.items()
            if entry.turn is not None and out[key[0]] < AT_ONCE
        )

    def held(self) -> list[Entry]:
        return [entry for entry in self.model.values() if entry.held]

    def of(self, share: Share) -> list[Entry]:
        return [entry for key, entry in self.model.items() if key[0] is share]

    def fresh(self, share: Share) -> int:
        return sum(entry.priority is Priority.FRESH for entry in self.of(share))

    def make_ready(self, entry: Entry) -> None:
        self.turns += 1
        entry.turn, entry.due, entry.held, entry.alone = self.turns, None, None, False

    def wait(self, entry: Entry, due: float) -> None:
        entry.turn, entry.due, entry.held, entry.alone = None, due, None, False

    # What can happen

    @rule(key=st.sampled_from(PATHS), settle=SECONDS)
    def something_happens_to_a_file(self, key: tuple[Share, str], settle: float) -> None:
        due = self.clock.steady + settle
        entry = self.model.get(key)
        taken = self.backlog.offer(*key, settle_seconds=settle)
        if entry is None:
            room = self.fresh(key[0]) < CAPACITY and len(self.of(key[0])) < 2 * CAPACITY
            room &= key[0] not in self.shut
            assert taken is room
            if room:
                self.model[key] = Entry(Priority.FRESH, due=due)
            return
        assert taken
        if entry.held:
            entry.touched = due if entry.touched is None else min(due, entry.touched)
        elif entry.due is not None:
            entry.due = min(due, entry.due)
        if entry.priority and not entry.attempts and self.fresh(key[0]) < CAPACITY:
            entry.priority = Priority.FRESH
            if entry.turn is not None:
                self.make_ready(entry)

    @rule(key=st.sampled_from(PATHS), priority=PRIORITIES)
    def a_scan_finds_a_file(self, key: tuple[Share, str], priority: Priority) -> None:
        scanned = len(self.of(key[0])) - self.fresh(key[0])
        room = scanned < CAPACITY and key[0] not in self.shut
        assert self.backlog.put(*key, priority, timeout=0) is (room or key in self.model)
        if room and key not in self.model:
            self.make_ready(self.model.setdefault(key, Entry(priority)))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        left = promote(self.backlog)
        waiting = [e for e in self.model.values() if e.due is not None]
        # (The order among those whose time has come at once is not promised.)
        due = {id(e) for e in waiting if e.due is not None and e.due <= self.clock.steady}
        entries = [entry for heap in self.backlog._ready._heaps.values() for entry in heap]
        for _, turn, candidate in sorted(entries):
            entry = self.model.get((candidate.share, candidate.path))
            if candidate.turn == turn and entry is not None and id(entry) in due:
                self.make_ready(entry)
        later = [e.due for e in waiting if e.due is not None]
        if later:
            assert left is not None
            assert 0 < left <= min(later) - self.clock.steady

    @precondition(lambda self: self.ready())
    @rule()
    def a_worker_takes_one(self) -> None:
        assert self.backlog.ready, "else this would wait for ever"
        candidate = self.backlog.take()
        assert candidate is not None
        priority, _, key = self.ready()[0]
        assert (candidate.share, candidate.path, candidate.priority) == (*key, priority)
        entry = self.model[key]
        assert candidate.attempts == entry.attempts
        entry.turn, entry.held, entry.touched = None, candidate, None

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def a_worker_is_replaced(self, data: st.DataObject) -> None:
        entry = self.one_held(data)
        assert entry.held
        self.backlog.give_up(entry.held)
        entry.alone = True

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def a_file_comes_to_its_end(self, data: st.DataObject) -> None:
        entry = self.one_held(data)
        assert entry.held
        self.backlog.finish(entry.held)
        if entry.touched is None or entry.held.share in self.shut:
            del self.model[entry.held.share, entry.held.path]
        else:
            entry.attempts = 0
            self.wait(entry, entry.touched)

    @precondition(lambda self: self.held())
    @rule(data=st.data(), seconds=SECONDS, failed=st.booleans())
    def a_file_is_to_be_looked_at_again(
        self, data: st.DataObject, seconds: float, *, failed: bool
    ) -> None:
        entry = self.one_held(data)
        assert entry.held
        if failed:
            self.backlog.retry(entry.held, seconds)
            entry.priority, entry.attempts = Priority.RECHECK, entry.attempts + 1
        else:
            self.backlog.later(entry.held, seconds)
        if entry.held.share in self.shut:
            del self.model[entry.held.share, entry.held.path]
            return
        due = self.clock.steady + seconds
        self.wait(entry, due if entry.touched is None else min(due, entry.touched))

    @rule(share=st.sampled_from(SHARES))
    def a_share_hangs(self, share: Share) -> None:
        self.backlog.shut(share)
        self.shut.add(share)
        self.model = {k: e for k, e in self.model.items() if k[0] is not share or e.held}

    @rule(share=st.sampled_from(SHARES))
    def a_share_answers(self, share: Share) -> None:
        self.backlog.reopen(share)
        self.shut.discard(share)

    def one_held(self, data: st.DataObject) -> Entry:
        held = self.held()
        return held[data.draw(st.integers(0, len(held) - 1))]

    # What always holds

    @initialize()
    def begins_empty(self) -> None:
        assert not len(self.backlog)

    @invariant()
    def it_knows_whether_one_can_be_taken(self) -> None:
        assert self.backlog.ready == bool(self.ready())
        waited_for = any(
            entry.held and not entry.alone and key[0] not in self.shut
            for key, entry in self.model.items()
        )
        assert self.backlog.under_way() == waited_for

    @invariant()
    def there_is_one_entry_a_path_and_never_too_many(self) -> None:
        assert len(self.backlog) == len(self.model)
        assert all(len(self.of(share)) <= 2 * CAPACITY for share in SHARES)

    def teardown(self) -> None:
        """Nothing is lost: all that the model has comes out, each once, the urgent ones first."""
        for share in SHARES:
            self.a_share_answers(share)
        for entry in self.held():
            assert entry.held
            self.backlog.later(entry.held, 0)
        self.clock.advance(1_000_000)
        assert promote(self.backlog) is None
        out = []
        for _ in self.model:
            assert self.backlog.ready, "something was lost"
            candidate = self.backlog.take()
            assert candidate is not None
            out.append(candidate)
            self.backlog.finish(candidate)
        assert {(c.share, c.path) for c in out} == set(self.model)
        assert [c.priority for c in out] == sorted(c.priority for c in out)
        assert not len(self.backlog)


TestBacklogAgainstItsModel = BacklogMachine.TestCase
TestBacklogAgainstItsModel.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, derandomize=True
)


# Single promises, one by one

SHARE = Share("/photos")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backlog(clock: Clock) -> Backlog:
    return Backlog(clock=clock, capacity=3)


def taken(backlog: Backlog) -> str:
    candidate = backlog.take()
    assert candidate is not None
    return candidate.path


def test_it_counts_what_is_kept_back_for_each_organization(backlog: Backlog) -> None:
    backlog.put(SHARE, "a.jpg", Priority.BACKLOG, timeout=0)
    candidate = backlog.take()
    assert candidate is not None
    assert backlog.kept_back("studio") == 0
    backlog.hold(candidate, "studio")
    assert (backlog.kept_back("studio"), backlog.kept_back("lab")) == (1, 0)
    assert backlog.release("studio") == 1
    assert backlog.kept_back("studio") == 0


def test_a_share_that_is_full_leaves_room_to_the_others(backlog: Backlog) -> None:
    other = Share("/other")
    for number in range(3):
        assert backlog.put(SHARE, f"{number}.jpg", Priority.BACKLOG, timeout=0)
        assert backlog.offer(SHARE, f"fresh{number}.jpg", settle_seconds=0)
    assert not backlog.put(SHARE, "one more.jpg", Priority.BACKLOG, timeout=0)
    assert not backlog.offer(SHARE, "fresh, too.jpg", settle_seconds=0)
    assert backlog.put(other, "a.jpg", Priority.BACKLOG, timeout=0)
    assert backlog.offer(other, "b.jpg", settle_seconds=0)


def test_fresh_drops_go_before_the_backlog_and_that_before_rechecks(
    backlog: Backlog, clock: Clock
) -> None:
    backlog.put(SHARE, "recheck.jpg", Priority.RECHECK, timeout=0)
    backlog.put(SHARE, "backlog.jpg", Priority.BACKLOG, timeout=0)
    backlog.offer(SHARE, "fresh.jpg", settle_seconds=2)
    clock.advance(2)
    promote(backlog)
    assert [taken(backlog) for _ in range(3)] == ["fresh.jpg", "backlog.jpg", "recheck.jpg"]


def test_a_fresh_drop_is_not_handed_out_before_it_had_time_to_settle(
    backlog: Backlog, clock: Clock
) -> None:
    backlog.offer(SHARE, "fresh.jpg", settle_seconds=2)
    assert promote(backlog) == 2
    clock.advance(1.5)
    assert promote(backlog) == 0.5
    backlog.put(SHARE, "other.jpg", Priority.RECHECK, timeout=0)
    assert taken(backlog) == "other.jpg"


@pytest.mark.parametrize("where", ["ready", "waiting", "with a worker"])
@pytest.mark.parametrize("priority", [Priority.BACKLOG, Priority.RECHECK])
def test_a_fresh_drop_goes_first_even_if_a_scan_comes_by_it_before_its_event_does(
    backlog: Backlog, clock: Clock, priority: Priority, where: str
) -> None:
    if where == "ready":
        backlog.put(SHARE, "found.jpg", Priority.BACKLOG, timeout=0)
    backlog.put(SHARE, "fresh.jpg", priority, timeout=0)
    candidate = None if where == "ready" else backlog.take()
    assert backlog.put(SHARE, "found.jpg", Priority.BACKLOG, timeout=0)
    if candidate is not None and where == "waiting":
        backlog.later(candidate, 2)
    backlog.offer(SHARE, "fresh.jpg", settle_seconds=2)
    if candidate is not None and where == "with a worker":
        backlog.later(candidate, 2)
    clock.advance(2)
    promote(backlog)
    assert [taken(backlog), taken(backlog)] == ["fresh.jpg", "found.jpg"]
    assert not backlog.ready


def test_one_that_failed_goes_behind_all_others_however_fresh_it_was(
    backlog: Backlog, clock: Clock
) -> None:
    backlog.offer(SHARE, "bad.jpg", settle_seconds=0)
    promote(backlog)
    bad = backlog.take()
    assert bad is not None
    backlog.retry(bad, 1)
    backlog.put(SHARE, "good.jpg", Priority.BACKLOG, timeout=0)
    backlog.offer(SHARE, "better.jpg", settle_seconds=5)
    clock.advance(10)
    promote(backlog)
    assert [taken(backlog) for _ in range(3)] == ["better.jpg", "good.jpg", "bad.jpg"]
    assert bad.attempts == 1


def test_one_that_failed_is_looked_at_soon_if_somebody_mends_it(
    backlog: Backlog, clock: Clock
) -> None:
    backlog.retry(a_candidate(backlog, SHARE), 3600)
    backlog.offer(SHARE, "a.jpg", settle_seconds=2)
    clock.advance(2)
    promote(backlog)
    assert taken(backlog) == "a.jpg"
    clock.advance(3600)
    promote(backlog)
    assert len(backlog) == 1  # its old time has no effect any more
    assert not backlog.ready


@pytest.mark.parametrize("end", ["finish", "later", "retry"])
def test_one_that_was_touched_while_a_worker_had_it_comes_back(
    backlog: Backlog, clock: Clock, end: str
) -> None:
    candidate = a_candidate(backlog, SHARE)
    backlog.offer(SHARE, "a.jpg", settle_seconds=2)
    clock.advance(1)
    backlog.offer(SHARE, "a.jpg", settle_seconds=2)
    if end == "finish":
        backlog.finish(candidate)
    else:
        getattr(backlog, end)(candidate, 3600)
    clock.advance(1)
    promote(backlog)
    assert taken(backlog) == "a.jpg"
    backlog.finish(candidate)
    assert not len(backlog)


def test_equal_paths_of_two_shares_are_two_files(backlog: Backlog) -> None:
    for share in SHARES:
        assert backlog.put(share, "a.jpg", Priority.BACKLOG, timeout=0)
    assert len(backlog) == 2


def test_files_that_keep_failing_do_not_make_it_grow_without_bound(
    backlog: Backlog,
) -> None:
    for number in range(100):
        if backlog.offer(SHARE, f"{number}.jpg", settle_seconds=0):
            promote(backlog)
            candidate = backlog.take()
            assert candidate is not None
            backlog.retry(candidate, 3600)
    assert len(backlog) == 6


# Shares that hang


def test_a_share_that_hangs_loses_what_waits_and_no_other_does(clock: Clock) -> None:
    backlog = Backlog(clock=clock)
    for share in SHARES:
        backlog.hold(a_candidate(backlog, share, "kept back.jpg"), "organization")
    for share in SHARES:
        assert backlog.offer(share, "waits.jpg", settle_seconds=2)
        assert backlog.put(share, "ready.jpg", Priority.BACKLOG, timeout=0)
    backlog.shut(SHARES[0])
    assert len(backlog) == 3
    assert backlog.release("organization") == 1
    clock.advance(2)
    assert promote(backlog) is None
    left = [backlog.take() for _ in range(3)]
    assert {(c.share, c.path) for c in left if c} == {
        (SHARES[1], name) for name in ("kept back.jpg", "waits.jpg", "ready.jpg")
    }
    assert not backlog.ready


def test_nothing_is_taken_of_a_share_that_hangs_until_it_answers(backlog: Backlog) -> None:
    backlog.shut(SHARE)
    assert not backlog.offer(SHARE, "a.jpg", settle_seconds=0)
    assert not backlog.rename(SHARE, "a.jpg", "b.jpg", settle_seconds=0)
    assert not backlog.put(SHARE, "c.jpg", Priority.BACKLOG, timeout=0)
    assert not len(backlog)
    assert backlog.put(SHARES[0], "c.jpg", Priority.BACKLOG, timeout=0)
    answers: list[bool] = []
    waiting = in_thread(
        lambda: answers.append(backlog.put(SHARE, "c.jpg", Priority.BACKLOG, timeout=PATIENCE))
    )
    backlog.reopen(SHARE)
    assert ended(waiting)
    assert answers == [True]
    assert backlog.rename(SHARE, "a.jpg", "b.jpg", settle_seconds=0)
    assert backlog.offer(SHARE, "d.jpg", settle_seconds=0)
    assert len(backlog) == 4


def test_what_a_share_that_hangs_loses_makes_room_for_others(backlog: Backlog) -> None:
    for number in range(3):
        assert backlog.put(SHARE, f"{number}.jpg", Priority.BACKLOG, timeout=0)
    answers: list[bool] = []
    waiting = in_thread(
        lambda: answers.append(backlog.put(SHARES[0], "a.jpg", Priority.BACKLOG, timeout=PATIENCE))
    )
    backlog.shut(SHARE)
    assert ended(waiting)
    assert answers == [True]
    assert len(backlog) == 1


def give_back(backlog: Backlog, candidate: Candidate, how: str) -> None:
    if how == "finish":
        backlog.finish(candidate)
    elif how == "hold":
        backlog.hold(candidate, "organization")
    else:
        getattr(backlog, how)(candidate, 0)


WAYS_BACK = ["finish", "later", "retry", "hold"]


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("how", WAYS_BACK)
def test_one_that_a_worker_has_of_a_share_that_hangs_is_dropped_when_given_back(
    backlog: Backlog, clock: Clock, how: str, *, touched: bool
) -> None:
    candidate = a_candidate(backlog, SHARE)
    if touched:
        backlog.offer(SHARE, "a.jpg", settle_seconds=0)
    backlog.shut(SHARE)
    assert len(backlog) == 1
    give_back(backlog, candidate, how)
    assert not len(backlog)
    backlog.reopen(SHARE)
    assert not backlog.release("organization")
    clock.advance(1)
    assert promote(backlog) is None
    assert not backlog.ready
    assert backlog.put(SHARE, "a.jpg", Priority.BACKLOG, timeout=0)


@pytest.mark.parametrize("how", WAYS_BACK[1:])
def test_one_given_back_after_its_share_answers_again_is_kept(backlog: Backlog, how: str) -> None:
    candidate = a_candidate(backlog, SHARE)
    backlog.shut(SHARE)
    backlog.reopen(SHARE)
    give_back(backlog, candidate, how)
    backlog.release("organization")
    promote(backlog)
    assert backlog.take() is candidate


# Renames


def known(backlog: Backlog, path: str) -> Candidate:
    return backlog._entries[SHARE, path]


def rename(backlog: Backlog, source: str, path: str) -> None:
    assert backlog.rename(SHARE, source, path, settle_seconds=1)


def came_from(backlog: Backlog, path: str) -> tuple[str | None, bool]:
    return known(backlog, path).moved_from, known(backlog, path).intact > 0


def test_a_file_renamed_that_nothing_was_known_of_is_intact(backlog: Backlog, clock: Clock) -> None:
    rename(backlog, "a.jpg", "b.jpg")
    assert came_from(backlog, "b.jpg") == ("a.jpg", True)
    assert len(backlog) == 1
    assert promote(backlog) == 1
    clock.advance(1)
    promote(backlog)
    assert taken(backlog) == "b.jpg"


@pytest.mark.parametrize("before", ["a.jpg", "b.jpg"])
@pytest.mark.parametrize("held", [False, True])
def test_if_anything_was_known_of_either_name_both_are_looked_at(
    backlog: Backlog, before: str, *, held: bool
) -> None:
    if held:
        a_candidate(backlog, SHARE, before)
    else:
        backlog.offer(SHARE, before, settle_seconds=0)
    rename(backlog, "a.jpg", "b.jpg")
    assert came_from(backlog, "b.jpg") == (None, False)
    assert known(backlog, "a.jpg").vanished
    assert (known(backlog, before).touched is not None) is held


def test_a_file_renamed_twice_has_its_record_where_it_was_first(backlog: Backlog) -> None:
    rename(backlog, "a.jpg", "b.jpg")
    rename(backlog, "b.jpg", "c.jpg")
    assert came_from(backlog, "c.jpg") == ("a.jpg", True)
    assert came_from(backlog, "b.jpg") == (None, False)


def test_what_happened_between_two_renames_is_not_forgotten(backlog: Backlog) -> None:
    rename(backlog, "a.jpg", "b.jpg")
    backlog.offer(SHARE, "b.jpg", settle_seconds=1)
    rename(backlog, "b.jpg", "c.jpg")
    assert came_from(backlog, "c.jpg") == ("a.jpg", False)


@pytest.mark.parametrize("vanished", [False, True])
def test_whatever_else_happens_to_a_renamed_file_it_is_read(
    backlog: Backlog, *, vanished: bool
) -> None:
    rename(backlog, "a.jpg", "b.jpg")
    assert backlog.offer(SHARE, "b.jpg", settle_seconds=1, vanished=vanished)
    assert came_from(backlog, "b.jpg") == ("a.jpg", False)


def test_where_events_were_lost_no_renamed_file_is_intact(backlog: Backlog) -> None:
    rename(backlog, "a.jpg", "b.jpg")
    backlog.doubt(SHARES[0])
    assert came_from(backlog, "b.jpg") == ("a.jpg", True)
    backlog.doubt(SHARE)
    assert came_from(backlog, "b.jpg") == ("a.jpg", False)


def test_a_rename_that_finds_no_room_is_told(backlog: Backlog) -> None:
    for number in range(3):
        assert backlog.offer(SHARE, f"{number}.jpg", settle_seconds=0)
    assert not backlog.rename(SHARE, "a.jpg", "b.jpg", settle_seconds=0)
    assert len(backlog) == 3


FEW = st.sampled_from(["a", "b", "c", "d"])
HAPPENINGS = st.lists(
    st.tuples(st.just("rename"), FEW, FEW)
    | st.tuples(st.sampled_from(["write", "delete"]), FEW, FEW),
    max_size=25,
)


@given(HAPPENINGS)
@settings(PROPERTY)
def test_what_is_called_intact_is_what_had_its_record_at_the_old_name(
    happenings: list[tuple[str, str, str]],
) -> None:
    backlog = Backlog(clock=Clock())
    content: dict[str, str | None] = {name: name for name in "abcd"}  # whose record tells of it
    for what, path, target in happenings:
        if what == "rename" and path in content and path != target:
            content[target] = content.pop(path)
            rename(backlog, path, target)
        elif what == "write":
            content[path] = None
            backlog.offer(SHARE, path, settle_seconds=1)
        elif what == "delete" and path in content:
            del content[path]
            backlog.offer(SHARE, path, settle_seconds=1, vanished=True)
    for candidate in backlog._entries.values():
        if candidate.intact:
            assert content[candidate.path] == candidate.moved_from


# With threads


def test_a_scan_waits_at_the_door_until_there_is_room(backlog: Backlog) -> None:
    first = a_candidate(backlog, SHARE, "0.jpg")
    for number in (1, 2):
        backlog.put(SHARE, f"{number}.jpg", Priority.BACKLOG, timeout=0)
    answers: list[bool] = []
    waiting = in_thread(
        lambda: answers.append(backlog.put(SHARE, "last.jpg", Priority.BACKLOG, timeout=PATIENCE))
    )
    assert backlog.offer(SHARE, "fresh.jpg", settle_seconds=0)  # an event never waits
    assert not answers
    backlog.finish(first)
    assert ended(waiting)
    assert answers == [True]
    assert len(backlog) == 4


def test_what_was_found_twice_while_waiting_at_the_door_is_in_it_once(backlog: Backlog) -> None:
    first = a_candidate(backlog, SHARE, "0.jpg")
    for number in (1, 2):
        backlog.put(SHARE, f"{number}.jpg", Priority.BACKLOG, timeout=0)
    waiting = in_thread(lambda: backlog.put(SHARE, "last.jpg", Priority.BACKLOG, timeout=PATIENCE))
    backlog.offer(SHARE, "last.jpg", settle_seconds=0)
    backlog.finish(first)
    assert ended(waiting)
    assert len(backlog) == 3


def test_workers_get_what_the_clock_thread_makes_ready() -> None:
    clock = Clock()
    backlog = Backlog(clock=clock)
    keeper = in_thread(backlog.keep_time)
    got: list[str] = []
    all_there = threading.Event()

    def work() -> None:
        while (candidate := backlog.take()) is not None:
            backlog.finish(candidate)
            got.append(candidate.path)
            if len(got) == 50:
                all_there.set()

    workers = [in_thread(work) for _ in range(4)]
    for number in range(50):
        backlog.offer(SHARE, f"{number}.jpg", settle_seconds=0)
    assert all_there.wait(PATIENCE)
    assert sorted(got) == sorted(f"{number}.jpg" for number in range(50))
    backlog.close()
    assert ended(keeper, *workers)


def test_the_clock_thread_wakes_for_what_is_due_earlier() -> None:
    backlog = Backlog(clock=Clock())
    in_thread(backlog.keep_time)
    backlog.offer(SHARE, "tomorrow.jpg", settle_seconds=86_400)
    got: list[str] = []
    worker = in_thread(lambda: got.append(taken(backlog)))
    backlog.offer(SHARE, "now.jpg", settle_seconds=0)
    assert ended(worker)
    assert got == ["now.jpg"]
    backlog.close()


@pytest.mark.parametrize("way", ["comes back", "is given up"])
def test_a_share_leaves_workers_to_the_others(way: str) -> None:
    backlog = Backlog(clock=Clock(), at_once=2)
    one, other = SHARES
    out = [a_candidate(backlog, one, f"{number}.jpg") for number in range(2)]
    backlog.put(one, "2.jpg", Priority.BACKLOG, timeout=0)
    backlog.put(other, "x.jpg", Priority.RECHECK, timeout=0)
    assert taken(backlog) == "x.jpg"
    assert not backlog.ready
    got: list[str] = []
    waiting = in_thread(lambda: got.append(taken(backlog)))
    if way == "comes back":
        backlog.finish(out[0])
    else:
        backlog.give_up(out[0])
    assert ended(waiting)
    assert got == ["2.jpg"]


def test_a_file_that_comes_back_after_it_was_given_up_is_not_counted_twice() -> None:
    backlog = Backlog(clock=Clock(0), at_once=1)
    held = a_candidate(backlog, SHARE, "0.jpg")
    backlog.give_up(held)
    backlog.give_up(held)
    backlog.later(held, 0)
    backlog.give_up(held)  # too late: it has come back
    promote(backlog)
    backlog.put(SHARE, "1.jpg", Priority.BACKLOG, timeout=0)
    assert taken(backlog) == "0.jpg"
    assert not backlog.ready
    assert backlog.under_way()


def test_closing_lets_everybody_go_and_hands_out_nothing_more(backlog: Backlog) -> None:
    for number in range(3):
        backlog.put(SHARE, f"{number}.jpg", Priority.BACKLOG, timeout=0)
    answers: list[Any] = []
    at_the_door = in_thread(
        lambda: answers.append(backlog.put(SHARE, "x.jpg", Priority.BACKLOG, timeout=PATIENCE))
    )
    keeper = in_thread(backlog.keep_time)
    empty = Backlog(clock=Clock())
    worker = in_thread(lambda: answers.append(empty.take()))
    backlog.close()
    empty.close()
    assert ended(at_the_door, keeper, worker)
    assert sorted(answers, key=str) == [False, None]
    assert backlog.take() is None


def test_a_candidate_says_nothing_of_a_path_in_its_repr_that_forges_lines(tmp_path: Path) -> None:
    assert "\n" not in repr(Candidate(Share(str(tmp_path)), "a\nb.jpg", Priority.FRESH))


def test_while_it_pauses_it_takes_in_and_hands_nothing_out() -> None:
    backlog = Backlog(clock=Clock(0))
    one = SHARES[0]
    backlog.put(one, "a.jpg", Priority.BACKLOG, timeout=0)
    taken = backlog.take()
    backlog.pause()
    assert backlog.under_way()
    got: list[Candidate | None] = []
    other = in_thread(lambda: got.append(backlog.take()))
    backlog.put(one, "b.jpg", Priority.BACKLOG, timeout=0)
    assert backlog.offer(one, "gone.jpg", settle_seconds=1, vanished=True)
    assert backlog.rename(one, "old.jpg", "new.jpg", settle_seconds=1)
    assert taken is not None
    backlog.finish(taken)
    assert not backlog.under_way()
    assert len(backlog) == 3
    assert backlog.observed() == [(one, "gone.jpg"), (one, "old.jpg")]
    backlog.close()
    assert ended(other)
    assert got == [None]
