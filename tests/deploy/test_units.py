"""The units say what the daemon needs, and systemd understands them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.units import SERVICE, SOURCE, UNITS, VERIFY, of_service, unit
from watcher.cli import cli
from watcher.commands.check_shares import SEEN
from watcher.daemon import SHUTDOWN_SECONDS
from watcher.exit_codes import CONFIGURATION

EXPOSURE = 13
"""Tenths of what `systemd-analyze security` may find at most."""

analyzed = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.mark.parametrize("path", sorted(UNITS.rglob("*.conf")), ids=lambda path: path.name)
def test_an_example_is_a_drop_in_as_it_stands(path: Path) -> None:
    if path.parent.name == "examples":
        assert unit(path)


def test_the_service_has_the_one_capability_and_no_other() -> None:
    service = of_service(SERVICE)
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == ["CAP_LEASE"]
    assert service["NoNewPrivileges"] == ["yes"]


def test_the_service_gives_the_daemon_time_to_finish() -> None:
    assert float(of_service(SERVICE)["TimeoutStopSec"][0]) > SHUTDOWN_SECONDS


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert of_service(SERVICE)["RestartPreventExitStatus"] == [str(CONFIGURATION)]


def test_the_service_settles_the_daemon_where_its_sandbox_lets_it_not_do_so_itself() -> None:
    """See `watcher.processor`."""
    service = of_service(SERVICE)
    assert "@resources" in service["SystemCallFilter"][-1]
    assert service["CPUSchedulingPolicy"] == ["batch"]
    assert [line[:2] for line in service["ExecStartPost"]] == ["-+"]


@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed")
@pytest.mark.parametrize("choose", [min, max, lambda _: None])
def test_what_settles_it_keeps_to_the_processors_that_it_may_have_and_says_nothing(
    choose: Callable[[set[int]], int | None],
) -> None:
    """All but the privilege, which one's own process does not take."""
    (line,) = of_service(SERVICE)["ExecStartPost"]
    line = line.replace("$$", "$")  # systemd.service(5)
    processors = os.sched_getaffinity(0)
    chosen = choose(processors)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        if chosen is not None:
            os.sched_setaffinity(process.pid, {chosen})
        said = subprocess.run(
            shlex.split(line.removeprefix("-+")),
            env={**os.environ, "MAINPID": str(process.pid)},
            check=True,
            capture_output=True,
        )
        assert os.sched_getaffinity(process.pid) == {max(processors) if chosen is None else chosen}
        assert not said.stdout + said.stderr
        process.communicate(b"\n")


def test_the_token_is_for_the_daemon_alone() -> None:
    for name in (SERVICE, VERIFY):
        service = of_service(name)
        assert service["StateDirectoryMode"] == ["0700"]
        assert service["LimitCORE"] == ["0"]


@pytest.mark.parametrize("name", [SERVICE, VERIFY])
def test_it_starts_only_commands_that_there_are(name: str) -> None:
    for key in ("ExecStartPre", "ExecStart"):
        for line in of_service(name).get(key, []):
            program, command, *options = line.split()
            assert program.lstrip("-") == (
                "/opt/autoretouch-watcher/current/bin/autoretouch-watcher"
            )
            known = {option for one in cli.commands[command].params for option in one.opts}
            assert set(options) <= known


NETWORK = {"PrivateNetwork", "RestrictAddressFamilies"}
WRITING = {"ReadWritePaths", "UMask", "ProcSubset"}
SANDBOX = re.compile(
    "Protect|Private|Restrict|SystemCall|Capabilit|NoNew|NoExec|ExecPaths|Lock|MemoryDeny|Keyring"
    "|Remove|Device|Temporary|Bind|Inaccessible|User|Group|State|Configuration"
)


def test_the_weekly_verify_has_the_same_sandbox() -> None:
    """But for what it does not need: the network, and to write."""
    daemon, verify = (
        {
            key: values
            for key, values in of_service(name).items()
            if SANDBOX.match(key) and key not in NETWORK | WRITING | {"RestartPreventExitStatus"}
        }
        for name in (SERVICE, VERIFY)
    )
    assert verify == daemon


def test_what_opens_a_directory_elsewhere_opens_it_for_both() -> None:
    """`autoretouch-.service.d` is read for all units whose names begin so."""
    for name in (SERVICE, VERIFY):
        assert name.startswith("autoretouch-")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as installed, but with a program that is there."""
    for path in UNITS.glob("autoretouch-watcher*"):
        text = path.read_text().replace(
            "/opt/autoretouch-watcher/current/bin/autoretouch-watcher", "/bin/true"
        )
        (tmp_path / path.name).write_text(text.replace("file:/opt/", f"file:{SOURCE}/opt/"))
    return tmp_path


@analyzed
def test_systemd_finds_no_fault_in_them(installed: Path) -> None:
    names = sorted(str(path) for path in installed.iterdir())
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    ours = [line for line in said.stderr.splitlines() if "autoretouch" in line]
    assert (said.returncode, ours) == (0, [])


@analyzed
@pytest.mark.parametrize("name", [SERVICE, VERIFY])
def test_they_expose_as_little_as_is_said(name: str, installed: Path) -> None:
    said = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={EXPOSURE}",
            str(installed / name),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_check_knows_where_the_service_looks_for_shares() -> None:
    seen = " ".join(of_service(SERVICE)["ReadWritePaths"]).split()
    assert {f"{path.removeprefix('-')}/" for path in seen} == set(SEEN)
