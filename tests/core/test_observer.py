"""What the kernel really announces, as hints about one share."""

import os
import resource
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, WatchDescriptor

from tests.core.factories import (
    HARD_NAMES,
    PATIENCE,
    ended,
    left_open,
    mounted,
    open_descriptors,
    opened_folder,
    without_override,
)
from watcher.observer import CANARY_SECONDS, Observer


class Hints:
    """Keeps what was hinted at; the condition guards it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self._news = threading.Condition()

    def _note(self, *hint: str) -> None:
        with self._news:
            self.seen.append(hint)
            self._news.notify_all()

    def changed(self, path: str) -> None:
        self._note("changed", path)

    def vanished(self, path: str) -> None:
        self._note("vanished", path)

    def renamed(self, source: str, path: str) -> None:
        self._note("renamed", source, path)

    def appeared(self, folder: str, source: str | None = None) -> None:
        self._note("appeared", folder, *([] if source is None else [source]))

    def overflowed(self) -> None:
        self._note("overflowed")

    def came(self, *hint: str) -> bool:
        with self._news:
            return self._news.wait_for(lambda: hint in self.seen, PATIENCE)


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
    observer = Observer(hints)
    plant(observer, root)
    yield observer
    observer.stop(PATIENCE)


def plant(observer: Observer, root: Path, below: str = "") -> None:
    """What the scan does, from the folder `below` on."""
    for folder, _, _ in os.walk(f"{root}/{below}"):
        with opened_folder(Path(folder)) as fd:
            observer.watch(folder[len(f"{root}/") :], fd)


def canary(observer: Observer, now: float = 0) -> None:
    """Sends one and waits until it has come back."""
    assert observer.alive(now)
    deadline = time.monotonic() + PATIENCE
    while observer._canary_sent is not None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def lose_events(observer: Observer) -> None:
    """What its reading thread does when the kernel's queue has overflowed."""
    lost = InotifyEvent(WatchDescriptor(-1), InotifyConstants.IN_Q_OVERFLOW, 0, b"")
    observer._inotify.handle_event(lost)


@pytest.mark.usefixtures("observer")
def test_writing_and_deleting_is_announced_at_any_depth(root: Path, hints: Hints) -> None:
    for path in ("a.jpg", "in/b.jpg", "in/deep/c.jpg"):
        (root / path).write_bytes(b"new")
        assert hints.came("changed", path)
    (root / "in" / "old.jpg").write_bytes(b"more")
    assert hints.came("changed", "in/old.jpg")
    (root / "in" / "old.jpg").unlink()
    assert hints.came("vanished", "in/old.jpg")


