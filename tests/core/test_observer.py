"""What the kernel really announces, as hints about one share."""

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.events import DirMovedEvent, FileCreatedEvent
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, WatchDescriptor

from tests.core.factories import HARD_NAMES, PATIENCE, ended, open_descriptors
from watcher.observer import Observer, _Handler


class Hints:
    """Keeps what was hinted at; the condition guards it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self._news = threading.Condition()

    def _note(self, what: str, path: str = "") -> None:
        with self._news:
            self.seen.append((what, path))
            self._news.notify_all()

    def changed(self, path: str) -> None:
        self._note("changed", path)

    def vanished(self, path: str) -> None:
        self._note("vanished", path)

    def appeared(self, folder: str) -> None:
        self._note("appeared", folder)

    def overflowed(self) -> None:
        self._note("overflowed")

    def came(self, what: str, path: str = "") -> bool:
        with self._news:
            return self._news.wait_for(lambda: (what, path) in self.seen, PATIENCE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    (folder / "in" / "deep").mkdir(parents=True)
    (folder / "in" / "old.jpg").write_bytes(b"old")
    return folder


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def observer(root: Path, hints: Hints) -> Iterator[Observer]:
    observer = Observer(str(root), hints)
    observer.start()
    yield observer
    observer.stop(PATIENCE)


@pytest.mark.usefixtures("observer")
def test_a_file_that_is_written_is_announced_at_any_depth(root: Path, hints: Hints) -> None:
    for path in ("a.jpg", "in/b.jpg", "in/deep/c.jpg"):
        (root / path).write_bytes(b"new")
        assert hints.came("changed", path)
    hints.seen.clear()
    (root / "in" / "old.jpg").write_bytes(b"more")
    assert hints.came("changed", "in/old.jpg")


@pytest.mark.usefixtures("observer")
@pytest.mark.parametrize("way", ["move", "hard link"])
def test_a_file_that_nobody_closes_here_is_announced(
    root: Path, tmp_path: Path, hints: Hints, way: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"ready")
    bring = os.rename if way == "move" else os.link
    bring(tmp_path / "a.jpg", root / "in" / "a.jpg")
    assert hints.came("changed", "in/a.jpg")


@pytest.mark.usefixtures("observer")
def test_a_rename_is_an_end_and_a_beginning(root: Path, hints: Hints) -> None:
    (root / "in" / "old.jpg").rename(root / "in" / "deep" / "new.jpg")
    assert hints.came("changed", "in/deep/new.jpg")
    assert hints.came("vanished", "in/old.jpg")


@pytest.mark.usefixtures("observer")
def test_what_is_deleted_or_moved_out_vanishes(root: Path, tmp_path: Path, hints: Hints) -> None:
    (root / "in" / "old.jpg").rename(tmp_path / "elsewhere.jpg")
    assert hints.came("vanished", "in/old.jpg")
    (root / "in" / "record").touch()
    (root / "in" / "record").unlink()
    assert hints.came("vanished", "in/record")


@pytest.mark.usefixtures("observer")
def test_a_folder_that_appears_is_announced_and_watched(
    root: Path, tmp_path: Path, hints: Hints
) -> None:
    (tmp_path / "card" / "100").mkdir(parents=True)
    (tmp_path / "card" / "100" / "a.jpg").write_bytes(b"was there before")
    (tmp_path / "card").rename(root / "card")
    assert hints.came("appeared", "card")
    (root / "made" / "below").mkdir(parents=True)
    assert hints.came("appeared", "made")
    (root / "card").rename(root / "in" / "renamed")
    assert hints.came("appeared", "in/renamed")
    (root / "in" / "renamed" / "100" / "b.jpg").write_bytes(b"new")
    assert hints.came("changed", "in/renamed/100/b.jpg")


@pytest.mark.usefixtures("observer")
def test_names_keep_their_bytes(root: Path, hints: Hints) -> None:
    for raw in HARD_NAMES:
        (root / "in" / os.fsdecode(raw)).touch()
    for raw in HARD_NAMES:
        assert hints.came("changed", f"in/{os.fsdecode(raw)}")


def test_links_are_not_followed(root: Path, tmp_path: Path, hints: Hints) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)
    observer = Observer(str(root), hints)
    observer.start()
    try:
        (root / "later").symlink_to(outside)
        (outside / "secret.jpg").write_bytes(b"secret")
        (root / "last.jpg").touch()
        assert hints.came("changed", "last.jpg")
    finally:
        observer.stop(PATIENCE)
    assert not [path for _, path in hints.seen if "secret" in path]


@pytest.mark.usefixtures("observer")
def test_reading_listing_and_single_writes_are_no_news(root: Path, hints: Hints) -> None:
    assert (root / "in" / "old.jpg").read_bytes() == b"old"
    assert list((root / "in").iterdir())
    with (root / "last.jpg").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x")
    (root / "very last.jpg").touch()
    assert hints.came("changed", "very last.jpg")
    assert hints.seen.count(("changed", "last.jpg")) <= 2  # made and closed
    assert ("changed", "in/old.jpg") not in hints.seen


def test_a_root_with_a_slash_at_its_end_is_the_same(root: Path, hints: Hints) -> None:
    observer = Observer(f"{root}/", hints)
    observer.start()
    (root / "in" / "a.jpg").touch()
    assert hints.came("changed", "in/a.jpg")
    observer.stop(PATIENCE)


def test_what_is_not_below_the_root_is_none_of_our_business(root: Path, hints: Hints) -> None:
    handler = _Handler(str(root), hints)
    handler.dispatch(FileCreatedEvent(f"{root}x/a.jpg"))
    handler.dispatch(DirMovedEvent(str(root), f"{root}-renamed"))
    assert not hints.seen


def lose_events(observer: Observer) -> None:
    """What its reading thread does when the kernel's queue has overflowed."""
    lost = InotifyEvent(WatchDescriptor(-1), InotifyConstants.IN_Q_OVERFLOW, 0, b"")
    observer._observer._inotify_fd.handle_event(lost)


