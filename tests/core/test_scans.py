"""What a scan that ended is to the log, the conditions and the exit code."""

from pathlib import Path

import pytest

from tests.core.factories import Log, a_share
from watcher.conditions import Conditions
from watcher.errors import RecordUnwritable, ShareGone
from watcher.scan import ScanSummary
from watcher.scans import ScanLog
from watcher.share import Share


class Desk:
    def __init__(self, root: Path) -> None:
        self.log = Log()
        self.conditions = Conditions(self.log.logger)
        self.scans = ScanLog(self.log.logger, self.conditions)
        self.share = a_share(root)
        self.mirrored = Share(str(root / "other"), mirror="/mirror")

    def said(self, scan: ScanSummary, share: Share | None = None) -> list[str]:
        """The events that a scan's end brings about."""
        before = len(self.log.entries)
        self.scans.report(share or self.share, scan)
        return self.log.events[before:]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_first_scan_is_news_and_later_ones_if_they_found_something(desk: Desk) -> None:
    quiet = ScanSummary(recorded=5, rejected=1, seconds=0.12345)
    for scan, level in (
        (quiet, "info"),
        (quiet, "debug"),
        (ScanSummary(candidates=2), "info"),
        (quiet, "debug"),
    ):
        assert desk.said(scan) == ["rescan"]
        assert desk.log.entries[-1]["log_level"] == level
    entry = desk.log.entries[0]
    assert entry["share"] == desk.share.root
    assert (entry["recorded"], entry["rejected"], entry["candidates"]) == (5, 1, 0)
    assert entry["seconds"] == 0.123


def test_a_share_that_is_gone_is_a_condition_until_it_is_back(desk: Desk) -> None:
    gone = ScanSummary(trouble=ShareGone("cannot enter it"))
    assert desk.said(gone) == ["condition_raised"]
    assert desk.log.entries[-1]["condition"] == "share_gone"
    assert desk.said(gone) == []
    assert desk.said(ScanSummary()) == ["condition_cleared", "rescan"]


def test_a_mirror_that_is_gone_is_not_the_shares_fault(desk: Desk) -> None:
    gone = ScanSummary(trouble=RecordUnwritable("cannot enter /mirror"))
    assert desk.said(gone, desk.mirrored) == ["condition_raised"]
    entry = desk.log.entries[-1]
    assert (entry["condition"], entry["place"]) == ("sidecar_unwritable", "/mirror")
    assert desk.said(gone, desk.mirrored) == []
    assert desk.said(ScanSummary(), desk.mirrored) == ["condition_cleared", "rescan"]


def test_a_mirror_that_is_back_is_noticed_though_the_share_was_gone_in_between(desk: Desk) -> None:
    desk.said(ScanSummary(trouble=RecordUnwritable("cannot enter /mirror")), desk.mirrored)
    desk.said(ScanSummary(trouble=ShareGone("cannot enter it")), desk.mirrored)
    cleared = ["condition_cleared", "condition_cleared", "rescan"]
    assert desk.said(ScanSummary(), desk.mirrored) == cleared
    assert not desk.conditions.holds("sidecar_unwritable", "/mirror")


def test_a_scan_does_not_end_what_a_worker_found_out_about_a_folder(desk: Desk) -> None:
    """That it can be read does not mean that it can be written to."""
    desk.conditions.begin("sidecar_unwritable", desk.share.root, "read-only")
    desk.said(ScanSummary())
    assert desk.conditions.holds("sidecar_unwritable", desk.share.root)


def test_a_folder_that_cannot_be_listed_is_said_once(desk: Desk) -> None:
    locked = ScanSummary(unreadable={"locked": "Permission denied", "": "Permission denied"})
    assert desk.said(locked) == ["failed", "failed", "rescan"]
    assert [entry.get("path") for entry in desk.log.entries[:2]] == ["locked", "."]
    assert desk.said(locked) == ["rescan"]
    assert desk.said(ScanSummary()) == ["rescan"]
    assert desk.said(locked) == ["failed", "failed", "rescan"]


@pytest.mark.parametrize(
    ("scan", "well"),
    [
        (ScanSummary(recorded=3, candidates=2), True),
        (ScanSummary(rejected=1), False),
        (ScanSummary(unreadable={"x": "why"}), False),
        (ScanSummary(trouble=ShareGone("x")), False),
    ],
)
def test_all_is_well_if_every_share_was_scanned_whole_without_rejects(
    desk: Desk, scan: ScanSummary, *, well: bool
) -> None:
    assert desk.scans.all_well
    desk.said(ScanSummary(recorded=1))
    desk.said(scan, desk.mirrored)
    assert desk.scans.all_well is well
    assert desk.scans.recorded == 1 + scan.recorded
    assert desk.scans.rejected == scan.rejected
    desk.said(ScanSummary(), desk.mirrored)
    assert desk.scans.all_well


def test_too_few_watches_are_a_condition_until_there_are_enough(desk: Desk) -> None:
    assert "condition_raised" in desk.said(ScanSummary(unwatched="inotify watch limit reached"))
    assert desk.conditions.holds("watch_limit", desk.share.root)
    assert not desk.said(ScanSummary(unwatched="still", full=False)).count("condition_raised")
    assert "condition_cleared" in desk.said(ScanSummary(full=False))


def test_a_look_through_changes_no_totals_and_tells_an_unreadable_folder_once(desk: Desk) -> None:
    desk.said(ScanSummary(recorded=5))
    locked = ScanSummary(full=False, unreadable={"locked": "why"}, candidates=3)
    assert desk.said(locked) == ["failed", "rescan"]
    assert desk.log.entries[-1]["log_level"] == "debug"
    assert desk.said(locked) == ["rescan"]
    assert desk.scans.recorded == 5
    assert not desk.scans.all_well
    desk.said(ScanSummary(full=False))
    assert desk.scans.all_well
