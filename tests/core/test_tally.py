"""Counts of what became of the files."""

import threading

import pytest

from tests.core.factories import PATIENCE
from watcher.tally import Counts, Tally


def test_what_was_done_is_counted_by_kind_and_in_all() -> None:
    tally = Tally()
    for kind in ("uploaded", "uploaded", "already_known", "rejected", "failed", "standing"):
        tally.add(kind, size=10)
    counts = tally.counts
    assert (counts.uploaded, counts.already_known, counts.standing) == (2, 1, 1)
    assert counts.done == 5
    assert counts.bytes == 60


@pytest.mark.parametrize(
    ("counts", "well"),
    [
        (Counts(), True),
        (Counts(uploaded=1, already_known=1, standing=1), True),
        (Counts(rejected=1), False),
        (Counts(failed=1), False),
        (Counts(standing_rejected=1), False),
    ],
)
def test_all_is_well_if_nothing_was_rejected_or_failed(counts: Counts, *, well: bool) -> None:
    assert counts.all_well is well


def test_a_look_at_the_counts_does_not_change_with_them() -> None:
    tally = Tally()
    before = tally.counts
    tally.add("uploaded")
    assert before == Counts()


def test_no_file_of_many_threads_is_lost() -> None:
    tally = Tally()
    together = threading.Barrier(8, timeout=PATIENCE)

    def work() -> None:
        together.wait()
        for _ in range(500):
            tally.add("uploaded", size=1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert tally.counts == Counts(uploaded=4000, bytes=4000)
