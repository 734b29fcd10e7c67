"""One share's intake: whatever happens on the share, every file is looked at; with real events."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from tests.core.factories import (
    HASH,
    PATIENCE,
    Clock,
    a_candidate,
    a_share,
    ended,
    in_thread,
    opened_folder,
    wait_until,
    without_override,
)
from watcher import scan as scan_module
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.errors import RecordUnwritable, ShareGone
from watcher.ignores import Ignores
from watcher.intake import MAX_FOLDERS, Intake
from watcher.record import State, state_of, write_note, write_sidecar
from watcher.scan import ScanSummary
from watcher.share import Share
from watcher.tree import stamp_of

NEVER = 1e6
"""Seconds until something that a test does not wait for."""


class Reports:
    """What scans told; the condition guards it."""

    def __init__(self) -> None:
        self.all: list[ScanSummary] = []
        self._news = threading.Condition()

    def __call__(self, _share: Share, summary: ScanSummary) -> None:
        with self._news:
            self.all.append(summary)
            self._news.notify_all()

    def came(self, count: int) -> bool:
        with self._news:
            return self._news.wait_for(lambda: len(self.all) >= count, PATIENCE)


class Desk:
    """An intake with all that it needs; `settle_seconds` is 0, so that events are ready at once."""

    def __init__(
        self,
        root: Path,
        *,
        backlog: Backlog | None = None,
        watch: Literal["auto", "events", "poll"] = "poll",
        clock: Callable[[], float] = time.monotonic,
        rescan_seconds: float = NEVER,
        mirror: str | None = None,
        poll_seconds: float = NEVER,
        ignores: Ignores | None = None,
    ) -> None:
        self.root = root
        self.share = a_share(
            root,
            watch=watch,
            rescan_seconds=rescan_seconds,
            poll_seconds=poll_seconds,
            mirror=mirror,
            ignores=ignores or Ignores(),
        )
        self.backlog = Backlog(clock=time.monotonic) if backlog is None else backlog
        self.reports = Reports()
        self.intake = Intake(
            self.share,
            backlog=self.backlog,
            report=self.reports,
            settle_seconds=0,
            clock=clock,
        )
        self._threads: list[threading.Thread] = []

    def drop(self, path: str, content: bytes = b"image") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def run(self) -> None:
        """As in the daemon; the first scan is waited for."""
        self._threads = [in_thread(self.backlog.keep_time), in_thread(self.intake.run)]
        assert self.reports.came(1)

    def end(self) -> None:
        self.intake.stop()
        self.backlog.close()
        assert ended(*self._threads)

    def next(self) -> Candidate:
        candidate = self.backlog.take()
        assert candidate is not None
        return candidate

    def next_paths(self, count: int) -> set[str]:
        """The paths of the next `count` candidates; each comes to its end."""
        paths: set[str] = set()
        while len(paths) < count:
            candidate = self.next()
            paths.add(candidate.path)
            self.backlog.finish(candidate)
        return paths

    def waiting(self) -> dict[str, Priority]:
        """All that is in the backlog now, by priority."""
        return {path: candidate.priority for (_, path), candidate in self.backlog._entries.items()}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "share")
    yield desk
    desk.end()


# The scan


def test_a_scan_takes_in_what_has_no_current_record_and_reports_the_rest(desk: Desk) -> None:
    for name in ("new.jpg", "in/new.jpg", "sent.jpg", "bad.jpg", "stale.jpg", "notes.txt"):
        desk.drop(name)
    desk.drop("stale.jpg.sha256", b"")
    with opened_folder(desk.root) as folder:
        stamp = stamp_of((desk.root / "sent.jpg").stat())
        write_sidecar("sent.jpg", HASH, stamp=stamp, mode=0o644, folder=folder)
        stamp = stamp_of((desk.root / "bad.jpg").stat())
        write_note("bad.jpg", "Why", when=datetime.now(UTC), stamp=stamp, mode=0o644, folder=folder)
    desk.intake.run_once()
    assert desk.waiting() == {
        "new.jpg": Priority.BACKLOG,
        "in/new.jpg": Priority.BACKLOG,
        "stale.jpg": Priority.RECHECK,
    }
    (report,) = desk.reports.all
    assert (report.candidates, report.recorded, report.rejected) == (3, 1, 1)
    assert (report.unreadable, report.trouble) == ({}, None)
    assert report.seconds >= 0


def test_a_share_that_is_slow_beats_at_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of many files behind a slow line takes longer than a hang may last."""
    clock, late = Clock(), list[float]()
    desk = Desk(tmp_path / "share", clock=clock)
    for number in range(30):
        desk.drop(f"{number:02}.jpg")
    desk.drop("00.jpg.sha256", b"")  # else none is asked for

    def slow(image: os.stat_result, name: str, folder: int) -> State:
        late.append(clock() - desk.intake.beat)
        clock.advance(1)
        return state_of(image, name, folder)

    monkeypatch.setattr(scan_module, "state_of", slow)
    desk.intake.run_once()
    assert len(late) == 30
    assert max(late) == 0


