"""`status`: truthful whether the daemon runs or not, for people and for scripts."""

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.commands.test_census import GIF, reject, upload
from tests.core.factories import drop
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import PATIENCE, Installation
from watcher.commands import status
from watcher.commands.census import Stock
from watcher.commands.counting import Counted
from watcher.commands.report import Report, as_object, daemon_of, percent
from watcher.commands.status import run_status
from watcher.commands.status_screen import screen
from watcher.conditions import Condition
from watcher.published import Published
from watcher.settings import Settings, ShareSettings
from watcher.share import Share
from watcher.snapshot import Flight, ShareState, Snapshot
from watcher.tally import Counts, LastUpload

HOSTILE = "[red]x[/red]\n\x1b[31m\udcff.jpg"
SHOWN = r"[red]x[/red]\n\x1b[31m\udcff.jpg"


def a_snapshot(root: str, **values: Any) -> Snapshot:
    now = time.time()
    usual = Snapshot(
        version="9.9",
        pid=4711,
        started=now - 7_300,
        at=now,
        counts=Counts(uploaded=3, bytes=5_000),
        waiting=1,
        flights=(),
        shares=(ShareState(root=root, how="events"),),
        conditions=(),
        files_per_second=1.5,
        bytes_per_second=2_500_000.0,
        last_upload=None,
        moving=True,
    )
    return replace(usual, **values)


@contextlib.contextmanager
def a_daemon(state_dir: Path, snapshot: Snapshot | None) -> Iterator[None]:
    """What a running one leaves in its state directory."""
    published = Published(str(state_dir))
    with published.alone():
        if snapshot is not None:
            published.publish(snapshot)
        yield


