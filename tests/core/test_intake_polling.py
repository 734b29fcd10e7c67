"""A share that is polled: new files are found though unchanged folders are not listed again."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.core.factories import Clock, a_share
from watcher import scan as scan_module
from watcher.backlog import Backlog
from watcher.folders import RACY_SECONDS
from watcher.intake import Intake
from watcher.scan import ScanSummary
from watcher.share import Share

POLL, RESCAN = 5.0, 300.0


class Desk:
    """An intake whose thread is the test's own, on a clock that the test moves."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.clock = Clock()
        self.reports: list[ScanSummary] = []
        self.listed: list[str] = []
        self.backlog = Backlog(clock=self.clock)
        share = a_share(root, watch="poll", poll_seconds=POLL, rescan_seconds=RESCAN)
        self.intake = Intake(
            share, backlog=self.backlog, report=self._report, settle_seconds=0, clock=self.clock
        )
        real = scan_module._names

        def names(share: Share, folder: str, *more: Any) -> tuple[list[str], bool]:
            self.listed.append(folder)
            return real(share, folder, *more)

        patch.setattr(scan_module, "_names", names)

    def _report(self, _: Share, summary: ScanSummary) -> None:
        self.reports.append(summary)

    def after(self, seconds: float) -> list[str]:
        """The folders that are listed when so much time has passed."""
        self.clock.advance(seconds)
        self.listed.clear()
        self.intake._look()  # the first one arms it
        self.intake._look_due = self.clock() + RESCAN * 10
        self.intake._scan_if_due()
        return self.listed

    def paths(self) -> set[str]:
        return {path for _, path in self.backlog._entries}

    def drop(self, path: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"image")
        return file


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path / "share", monkeypatch)
    for path in ("a/1.jpg", "a/deep/1.jpg", "b/1.jpg"):
        desk.drop(path)
    desk.after(1)
    desk.after(POLL)
    assert POLL > RACY_SECONDS
    return desk


def test_what_has_not_changed_is_not_listed_again_until_the_next_full_scan(desk: Desk) -> None:
    assert desk.after(POLL) == []
    assert desk.after(POLL) == []
    assert desk.after(RESCAN) == ["", "a", "a/deep", "b"]
    assert [report.full for report in desk.reports] == [True, False, False, False, True]


def test_a_new_file_at_any_depth_is_found_at_the_next_look(desk: Desk) -> None:
    desk.drop("a/deep/2.jpg")
    desk.drop("b/new/3.jpg")
    assert desk.after(POLL) == ["a/deep", "b", "b/new"]
    assert {"a/deep/2.jpg", "b/new/3.jpg"} <= desk.paths()
    assert desk.after(POLL) == ["a/deep", "b", "b/new"]  # once more: the listing was racy
    assert desk.after(POLL) == []


def test_a_file_that_is_rewritten_in_place_is_found_by_the_full_scan(desk: Desk) -> None:
    for candidate in list(desk.backlog._entries.values()):
        taken = desk.backlog.take()
        assert taken is candidate
        desk.backlog.finish(taken)
    desk.drop("a/1.jpg")
    desk.after(POLL)
    assert not desk.paths()
    desk.after(RESCAN)
    assert "a/1.jpg" in desk.paths()


def test_a_file_system_that_does_not_keep_its_folders_times_is_listed_each_time(desk: Desk) -> None:
    before = (desk.root / "b").stat()
    desk.drop("b/2.jpg")
    os.utime(desk.root / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert desk.after(POLL) == []
    assert desk.after(RESCAN) == ["", "a", "a/deep", "b"]
    assert "b/2.jpg" in desk.paths()
    assert desk.after(POLL) == ["", "a", "a/deep", "b"]


def test_a_folder_that_is_gone_is_forgotten(desk: Desk) -> None:
    (desk.root / "b" / "1.jpg").unlink()
    (desk.root / "b").rmdir()
    assert desk.after(POLL) == [""]
    assert not desk.reports[-1].unreadable
