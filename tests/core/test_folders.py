"""Which folders need no listing, because nothing came or went there."""

import os
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PROPERTY
from watcher import folders
from watcher.folders import RACY_SECONDS, Folders


def a_status(time_ns: int = 1, *, inode: int = 7, device: int = 3) -> os.stat_result:
    times = {"st_mtime_ns": time_ns, "st_atime_ns": 0, "st_ctime_ns": 0}
    return os.stat_result((0o40755, inode, device, 2, 0, 0, 0, 0, 0, 0), times)


def listed(
    memory: Folders, now: float, status: os.stat_result | None = None, *, names: int = 1
) -> None:
    memory.listed("a", status or a_status(), names=names, below=["x", "y"], now=now)


def listed_for_good(memory: Folders, status: os.stat_result | None = None) -> None:
    """Once, and again when whatever came in the same tick must be there."""
    listed(memory, 0, status)
    listed(memory, RACY_SECONDS, status)


def is_passed_over(memory: Folders, status: os.stat_result | None = None) -> bool:
    return memory.unchanged("a", status or a_status()) is not None


def test_a_folder_without_a_change_is_answered_from_memory() -> None:
    memory = Folders(trusted=True)
    listed_for_good(memory)
    assert memory.unchanged("a", a_status()) == ("x", "y")
    assert memory.unchanged("b", a_status()) is None


@pytest.mark.parametrize("other", [a_status(2), a_status(inode=8), a_status(device=4)])
def test_another_time_or_another_folder_must_be_listed(other: os.stat_result) -> None:
    memory = Folders(trusted=True)
    listed_for_good(memory)
    assert not is_passed_over(memory, other)


def test_a_time_that_was_just_seen_first_proves_nothing() -> None:
    memory = Folders(trusted=True)
    listed(memory, 0)
    assert not is_passed_over(memory)
    listed(memory, RACY_SECONDS - 0.1)
    assert not is_passed_over(memory)
    listed(memory, RACY_SECONDS)
    assert is_passed_over(memory)
    listed(memory, RACY_SECONDS + 1, a_status(2))
    assert not is_passed_over(memory, a_status(2))


def test_a_folder_that_is_gone_is_forgotten() -> None:
    memory = Folders(trusted=True)
    listed_for_good(memory)
    memory.gone("a")
    memory.gone("a")
    assert not is_passed_over(memory)


def test_trust_is_earned_by_a_change_of_names_together_with_one_of_the_time() -> None:
    memory = Folders(trusted=False)
    listed_for_good(memory)
    assert not is_passed_over(memory)
    listed(memory, 10, a_status(2))  # the same names
    listed(memory, 20, a_status(2))
    assert not is_passed_over(memory, a_status(2))
    listed(memory, 30, a_status(3), names=2)
    listed(memory, 40, a_status(3), names=2)
    assert is_passed_over(memory, a_status(3))


def test_another_folder_at_the_same_place_earns_no_trust() -> None:
    memory = Folders(trusted=False)
    listed_for_good(memory)
    for now in (10, 20):
        listed(memory, now, a_status(inode=8), names=2)
    assert not is_passed_over(memory, a_status(inode=8))


@pytest.mark.parametrize("trusted", [True, False])
def test_trust_is_lost_for_good_by_a_change_of_names_without_one_of_the_time(
    *, trusted: bool
) -> None:
    memory = Folders(trusted=trusted)
    listed_for_good(memory)
    listed(memory, 10, names=2)
    for time in range(2, 5):
        for late in (0, 10):
            listed(memory, time * 20 + late, a_status(time), names=time)
        assert not is_passed_over(memory, a_status(time))


def test_a_change_in_the_tick_of_the_first_listing_costs_no_trust() -> None:
    memory = Folders(trusted=True)
    listed(memory, 0)
    listed(memory, RACY_SECONDS, names=2)
    assert is_passed_over(memory)


def test_the_memory_is_bounded_and_what_is_in_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_FOLDERS", 2)
    memory = Folders(trusted=True)

    def remembered() -> list[str]:
        for now in (0, 10):
            for path in "abc":
                memory.listed(path, a_status(), names=1, below=(), now=now)
        return [path for path in "abc" if memory.unchanged(path, a_status()) is not None]

    assert remembered() == ["a", "b"]
    memory.gone("a")
    assert remembered() == ["a", "b"]


@dataclass
class Seen:
    """What a pass saw last of one folder."""

    identity: tuple[int, int]
    first_seen: float
    at: float
    names: int
    below: tuple[str, ...]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["list", "list", "list", "ask", "gone"]),
        st.sampled_from(["a", "b"]),
        st.tuples(st.integers(1, 2), st.integers(1, 3)),  # inode, time
        st.integers(1, 2),  # names
        st.sampled_from([0.0, 1.0, RACY_SECONDS, 10.0]),
    ),
    max_size=40,
)


@PROPERTY
@given(steps=STEPS, trusted=st.booleans())
def test_no_answer_is_ever_other_than_what_was_listed_last(
    *, steps: list[tuple[str, str, tuple[int, int], int, float]], trusted: bool
) -> None:
    memory, seen = Folders(trusted=trusted), dict[str, Seen]()
    now, earned, disproved = 0.0, trusted, False
    for number, (what, path, identity, names, passed) in enumerate(steps):
        now += passed
        before = seen.get(path)
        status = a_status(identity[1], inode=identity[0])
        if what == "gone":
            memory.gone(path)
            seen.pop(path, None)
        elif what == "list":
            below = (str(number),)
            memory.listed(path, status, names=names, below=below, now=now)
            same = before is not None and before.identity == identity
            first_seen = before.first_seen if before is not None and same else now
            if before is not None and before.names != names:
                earned |= before.identity[0] == identity[0] and before.identity != identity
                disproved |= same and before.at - before.first_seen >= RACY_SECONDS
            seen[path] = Seen(identity, first_seen, now, names, below)
        answer = memory.unchanged(path, status)
        known = seen.get(path)
        if (
            known is None
            or known.identity != identity
            or known.at - known.first_seen < RACY_SECONDS
            or not earned
            or disproved
        ):
            assert answer is None
        else:
            assert answer == known.below