def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_taken_in(desk: Desk) -> None:
    for name in ("a/x.jpg", "locked/x.jpg", "z/x.jpg"):
        desk.drop(name)
    (desk.root / "locked").chmod(0)
    with without_override():
        desk.intake.run_once()
    (desk.root / "locked").chmod(0o755)
    assert set(desk.waiting()) == {"a/x.jpg", "z/x.jpg"}
    (report,) = desk.reports.all
    assert set(report.unreadable) == {"locked"}
    assert "Permission denied" in report.unreadable["locked"]
    assert report.trouble is None


def test_a_share_that_is_gone_is_reported_and_the_next_scan_finds_it_again(
    tmp_path: Path, desk: Desk
) -> None:
    desk.drop("a.jpg")
    desk.root.rename(tmp_path / "unmounted")
    desk.intake.run_once()
    assert isinstance(desk.reports.all[0].trouble, ShareGone)
    assert not desk.waiting()
    (tmp_path / "unmounted").rename(desk.root)
    desk.intake.run_once()
    assert desk.reports.all[1].trouble is None
    assert set(desk.waiting()) == {"a.jpg"}


def test_a_mirror_that_is_missing_is_reported(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "share", mirror=str(tmp_path / "missing"))
    desk.drop("a.jpg")
    desk.intake.run_once()
    assert isinstance(desk.reports.all[0].trouble, RecordUnwritable)


def test_a_full_backlog_makes_the_scan_wait_and_nothing_is_left_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "share", backlog=Backlog(clock=time.monotonic, capacity=2))
    names = {f"{number}.jpg" for number in range(20)}
    for name in names:
        desk.drop(name)
    scanning = in_thread(desk.intake.run_once)
    assert desk.next_paths(20) == names
    assert ended(scanning)
    assert desk.reports.all[0].candidates == 20


class Door(Backlog):
    """Tells when somebody has waited at it in vain."""

    def __init__(self) -> None:
        super().__init__(clock=time.monotonic, capacity=1)
        self.refused = threading.Event()

    def put(self, share: Share, path: str, priority: Priority, *, timeout: float) -> bool:  # noqa: ARG002
        taken = super().put(share, path, priority, timeout=0)
        if not taken:
            self.refused.set()
        return taken


def test_a_scan_that_waits_at_the_door_can_be_stopped(tmp_path: Path) -> None:
    door = Door()
    desk = Desk(tmp_path / "share", backlog=door)
    for number in range(5):
        desk.drop(f"{number}.jpg")
    thread = in_thread(desk.intake.run)
    assert door.refused.wait(PATIENCE)
    desk.intake.stop()
    assert ended(thread)
    assert not desk.reports.all  # it was not whole, so nothing is concluded from it


def test_one_that_was_stopped_before_it_began_does_nothing(desk: Desk) -> None:
    desk.drop("a.jpg")
    desk.intake.stop()
    desk.intake.run()
    assert not desk.waiting()
    assert not desk.reports.all


@pytest.mark.parametrize(
    ("watch", "poll", "rescan"), [("poll", 0.001, NEVER), ("events", NEVER, 0.001)]
)
def test_a_share_is_scanned_again_and_again_by_the_timer(
    tmp_path: Path, watch: Literal["events", "poll"], poll: float, rescan: float
) -> None:
    desk = Desk(tmp_path / "share", watch=watch, poll_seconds=poll, rescan_seconds=rescan)
    desk.run()
    assert desk.reports.came(4)
    desk.drop("late.jpg")
    assert desk.next_paths(1) == {"late.jpg"}
    desk.end()


# Hints


def test_a_hint_at_a_file_that_is_none_of_our_business_is_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "share", ignores=Ignores(["CaptureOne/", "draft-*"]))
    for path in (
        "a.jpg.sha256",
        "a.jpg.rejected.txt",
        ".autoretouch-1.tmp",
        ".hidden.jpg",
        ".Trashes/a.jpg",
        "in/@eaDir/a.jpg",
        "in/CaptureOne/Cache/a.jpg",
        "in/draft-1.jpg",
        "raw.nef",
        "noname",
    ):
        desk.intake.changed(path)
    assert not desk.waiting()