@pytest.mark.usefixtures("observer")
def test_a_file_that_nobody_closes_is_announced(root: Path, tmp_path: Path, hints: Hints) -> None:
    (tmp_path / "a.jpg").touch()
    (root / "in" / "linked.jpg").hardlink_to(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(root / "in" / "moved.jpg")
    assert hints.came("changed", "in/linked.jpg")
    assert hints.came("changed", "in/moved.jpg")


def test_a_move_within_the_share_is_one_rename_and_nothing_else(
    root: Path, observer: Observer, hints: Hints
) -> None:
    (root / "in" / "old.jpg").rename(root / "in" / "deep" / "new.jpg")
    assert hints.came("renamed", "in/old.jpg", "in/deep/new.jpg")
    for _ in range(3):
        canary(observer)
    assert hints.seen == [("renamed", "in/old.jpg", "in/deep/new.jpg")]


def test_what_is_moved_out_vanishes_when_it_has_arrived_nowhere_by_the_second_canary(
    root: Path, tmp_path: Path, observer: Observer, hints: Hints
) -> None:
    (root / "in" / "old.jpg").rename(tmp_path / "elsewhere.jpg")
    (root / "in" / "deep").rename(tmp_path / "elsewhere")
    canary(observer)
    assert not hints.seen
    canary(observer)
    assert hints.came("vanished", "in/old.jpg")
    canary(observer)
    assert hints.seen == [("vanished", "in/old.jpg")]  # a folder's records went with it


@pytest.mark.parametrize("bring", [os.rename, shutil.copytree])
def test_a_folder_that_appears_is_announced_and_watched_once_it_is_planted(
    root: Path, tmp_path: Path, observer: Observer, hints: Hints, bring: Callable[..., object]
) -> None:
    (tmp_path / "card" / "100").mkdir(parents=True)
    bring(tmp_path / "card", root / "card")
    assert hints.came("appeared", "card")
    (root / "card" / "100" / "early.jpg").touch()
    (root / "last.jpg").touch()
    assert hints.came("changed", "last.jpg")
    assert "early.jpg" not in str(hints.seen)
    plant(observer, root, "card")
    (root / "card" / "100" / "late.jpg").touch()
    assert hints.came("changed", "card/100/late.jpg")


def test_a_folder_moved_within_the_share_is_announced_with_its_source_and_forgotten_there(
    root: Path, observer: Observer, hints: Hints
) -> None:
    (root / "in").rename(root / "there")
    assert hints.came("appeared", "there", "in")
    (root / "there" / "deep" / "early.jpg").touch()
    (root / "last.jpg").touch()
    assert hints.came("changed", "last.jpg")
    assert "early.jpg" not in str(hints.seen)
    plant(observer, root, "there")
    (root / "there" / "deep" / "late.jpg").touch()
    assert hints.came("changed", "there/deep/late.jpg")


def test_planting_again_does_no_harm_and_warns_of_nothing(root: Path, hints: Hints) -> None:
    with warnings.catch_warnings(record=True) as caught:
        observer = Observer(hints)
        plant(observer, root)
        plant(observer, root)
    (root / "in" / "old.jpg").unlink()
    assert hints.came("vanished", "in/old.jpg")
    canary(observer)
    assert len(hints.seen) == 1
    assert not caught
    observer.stop(PATIENCE)


def test_a_folder_that_may_not_be_watched_is_told(root: Path, observer: Observer) -> None:
    with opened_folder(root / "in") as fd, without_override():
        (root / "in").chmod(0)
        with pytest.raises(PermissionError):
            observer.watch("in", fd)
    (root / "in").chmod(0o755)


@pytest.mark.usefixtures("observer")
def test_names_keep_their_bytes(root: Path, hints: Hints) -> None:
    for raw in HARD_NAMES:
        (root / "in" / os.fsdecode(raw)).touch()
    for raw in HARD_NAMES:
        assert hints.came("changed", f"in/{os.fsdecode(raw)}")


@pytest.mark.usefixtures("observer")
def test_reading_listing_and_single_writes_are_no_news(root: Path, hints: Hints) -> None:
    assert (root / "in" / "old.jpg").read_bytes() == b"old"
    os.listdir(root / "in")
    with (root / "last.jpg").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x")
    (root / "very last.jpg").touch()
    assert hints.came("changed", "very last.jpg")
    assert hints.seen.count(("changed", "last.jpg")) <= 2  # made and closed
    assert ("changed", "in/old.jpg") not in hints.seen


def test_lost_events_are_told_and_all_is_watched_after_it(
    root: Path, observer: Observer, hints: Hints
) -> None:
    lose_events(observer)
    assert hints.seen == [("overflowed",)]
    (root / "in" / "deep" / "a.jpg").touch()
    assert hints.came("changed", "in/deep/a.jpg")
    canary(observer)


def test_an_unmount_below_is_told(root: Path, observer: Observer, hints: Hints) -> None:
    with mounted(root / "card", "size=1m"):
        plant(observer, root)
    assert hints.came("overflowed")


@pytest.mark.usefixtures("observer")
def test_a_root_that_goes_is_told(root: Path, hints: Hints) -> None:
    shutil.rmtree(root)
    assert hints.came("overflowed")
    assert hints.came("vanished", "in/old.jpg")


def test_it_is_alive_while_its_thread_is_and_its_canary_comes_back_in_time(
    observer: Observer,
) -> None:
    canary(observer, 0)
    canary(observer, 10 * CANARY_SECONDS)
    observer._inotify.remove_callbacks([(observer._canary_watch, CallbackId(1))])
    assert observer.alive(1000)
    assert observer.alive(1000 + CANARY_SECONDS - 1)
    assert not observer.alive(1000 + CANARY_SECONDS)
    lose_events(observer)  # the canary may be among them: sent again
    assert observer.alive(2000)
    observer._inotify.stop()
    assert ended(observer._inotify)
    assert not observer.alive(2000)


def test_stopped_it_leaves_nothing_behind_and_says_nothing(root: Path, hints: Hints) -> None:
    before, threads = open_descriptors(), set(threading.enumerate())
    observer = Observer(hints)
    plant(observer, root)
    observer.stop(PATIENCE)
    assert ended(*set(threading.enumerate()) - threads)
    assert not left_open(before)
    (root / "late.jpg").touch()
    assert not hints.seen


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_without_a_descriptor_left_there_is_an_error_and_nothing_more(
    hints: Hints, room: int
) -> None:
    before, limits = open_descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(room + 1)]
    for fd in free:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], limits[1]))
    try:
        with pytest.raises(OSError, match=r"\[Errno 24\]"):  # EMFILE
            Observer(hints)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not left_open(before)


def test_one_that_never_ends_does_not_hold_whoever_stops_it(
    hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, hung = set(threading.enumerate()), threading.Event()
    observer = Observer(hints)
    stop = observer._inotify.stop
    monkeypatch.setattr(observer._inotify, "stop", lambda: hung.wait() and stop())
    observer.stop(0)
    assert observer._inotify.is_alive()
    hung.set()
    assert ended(*set(threading.enumerate()) - threads)
