"""The process that has the connections: whatever becomes of it, no image does badly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.factories import wait_until
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation, Running
from watcher import switchboard
from watcher.sandbox import faults

PROCESSORS = os.sched_getaffinity(0)
two_processors = pytest.mark.skipif(
    len(PROCESSORS) < 2, reason="there is one processor, so there is no such process"
)
pytestmark = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(),
    reason="this kernel does not tell a process's children (CONFIG_PROC_CHILDREN)",
)


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(child) for child in found.split()]


def the_other(running: Running) -> int:
    (other,) = children(running.process.pid)
    return other


def is_there(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


@two_processors
def test_it_opens_no_file_and_ends_with_the_daemon(installed: Installation) -> None:
    with installed.daemon() as running:
        other = the_other(running)
        installed.drop("a.jpg", picture(1))
        running.wait_for("uploaded")
        links = [os.readlink(link) for link in Path(f"/proc/{other}/fd").iterdir()]
        assert not [link for link in links if str(installed.folder) in link]
        assert running.stop() == 0
        assert not is_there(other)
        assert not running.other_lines


@two_processors
def test_it_may_go_to_any_processor_and_takes_turns_in_peace(installed: Installation) -> None:
    with installed.daemon() as running:
        other = the_other(running)
        installed.drop("a.jpg", picture(1))
        running.wait_for("uploaded")
        assert os.sched_getaffinity(other) == PROCESSORS
        assert os.sched_getscheduler(other) == os.SCHED_BATCH


@two_processors
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_leaves_signals_to_the_daemon(installed: Installation, number: int) -> None:
    """Ctrl-C and the end of a terminal come to both."""
    with installed.daemon() as running:
        other = the_other(running)
        os.kill(other, number)
        installed.drop("a.jpg", picture(1))
        running.wait_for("uploaded")
        assert is_there(other)
        assert not running.named("deferred")


@two_processors
def test_if_it_dies_in_mid_upload_all_goes_on_without(installed: Installation) -> None:
    slow = installed.service.fault(faults.Slow(1), method="POST", path="/upload", times=None)
    with installed.daemon() as running:
        for number in range(12):
            installed.drop(f"{number}.jpg", picture(number))
        assert installed.service.wait_for(lambda: slow.hits > 2)
        os.kill(the_other(running), signal.SIGKILL)
        installed.service.clear_faults()
        running.wait_until(
            lambda: len(running.named("uploaded") + running.named("already_known")) == 12,
            "all of them",
        )
        assert running.named("deferred", reason="service_trouble")
        assert "SIGKILL" in running.wait_for("failed", reason="process_ended")["found"]
        assert running.stop() == 0
        assert len(running.named("failed")) == 1
        assert not running.other_lines
    assert len(installed.service.uploads) == 12


@two_processors
def test_one_that_fails_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(switchboard, "_run", failing)
    with switchboard.switchboard({}) as board:
        assert board is not None
        wait_until(lambda: "ended with 1" in board.end())
        assert board.end() == ""


@two_processors
def test_it_does_not_outlive_a_daemon_that_is_killed(installed: Installation) -> None:
    held = installed.service.fault(faults.Slow(5), method="POST", path="/upload", times=None)
    with installed.daemon() as running:
        other = the_other(running)
        installed.drop("a.jpg", picture(1))
        assert installed.service.wait_for(lambda: held.hits > 0)
        running.kill()
        wait_until(lambda: not is_there(other))


@two_processors
def test_it_outlasts_a_new_configuration(installed: Installation) -> None:
    with installed.daemon() as running:
        other = the_other(running)
        installed.configure(settle=0.1)
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("config_reloaded")
        installed.drop("a.jpg", picture(1))
        running.wait_for("uploaded")
        assert the_other(running) == other


def test_where_there_is_one_processor_there_is_no_such_process(installed: Installation) -> None:
    on_one = f"""
import os, sys
os.sched_setaffinity(0, {{{min(PROCESSORS)}}})
os.execv(sys.argv[1], sys.argv[1:])
"""
    with installed.daemon(under=[sys.executable, "-c", on_one]) as running:
        installed.drop("a.jpg", picture(1))
        running.wait_for("uploaded")
        assert not children(running.process.pid)


@two_processors
def test_who_ignores_the_end_of_children_hands_that_down(installed: Installation) -> None:
    """SIGCHLD that is ignored stays so over an exec: then there is no end to wait for."""
    ignoring = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""
    installed.drop("a.jpg", picture(1))
    done = subprocess.run(
        [sys.executable, "-c", ignoring, *installed.command("run", "--once")],
        env=installed.environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(installed.service.uploads) == 1


@two_processors
@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGUSR1, "SIGUSR1"), (signal.SIGRTMIN + 6, "signal 40")]
)
def test_one_that_a_signal_ends_is_told_with_it(
    monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    monkeypatch.setattr(switchboard, "_run", lambda *_: os.kill(os.getpid(), number))
    with switchboard.switchboard({}) as board:
        assert board is not None
        wait_until(lambda: f"was ended by {name}. " in board.end())