class Status:
    """`status` of one share, in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = folder / "share"
        self.root.mkdir()
        self.state = folder / "state"
        self._capsys = capsys

    def __call__(self, *more: Path) -> tuple[int, str]:
        """The exit code and the text, whose lines all fit into 80 columns, in one line."""
        code = self._run(more, as_json=False)
        text = self._capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        return code, " ".join(text.split())

    def object(self, *more: Path) -> tuple[int, dict[str, Any]]:
        code = self._run(more, as_json=True)
        return code, json.loads(self._capsys.readouterr().out)

    def _run(self, more: tuple[Path, ...], *, as_json: bool) -> int:
        shares = tuple(ShareSettings(path=str(root)) for root in (self.root, *more))
        settings = Settings(share=shares)
        return run_status(lambda: settings, state_dir=str(self.state), as_json=as_json, watch=False)


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Status:
    return Status(tmp_path, capsys)


# Without a daemon


def test_without_a_daemon_the_counts_are_those_of_the_share(shown: Status) -> None:
    upload(drop(shown.root / "up.jpg"))
    drop(shown.root / "new.jpg")
    drop(shown.root / ".hidden.jpg")
    drop(shown.root / "x.nef")
    code, text = shown()
    assert code == 0
    assert "it does not run" in text
    assert "systemctl start autoretouch-watcher" in text
    assert " 1 0 1 1 3 " in text
    assert "which are not sent: RAW 1." in text


def test_rejections_are_shown_with_their_reasons_and_end_with_1(shown: Status) -> None:
    reject(drop(shown.root / "a/no.jpg"))
    code, text = shown()
    assert code == 1
    assert re.search(
        r"Newest rejections \d{4}-\d\d-\d\d \d\d:\d\d:\d\d a/no\.jpg It is a GIF\.", text
    )


def test_hostile_names_and_notes_do_nothing_to_the_terminal(shown: Status) -> None:
    drop(shown.root / HOSTILE)
    reject(shown.root / HOSTILE, "Why: [bold]\x1b]0;owned\x07 [/nothing]")
    _, text = shown()
    assert SHOWN in text
    assert r"[bold]\x1b]0;owned\x07 [/nothing]" in text
    _, found = shown.object()
    assert found["rejections"][0]["path"] == HOSTILE


def test_a_share_that_is_gone_is_said_so_and_the_others_are_counted(
    shown: Status, tmp_path: Path
) -> None:
    drop(shown.root / "a.jpg")
    code, text = shown(tmp_path / "gone")
    assert code == 1
    assert "It cannot be counted: cannot enter" in text
    _, found = shown.object(tmp_path / "gone")
    good, gone = found["shares"]
    assert (good["waiting"], good["images"], good["trouble"]) == (1, 1, "")
    assert (gone["waiting"], gone["images"], gone["not_sent"]) == (None, None, None)
    assert gone["trouble"].endswith("No such file or directory")


def test_what_was_not_counted_is_told(shown: Status) -> None:
    drop(shown.root / ".snapshot/a.jpg")
    code, text = shown()
    assert code == 0
    assert " 0 0 0 0+ 0+ " in text
    assert "+ Not counted: 1 folder of snapshots or ignored." in text


def test_a_state_directory_that_cannot_be_read_is_told_and_the_share_is_counted(
    shown: Status,
) -> None:
    shown.state.write_text("a file")
    drop(shown.root / "a.jpg")
    code, text = shown()
    assert code == 78
    assert "Daemon: not known. the state directory" in text
    assert " 0 0 1 0 1" in text
    assert shown.object()[1]["daemon"]["state"] == "unknown"


# With one


def test_what_a_daemon_publishes_is_shown(shown: Status) -> None:
    root = str(shown.root)
    snapshot = a_snapshot(
        root,
        flights=(
            Flight(root, "deep/" * 20 + "big.tif", "sending", 250, 1_000, 4.2),
            Flight(root, "[red].jpg", "looking", 0, 0, 0.1),
        ),
        last_upload=LastUpload(root, "a/last.jpg", time.time() - 300),
    )
    with a_daemon(shown.state, snapshot):
        code, text = shown()
    assert code == 0
    assert re.search(r"Daemon: runs since \d{4}-.* \(process 4711, version 9\.9\)", text)
    assert "1.5 files/s, 2.5 MB/s over the last minute; 1 file in its backlog" in text
    assert f"Last upload 5 minutes ago: {root}/a/last.jpg".replace(" ", "") in text.replace(" ", "")
    assert "The kernel tells what happens here." in text
    assert re.search(r"\.\.\.\S+deep/big\.tif sending 25 % 1\.0 kB 4 \[red\]\.jpg looking", text)


def test_conditions_are_shown_with_reason_remedy_and_since_when(shown: Status) -> None:
    since = time.mktime((2026, 11, 24, 8, 30, 0, 0, 0, -1))
    gone = Condition("share_gone", str(shown.root), "cannot enter it", since)
    with a_daemon(shown.state, a_snapshot(str(shown.root), conditions=(gone,))):
        code, text = shown()
        _, found = shown.object()
    assert code == 1
    assert "share_gone at" in text
    assert "since 2026-11-24 08:30:00 Why: cannot enter it What to do: Mount the share" in text
    assert found["conditions"] == [
        {
            "name": "share_gone",
            "place": str(shown.root),
            "reason": "cannot enter it",
            "since": since,
            "remedy": gone.remedy,
        }
    ]


def test_a_login_that_is_needed_has_an_exit_code_of_its_own(shown: Status) -> None:
    reject(drop(shown.root / "no.jpg"))
    needed = Condition("login_needed", "", "no token", time.time())
    with a_daemon(shown.state, a_snapshot(str(shown.root), conditions=(needed,))):
        code, text = shown()
    assert code == 77
    assert "login_needed, since" in text


def test_a_daemon_that_has_told_nothing_for_long_is_not_believed(shown: Status) -> None:
    with a_daemon(shown.state, a_snapshot(str(shown.root), at=time.time() - 3_700)):
        code, text = shown()
        _, found = shown.object()
    assert code == 1
    assert "it tells nothing." in text
    assert "has told nothing for 61 minutes:" in text
    assert "cannot write to its state directory" in text
    assert found["daemon"]["state"] == "not_answering"


def test_a_daemon_whose_workers_are_stuck_is_told(shown: Status) -> None:
    with a_daemon(shown.state, a_snapshot(str(shown.root), moving=False)):
        code, text = shown()
    assert code == 1
    assert "none of its workers gets on with it" in text


def test_a_daemon_that_starts_has_told_nothing_yet(shown: Status) -> None:
    with a_daemon(shown.state, None):
        code, text = shown()
    assert code == 0
    assert "it runs, but has told nothing yet" in text


def test_a_share_that_the_daemon_does_not_follow_is_told(shown: Status, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with a_daemon(shown.state, a_snapshot(str(shown.root))):
        _, text = shown(tmp_path / "new")
        _, found = shown.object(tmp_path / "new")
    assert "The daemon does not follow it" in text
    assert [share["followed"] for share in found["shares"]] == ["events", None]


def test_of_many_files_in_flight_those_are_shown_that_take_longest(shown: Status) -> None:
    root = str(shown.root)
    flights = tuple(Flight(root, f"{n}.jpg", "looking", 0, 9, float(n)) for n in range(20))
    with a_daemon(shown.state, a_snapshot(root, flights=flights)):
        _, text = shown()
        _, found = shown.object()
    assert "19.jpg" in text
    assert " 7.jpg" not in text
    assert "and 8 more" in text
    assert len(found["in_flight"]) == 20


@pytest.mark.parametrize(
    ("sent", "size", "expected"),
    [(0, 10, 0), (9, 10, 90), (999, 1000, 99), (11, 10, 100), (0, 0, 100)],
)
def test_percent(sent: int, size: int, expected: int) -> None:
    assert percent(sent, size) == expected


def test_the_keys_of_the_object_are_those_that_are_documented(shown: Status) -> None:
    reject(drop(shown.root / "no.jpg"))
    root = str(shown.root)
    snapshot = a_snapshot(
        root,
        flights=(Flight(root, "a.jpg", "sending", 1, 2, 3.0),),
        conditions=(Condition("watch_limit", root, "full", 1.0),),
        last_upload=LastUpload(root, "a.jpg", 1.0),
    )
    with a_daemon(shown.state, snapshot):
        _, running = shown.object()
    _, stopped = shown.object()
    documented = set(re.findall(r"\w+", str(status.__doc__).partition("--json")[2]))
    assert keys(running) <= documented
    assert keys(stopped) <= keys(running)
    assert set(stopped["daemon"]) == set(running["daemon"])


def keys(value: object) -> set[str]:
    """All keys at any depth."""
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in keys(each)}
    return {key for each in value for key in keys(each)} if isinstance(value, list) else set()


def test_a_share_that_is_being_counted_the_first_time(tmp_path: Path) -> None:
    counted = Counted(Share(root=str(tmp_path)))
    drawn = io.StringIO()
    report = Report(time.time(), daemon_of(str(tmp_path / "state"), 0), (counted,))
    Console(file=drawn, width=80).print(screen(report))
    assert "... ... ... ... ..." in " ".join(drawn.getvalue().split())
    assert "cannot be counted" not in drawn.getvalue()


def test_folders_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    stock = Stock(unreadable=2, unreadable_folder="a/b: it cannot be read: Permission denied")
    counted = Counted(Share(root=str(tmp_path)), stock, at=1.0)
    report = Report(time.time(), daemon_of(str(tmp_path / "state"), 0), (counted,))
    drawn = io.StringIO()
    Console(file=drawn, width=80).print(screen(report))
    assert "2 folders cannot be read" in drawn.getvalue()
    assert report.code == 1
    assert as_object(report)["shares"][0]["unreadable"] == 2


# As a process


def test_a_real_daemon_and_what_it_made_of_a_share(installed: Installation) -> None:
    installed.drop("good.jpg", picture(1))
    installed.drop("gif.jpg", GIF)
    with installed.daemon() as running:
        running.wait_for("uploaded")
        running.wait_for("rejected")
        ends = time.monotonic() + PATIENCE
        while True:
            done = installed.call("status", "--json")
            found = json.loads(done.stdout)
            if found["daemon"]["last_upload"] or time.monotonic() > ends:
                break
        assert found["daemon"]["state"] == "running"
        assert found["daemon"]["pid"] == running.process.pid
        assert found["daemon"]["last_upload"]["path"] == "good.jpg"
        assert running.stop() == 0
    (share,) = found["shares"]
    assert (share["uploaded"], share["rejected"], share["followed"]) == (1, 1, "events")
    assert (done.code, done.stderr) == (1, "")
    assert found["rejections"][0]["path"] == "gif.jpg"
    after = installed.call("status")
    assert "it does not run" in " ".join(after.stdout.split())
    assert after.code == 1


def test_with_a_wrong_configuration_it_says_what_the_daemon_does_that_has_a_good_one(
    installed: Installation,
) -> None:
    with installed.daemon() as running:
        published = Published(str(installed.folder / "state"))
        running.wait_until(lambda: published.read() is not None, "it publishes")
        good = installed.config.read_text()
        installed.config.write_text(good + "\n[uploads]\nparallel = 1\n")
        done = installed.call("status")
        assert (done.code, done.stdout) == (78, "")
        assert "uploads: unknown key" in done.stderr
        assert f"process {running.process.pid}) goes on" in done.stderr
        assert "1 share, 0 uploaded, 0 rejected since the start, 0 waiting." in done.stderr
    done = installed.call("status")
    assert done.code == 78
    assert "goes on" not in done.stderr


def test_without_a_share_it_is_one_clear_text(installed: Installation) -> None:
    installed.config.write_text("")
    done = installed.call("status")
    assert done.code == 78
    assert "no share is configured" in done.stderr


class Terminal:
    """The program on a terminal of 80 columns."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            env={**environment, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "50"},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.drawn = ""

    def read_until(self, pattern: str) -> None:
        """Until it is drawn; a test's time limit ends what never comes."""
        while not re.search(pattern, self.drawn):
            self.drawn += os.read(self._ours, 4096).decode()

    def end(self) -> int:
        with contextlib.suppress(OSError):  # EIO: the other side was closed
            while data := os.read(self._ours, 4096):
                self.drawn += data.decode()
        os.close(self._ours)
        return self.process.wait(PATIENCE)


