"""What `check` says of this machine, by the single lines."""

import os
import resource
import socket
import ssl
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.core.factories import PROPERTY
from watcher.commands.check_host import monitor, notify, open_files, watches
from watcher.commands.check_service import _clock, _way_out
from watcher.commands.findings import Table, amount, failed, named, passed, warned
from watcher.commands.survey import Survey
from watcher.errors import ServiceTrouble
from watcher.exchange import Answer


def limits(folder: Path, *, watch: int = 1000, instances: int = 128, queue: int = 16384) -> str:
    for name, value in (
        ("fs/inotify/max_user_watches", watch),
        ("fs/inotify/max_user_instances", instances),
        ("fs/inotify/max_queued_events", queue),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return str(folder)


@pytest.mark.parametrize(
    ("folders", "level"),
    [(1, "PASS"), (800, "PASS"), (801, "WARN"), (1000, "WARN"), (1001, "WARN")],
)
def test_folders_are_compared_with_the_limit_of_watches(
    tmp_path: Path, folders: int, level: str
) -> None:
    row, _ = watches([Survey(folders=folders - 1), Survey(folders=1)], limits(tmp_path))
    assert row.level == level
    assert f"{folders:,} folders" in row.found
    assert level == "PASS" or "fs.inotify.max_user_watches=524288" in row.remedy
    assert ("will be polled" in row.found) == (folders > 1000)


def test_a_share_that_did_not_answer_leaves_the_count_open(tmp_path: Path) -> None:
    row, _ = watches([Survey(folders=5), None], limits(tmp_path))
    assert "5 or more folders" in row.found


def test_too_few_instances_and_a_short_queue_are_warnings(tmp_path: Path) -> None:
    root = limits(tmp_path, instances=1, queue=100)
    _, instances, queue = watches([Survey(), Survey()], root)
    assert (instances.level, queue.level) == ("WARN", "WARN")
    assert "max_user_instances=512" in instances.remedy
    assert "max_queued_events=16384" in queue.remedy


def test_a_lower_limit_of_a_container_counts(tmp_path: Path) -> None:
    root = limits(tmp_path)
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "max_inotify_watches").write_text("5")
    row, _ = watches([Survey(folders=6)], root)
    assert "is 5:" in row.found


def test_limits_that_cannot_be_read_are_said_so(tmp_path: Path) -> None:
    row, _ = watches([Survey()], str(tmp_path))
    assert row.level == "WARN"
    assert "cannot be read" in row.found


def test_no_limit_of_open_files_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (endless, endless))
    assert open_files(256, 4).level == "PASS"


# Monitor and notify


def test_an_address_that_is_free_is_free_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert monitor(listen, running=True).found.endswith("the running daemon listens there")
        row = monitor(listen, running=False)
        assert row.level == "FAIL"
        assert "Address already in use" in row.found
    assert monitor(listen, running=False).level == "PASS"
    assert monitor(listen, running=False).level == "PASS"


def test_an_address_that_is_no_name_is_told() -> None:
    row = monitor("a..b:9464", running=False)
    assert row.level == "FAIL"
    assert "cannot be listened on: " in row.found


def test_an_address_that_others_can_reach_is_a_warning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    row = monitor(f"0.0.0.0:{port}", running=False)
    assert row.level == "WARN"
    assert "127.0.0.1" in row.remedy


def test_an_address_that_is_not_this_machines_fails() -> None:
    assert monitor("192.0.2.1:9464", running=False).level == "FAIL"


def test_a_command_is_looked_for_and_not_run(tmp_path: Path) -> None:
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (row,) = notify((str(program), "x"), "", 300)
    assert row.level == "FAIL"
    assert "chmod +x" in row.remedy
    program.chmod(0o755)
    webhook, command = notify((str(program), "x"), "https://example.org/hook", 300)
    assert (webhook.level, command.level) == ("PASS", "PASS")
    assert not (tmp_path / "ran").exists()
    assert list(notify((), "", 300)) == []


# The way to the service


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "DNS"),
        (ssl.SSLError("wrong version number"), "TLS"),
        (TimeoutError("timed out"), "firewall may swallow"),
        (ConnectionRefusedError(111, "refused"), "Nothing listens"),
        (None, "[auth] url"),
    ],
)
def test_the_remedy_follows_from_what_began_it(cause: BaseException | None, said: str) -> None:
    between = RuntimeError("between")
    between.__cause__ = cause
    trouble = ServiceTrouble("cannot connect")
    trouble.__cause__ = between
    assert said in _way_out(trouble)


@pytest.mark.parametrize(("seconds", "level"), [(0, ""), (-600, "ahead of"), (600, "behind")])
def test_this_machines_clock_is_compared_with_the_answers_date(seconds: int, level: str) -> None:
    answer = Answer(200, {"date": formatdate(time.time() + seconds, usegmt=True)}, b"")
    found = list(_clock(answer))
    assert [level in finding.found for finding in found] == ([True] if level else [])


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Jan 2024 00:00:00 GMT"])
def test_an_answer_without_a_date_tells_nothing(date: str) -> None:
    assert list(_clock(Answer(200, {"date": date}, b""))) == []


# On the screen

ANY = st.text(max_size=200)


@PROPERTY
@given(ANY, ANY, st.sampled_from([passed, failed, warned]))
def test_whatever_is_said_fits_and_does_nothing_to_the_terminal(
    found: str, remedy: str, level: object
) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        table = Table(console)
        table.section(found)
        if level is passed:
            table.add(passed("thing", found))
        else:
            table.add((failed if level is failed else warned)("thing", found, remedy))
        table.summary()
    for line in capture.get().split("\n"):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2e15, "2.0 PB")]
)
def test_amounts_are_told_in_the_units_that_people_use(size: float, said: str) -> None:
    assert amount(size) == said


def test_names_are_the_first_few() -> None:
    assert named(["", "a\n", "b", "c"], 4) == "., a\\n, b, ..."
    assert named(["a"], 1) == "a"
    assert os.fsdecode(b"\xff") not in named([os.fsdecode(b"\xff")], 1)
