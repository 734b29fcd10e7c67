"""All threads share one processor; a large file may have another."""

import os
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.core.factories import PATIENCE
from watcher.processor import LARGE, Processor

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


def test_a_thread_and_those_that_it_starts_stay_on_one() -> None:
    def work() -> tuple[set[int], set[int]]:
        Processor().settle()
        return where(), in_a_thread(where)

    mine, of_mine = in_a_thread(work)
    assert mine == of_mine
    assert len(mine) == 1
    assert mine < ALL or len(ALL) == 1
    assert where() == ALL


@pytest.mark.parametrize(("size", "free"), [(LARGE, True), (LARGE - 1, False), (0, False)])
def test_only_a_large_file_may_have_another(size: int, *, free: bool) -> None:
    def work() -> tuple[set[int], set[int]]:
        processor = Processor()
        processor.settle()
        with processor.roam(size):
            meanwhile = where()
        return meanwhile, where()

    meanwhile, after = in_a_thread(work)
    assert len(after) == 1
    assert meanwhile == (ALL if free else after)


def test_a_processor_that_was_taken_away_is_done_without() -> None:
    def work() -> set[int]:
        processor = Processor()
        processor._home = {max(ALL) + 1_000}
        processor.settle()
        return where()

    assert in_a_thread(work) == ALL