def test_watching_shows_what_changes_until_ctrl_c(installed: Installation) -> None:
    installed.drop("a.jpg", b"x")
    terminal = Terminal(installed.command("status", "--watch"), installed.environment)
    terminal.read_until(r" 0 +0 +1 +0 +1\b")
    installed.drop("b.jpg", b"x")
    terminal.read_until(r" 0 +0 +2 +0 +2\b")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 0
    assert "Traceback" not in terminal.drawn


def test_on_a_terminal_it_says_that_it_counts(installed: Installation) -> None:
    terminal = Terminal(installed.command("status"), installed.environment)
    assert terminal.end() == 0
    assert "Counting the shares" in terminal.drawn
    assert "\x1b[1m" in terminal.drawn
    plain = Terminal(installed.command("status"), {**installed.environment, "NO_COLOR": "1"})
    assert plain.end() == 0
    assert not re.search(r"\x1b\[(?:\d;)?3[0-7]m", plain.drawn)


def test_watching_without_a_terminal_prints_one_screen_after_another(
    installed: Installation,
) -> None:
    process = subprocess.Popen(
        installed.command("status", "--watch"),
        env=installed.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        screens = 0
        for line in process.stdout:
            screens += line.startswith("Daemon:")
            if screens == 2:
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert process.returncode == 0
