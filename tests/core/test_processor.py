"""All threads share one processor and take turns in peace."""

import os
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.core.factories import PATIENCE
from watcher.processor import settle

T = TypeVar("T")
ALL = os.sched_getaffinity(0)


def in_a_thread(work: Callable[[], T]) -> T:
    """What it answers there; this thread stays where it was."""
    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join(PATIENCE)
    return answers[0]


def where() -> set[int]:
    return os.sched_getaffinity(0)


def how() -> int:
    return os.sched_getscheduler(0)


def test_no_thread_is_interrupted_because_another_wakes() -> None:
    def work() -> tuple[int, int]:
        settle()
        return how(), in_a_thread(how)

    assert in_a_thread(work) == (os.SCHED_BATCH, os.SCHED_BATCH)
    assert how() == os.SCHED_OTHER


def test_a_thread_and_those_that_it_starts_stay_on_one() -> None:
    def work() -> tuple[set[int], set[int], set[int]]:
        settle()
        mine, of_mine = where(), in_a_thread(where)
        settle()  # as at a reload
        return mine, of_mine, where()

    mine, of_mine, mine_again = in_a_thread(work)
    assert mine == of_mine == mine_again
    assert len(mine) == 1
    assert mine < ALL or len(ALL) == 1
    assert where() == ALL


def test_a_processor_that_was_taken_away_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> set[int]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {max(ALL) + 1_000})
        settle()
        monkeypatch.undo()
        return where()

    assert in_a_thread(work) == ALL