def test_a_hint_at_an_image_is_fresh(desk: Desk) -> None:
    for path in ("a.jpg", "in/b.TIFF"):
        desk.intake.changed(path)
    assert desk.waiting() == {"a.jpg": Priority.FRESH, "in/b.TIFF": Priority.FRESH}


def test_a_record_that_vanishes_has_its_image_looked_at(desk: Desk) -> None:
    desk.intake.vanished("in/a.jpg.sha256")
    desk.intake.vanished("b.png.rejected.txt")
    desk.intake.vanished("d.txt.sha256")
    assert set(desk.waiting()) == {"in/a.jpg", "b.png"}


def test_an_image_that_vanishes_has_its_record_looked_at(desk: Desk) -> None:
    desk.intake.vanished("c.jpg")
    desk.intake.vanished(".hidden/x.jpg")
    desk.intake.vanished("notes.txt")
    assert set(desk.waiting()) == {"c.jpg"}


@pytest.fixture
def quiet(desk: Desk) -> Desk:
    """Its first scan is over; it has no reason for another."""
    desk.run()
    return desk


def test_a_folder_that_appears_is_scanned_by_itself_with_all_below_it(quiet: Desk) -> None:
    quiet.drop("card/100/a.jpg")
    quiet.drop("card/b.jpg")
    quiet.drop("elsewhere.jpg")
    quiet.intake.appeared("card")
    assert quiet.next_paths(2) == {"card/100/a.jpg", "card/b.jpg"}
    assert len(quiet.reports.all) == 1
    assert not quiet.waiting()


def test_a_folder_that_went_again_is_no_harm(quiet: Desk) -> None:
    quiet.drop("in/a.jpg")
    for folder in ("gone", "in/gone", "in"):
        quiet.intake.appeared(folder)
    assert quiet.next_paths(1) == {"in/a.jpg"}


def test_an_ignored_folder_is_not_scanned(quiet: Desk) -> None:
    quiet.drop(".Trashes/a.jpg")
    quiet.drop("in/b.jpg")
    for folder in (".Trashes", ".Trashes/below", "in"):
        quiet.intake.appeared(folder)
    assert quiet.next_paths(1) == {"in/b.jpg"}


def test_the_records_in_a_mirror_follow_folders_that_traded_places_in_order(
    tmp_path: Path,
) -> None:
    mirror = tmp_path / "mirror"
    desk = Desk(tmp_path / "share", mirror=str(mirror))
    for folder in ("a", "b"):
        desk.drop(f"{folder}/notes.txt")
        (mirror / folder).mkdir(parents=True)
        (mirror / folder / "x.jpg.sha256").write_text(folder)
    desk.run()
    with desk.intake._wake:  # all three are noticed before any is looked at
        for folder, source in (("t", "a"), ("a", "b"), ("b", "t")):
            desk.intake.appeared(folder, source)
    wait_until(lambda: not desk.intake._appeared)
    desk.end()
    there = {folder: (mirror / folder / "x.jpg.sha256").read_text() for folder in ("a", "b")}
    assert there == {"a": "b", "b": "a"}


@pytest.mark.parametrize("source", [None, "where/nothing/was/recorded"])
def test_a_folder_that_appears_does_not_inherit_what_a_mirror_has_of_a_former_one(
    tmp_path: Path, source: str | None
) -> None:
    """Names and times can be the same: cameras count from 1, memory cards by two seconds."""
    folder = tmp_path / "mirror" / "today"
    folder.mkdir(parents=True)
    desk = Desk(tmp_path / "share", mirror=str(folder.parent))
    image = desk.drop("today/a.jpg")
    with opened_folder(folder) as fd:
        write_sidecar("a.jpg", HASH, stamp=stamp_of(image.stat()), mode=0o644, folder=fd)
    desk.run()
    assert desk.reports.came(1)
    assert desk.reports.all[0].recorded == 1
    desk.intake.appeared("today", source)
    assert desk.next_paths(1) == {"today/a.jpg"}
    assert not list(folder.iterdir())
    desk.end()


def test_lost_events_are_made_up_for_by_a_scan(quiet: Desk) -> None:
    quiet.drop("a.jpg")
    quiet.intake.overflowed()
    assert quiet.next_paths(1) == {"a.jpg"}
    assert quiet.reports.came(2)


