"""The soaks of `tests.soak`, as short as a test may be."""

from tests.end_to_end.running import Installation
from tests.soak import kill, swap
from tests.soak.report import Report


def test_killed_at_any_instant_nothing_is_lost_and_nothing_sent_twice(
    installed: Installation,
) -> None:
    report = Report()
    kill.soak(installed, rounds=7, seed=7, report=report)
    assert not report.violations
    assert report.counts["sent again"] == 0
    assert report.counts["sidecars checked"] > 0


def test_a_folder_swapped_for_a_link_leads_nobody_outside(installed: Installation) -> None:
    report = Report()
    swap.soak(installed, seconds=2.4, seed=7, report=report)
    assert not report.violations
    assert report.counts["swaps"] > 0
