"""How far `run --once` is, on a terminal and elsewhere."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.core.factories import PATIENCE, a_share
from watcher import progress
from watcher.bar import Bar
from watcher.progress import Census, Lines, Nothing
from watcher.tally import Counts

DONE = Counts(uploaded=1, bytes=1000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.jpg", "deep/c.jpg"):
        (folder / name).write_bytes(b"x" * 1000)
    (folder / "notes.txt").touch()
    return folder


def counted(census: Census, counts: Counts = DONE) -> tuple[int, int] | None:
    """What the census says once its thread is through."""
    census.of(counts)
    assert census._counted.wait(PATIENCE)
    return census.of(counts)


def test_the_census_begins_with_the_first_file_that_is_done_and_adds_it(root: Path) -> None:
    census = Census([a_share(root)], after_seconds=0)
    assert census.of(Counts(standing=5)) is None
    assert census._thread is None
    assert counted(census) == (4, 4000)


def test_the_census_leaves_the_scan_time_to_be_through(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 100.9, 101.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    census = Census([a_share(root)])
    for _ in range(2):
        assert census.of(DONE) is None
        assert census._thread is None
    assert counted(census) == (4, 4000)


def test_a_share_that_is_gone_only_means_fewer_files(root: Path, tmp_path: Path) -> None:
    gone = a_share(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert counted(Census([gone, a_share(root)], after_seconds=0)) == (4, 4000)


def test_a_line_now_and_then_tells_files_bytes_and_rate(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 102.0, 110.0, 110.0, 112.0, 115.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    written: list[str] = []
    census = Census([a_share(root)], after_seconds=0)
    with Lines(census, write=written.append) as lines:
        lines.show(Counts())  # 2 seconds: too soon
        lines.show(DONE)  # 10 seconds: no total is known yet, or just so
        assert census._counted.wait(PATIENCE)
        lines.show(Counts(uploaded=2, rejected=1, bytes=2_000_000))  # 12 seconds: too soon
        lines.show(Counts(uploaded=2, rejected=1, bytes=3_000_000))  # 15 seconds
    assert len(written) == 2
    assert written[1] == "3/4 files  3.0 MB/4.0 kB  200.0 kB/s\n"


def test_a_bar_on_a_terminal_shows_what_is_done(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", stream)
    census = Census([a_share(root)], after_seconds=0)
    with Bar(census) as bar:
        bar.show(Counts())
        assert counted(census) == (4, 4000)
        bar.show(Counts(uploaded=4, bytes=4000))
        bar.show(Counts(uploaded=9, bytes=9000))  # more came meanwhile
    assert "9/4 files" in stream.getvalue()
    assert "100%" in stream.getvalue()


def test_the_daemon_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Nothing() as nothing:
        nothing.show(DONE)
    assert capsys.readouterr() == ("", "")