def test_more_folders_than_can_be_kept_are_answered_by_one_scan_of_the_share(quiet: Desk) -> None:
    quiet.drop("last/a.jpg")
    with quiet.intake._wake:  # nothing is scanned meanwhile; a Condition's lock is reentrant
        for number in range(MAX_FOLDERS):
            quiet.intake.appeared(f"card/{number}")
        quiet.intake.appeared("last")
    assert quiet.next_paths(1) == {"last/a.jpg"}
    assert quiet.reports.came(2)


def test_an_event_that_finds_no_room_is_made_up_for_by_a_scan(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "share", backlog=Backlog(clock=time.monotonic, capacity=1))
    desk.run()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        desk.drop(name)
        desk.intake.changed(name)
    assert desk.next_paths(3) == {"a.jpg", "b.jpg", "c.jpg"}
    assert desk.reports.came(2)
    desk.end()


def test_what_happens_while_a_worker_has_the_file_is_looked_at_afterwards(quiet: Desk) -> None:
    quiet.drop("a.jpg")
    candidate = a_candidate(quiet.backlog, quiet.share)
    quiet.intake.changed("a.jpg")
    quiet.backlog.finish(candidate)
    assert quiet.next() is candidate


# With real events


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "share", watch="events")
    desk.drop("in/old.jpg")
    desk.run()
    assert desk.next_paths(1) == {"in/old.jpg"}
    yield desk
    desk.end()


def test_a_file_that_is_dropped_comes_without_a_scan(watched: Desk) -> None:
    for path in ("a.jpg", "in/b.png"):
        watched.drop(path)
        candidate = watched.next()
        assert (candidate.path, candidate.priority) == (path, Priority.FRESH)
    assert len(watched.reports.all) == 1


def test_a_file_that_is_moved_in_or_renamed_to_an_image_comes(
    watched: Desk, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    (tmp_path / "a.jpg").rename(watched.root / "in" / "a.jpg")
    assert watched.next().path == "in/a.jpg"
    watched.drop("in/b.jpg.part").rename(watched.root / "in" / "b.jpg")
    assert watched.next().path == "in/b.jpg"


def test_a_folder_that_is_moved_in_comes_with_all_that_is_in_it(
    watched: Desk, tmp_path: Path
) -> None:
    names = {f"card/{folder}/{number}.jpg" for folder in range(5) for number in range(20)}
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"image")
    (tmp_path / "card").rename(watched.root / "card")
    assert watched.next_paths(100) == names


def test_a_tree_that_is_copied_in_comes_whole(watched: Desk, tmp_path: Path) -> None:
    names = {f"card/{folder}/deep/{number}.jpg" for folder in range(20) for number in range(3)}
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"image")
    shutil.copytree(tmp_path / "card", watched.root / "card")
    assert watched.next_paths(60) == names


def test_deleting_a_record_has_the_image_looked_at_again(watched: Desk) -> None:
    for suffix in (".sha256", ".rejected.txt"):
        record = watched.drop(f"in/old.jpg{suffix}")
        record.unlink()
        assert watched.next_paths(1) == {"in/old.jpg"}


def test_moving_an_image_out_has_its_record_looked_at(watched: Desk, tmp_path: Path) -> None:
    (watched.root / "in" / "old.jpg").rename(tmp_path / "out.jpg")
    assert watched.next_paths(1) == {"in/old.jpg"}


def until(predicate: Callable[[], bool]) -> bool:
    ends = time.monotonic() + PATIENCE
    while not predicate() and time.monotonic() < ends:
        threading.Event().wait(0.01)
    return predicate()


def test_a_drop_goes_first_although_the_scan_waits_at_the_door(tmp_path: Path) -> None:
    backlog = Backlog(clock=time.monotonic, capacity=2)
    desk = Desk(tmp_path / "share", backlog=backlog, watch="events")
    for folder in "abc":
        for number in range(3):
            desk.drop(f"{folder}/in/{number}.jpg")
    (desk.root / "zz").mkdir()
    threads = [in_thread(backlog.keep_time), in_thread(desk.intake.run)]
    first = desk.next()
    assert until(lambda: not desk.intake.watch.unplanted and len(backlog) == 2)
    desk.drop("zz/fresh.jpg")
    assert until(lambda: desk.waiting().get("zz/fresh.jpg") is Priority.FRESH)
    backlog.finish(first)
    assert until(lambda: not any(each.due for each in tuple(backlog._entries.values())))
    assert desk.next().path == "zz/fresh.jpg"
    assert not desk.reports.all  # the scan still waits
    desk.intake.stop()
    backlog.close()
    assert ended(*threads)