def test_lost_events_are_told_and_other_warnings_are_not(observer: Observer, hints: Hints) -> None:
    logging.getLogger("watchdog.observers.inotify_c").warning("something else")
    assert not hints.seen
    lose_events(observer)
    assert ("overflowed", "") in hints.seen


def test_what_was_watched_before_events_were_lost_is_watched_after_it(
    root: Path, observer: Observer, hints: Hints
) -> None:
    lose_events(observer)
    (root / "in" / "deep" / "a.jpg").touch()
    assert hints.came("changed", "in/deep/a.jpg")
    assert observer.alive()


def test_it_is_alive_until_it_is_stopped_and_leaves_nothing_behind(
    root: Path, hints: Hints
) -> None:
    before, threads = open_descriptors(), set(threading.enumerate())
    observer = Observer(str(root), hints)
    observer.start()
    assert observer.alive()
    observer.stop(PATIENCE)
    assert not observer.alive()
    assert ended(*set(threading.enumerate()) - threads)
    assert open_descriptors() <= before
    (root / "late.jpg").touch()
    logging.getLogger("watchdog").warning("Inotify queue overflowed")
    assert not hints.seen


def test_it_is_not_alive_once_its_root_is_gone(
    root: Path, observer: Observer, hints: Hints
) -> None:
    emitters = list(observer._observer.emitters)
    shutil.rmtree(root)
    assert ended(*emitters)
    assert not observer.alive()
    assert hints.came("vanished", "in/old.jpg")


def test_a_root_that_is_absent_is_said_so_and_leaves_nothing_behind(
    tmp_path: Path, hints: Hints
) -> None:
    threads = set(threading.enumerate())
    observer = Observer(str(tmp_path / "absent"), hints)
    with pytest.raises(FileNotFoundError):
        observer.start()
    observer.stop(PATIENCE)
    assert ended(*set(threading.enumerate()) - threads)


def test_one_that_never_ends_does_not_hold_whoever_stops_it(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(observer._observer, "stop", hung.wait)
        observer.stop(0)
    assert observer.alive()
    hung.set()
