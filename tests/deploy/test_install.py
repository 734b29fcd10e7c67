"""What the scripts say before they change anything. (That they install is tried in real machines.)

The scripts are real; a directory that goes before all others on PATH says who runs them and which
Pythons there are.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.units import DEPLOY
from watcher import __version__

Said = subprocess.CompletedProcess[str]
SCRIPTS = sorted(map(str, DEPLOY.glob("*.sh")))
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def there(tmp_path: Path) -> Callable[[str, str], None]:
    """Puts a program of this name and shell text first on PATH."""
    (tmp_path / "bin").mkdir()

    def put(name: str, text: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    return put


@pytest.fixture
def start(tmp_path: Path, there: Callable[[str, str], None]) -> Callable[..., Said]:
    """Starts a script of deploy/ as somebody who is root, if nothing else is said."""
    there("id", "echo 0")
    there("python3", f'exec "{os.path.realpath(sys.executable)}" "$@"')  # PATH may have another
    for tool in ("systemctl", "systemd-sysusers", "setpriv"):
        there(tool, f"echo '{tool} was started' >&2; exit 99")

    def run(script: str, *arguments: str | Path) -> Said:
        return subprocess.run(
            ["sh", str(DEPLOY / script), *map(str, arguments)],
            env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


@pytest.mark.parametrize("script", ["install.sh", "wheelhouse.sh"])
def test_help_names_every_option(script: str, start: Callable[..., Said]) -> None:
    said = start(script, "--help")
    assert (said.returncode, said.stderr) == (0, "")
    branches = re.findall(r"^ +(-\S+(?: \| -\S+)*)\)$", (DEPLOY / script).read_text(), re.MULTILINE)
    options = {option for branch in branches for option in branch.split(" | ")} - {"-*"}
    assert "--python" in options
    assert options <= set(said.stdout.replace(",", " ").split())
    assert max(map(len, said.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("script", "arguments", "text"),
    [
        ("install.sh", ["--frobnicate"], "there is no option --frobnicate"),
        ("install.sh", ["/srv/photos"], "A share is named so: --share /srv/photos"),
        ("install.sh", ["--share"], "--share needs a value"),
        ("install.sh", ["--share", ""], "--share needs a value"),
        ("install.sh", ["--share", "photos"], "must be an absolute path"),
        ("install.sh", ["--share", '/srv/"; x = "'], "yourself"),
        ("install.sh", ["--share", "/srv/a\nb"], "yourself"),
        ("wheelhouse.sh", [], "DIR is missing"),
        ("wheelhouse.sh", ["a", "b"], "one directory only"),
        ("wheelhouse.sh", ["--frobnicate"], "there is no option --frobnicate"),
        ("wheelhouse.sh", ["--machine", "vax", "a"], "x86_64 or aarch64, not vax"),
        ("wheelhouse.sh", ["--python-version", "3.10", "a"], "not 3.10"),
        ("wheelhouse.sh", ["--python-version"], "--python-version needs a value"),
    ],
)
def test_wrong_words_are_answered(
    script: str, arguments: list[str], text: str, start: Callable[..., Said]
) -> None:
    said = start(script, *arguments)
    assert said.returncode == 2
    assert text in said.stderr
    assert f"See: sh deploy/{script} --help" in said.stderr


def test_only_root_installs(start: Callable[..., Said], there: Callable[[str, str], None]) -> None:
    there("id", "echo 1000")
    said = start("install.sh")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == "install.sh: must be run by root: sudo sh deploy/install.sh\n"


def test_a_python_that_is_too_old_is_named(
    start: Callable[..., Said], there: Callable[[str, str], None]
) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        there(name, "case $2 in *print*) echo 3.10 ;; *) exit 1 ;; esac")
    said = start("install.sh")
    assert said.returncode == 1
    assert "Python 3.11 or newer is needed, this is 3.10." in said.stderr
    assert "--python" in said.stderr


def test_a_python_without_venv_says_what_to_install(
    start: Callable[..., Said], there: Callable[[str, str], None]
) -> None:
    there("python3", "case $2 in *print*) echo 3.13 ;; *ensurepip*) exit 1 ;; esac")
    said = start("install.sh")
    assert said.returncode == 1
    assert said.stderr == "Python's venv module is missing: apt install python3.13-venv\n"


def test_a_python_that_is_none_is_answered(start: Callable[..., Said]) -> None:
    said = start("install.sh", "--python", "/nowhere/python3")
    assert said.returncode == 1
    assert "/nowhere/python3 is no Python that can be run" in said.stderr


def test_a_group_and_a_share_must_be_there(start: Callable[..., Said], tmp_path: Path) -> None:
    said = start("install.sh", "--group", "no-such-group-here")
    assert (said.returncode, "there is no group no-such-group-here" in said.stderr) == (1, True)
    said = start("install.sh", "--share", tmp_path / "away")
    assert said.returncode == 1
    assert "there is no such directory" in said.stderr


def test_a_directory_that_is_no_wheelhouse_is_answered(
    start: Callable[..., Said], tmp_path: Path
) -> None:
    said = start("install.sh", "--offline", tmp_path)
    assert said.returncode == 1
    assert "sh deploy/wheelhouse.sh DIR" in said.stderr


def test_a_wheelhouse_for_another_machine_is_answered(
    start: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "wheelhouse.txt").write_text(f"2.7 vax\n{PYTHON} vax\n")
    said = start("install.sh", "--offline", tmp_path)
    assert said.returncode == 1
    machine = platform.machine()
    assert f"is not for Python {PYTHON} on {machine}" in said.stderr
    assert f"--python-version {PYTHON} --machine {machine}" in said.stderr


def test_a_wheelhouse_of_another_version_is_answered(
    start: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "wheelhouse.txt").write_text(f"{PYTHON} {platform.machine()}\n")
    (tmp_path / "autoretouch_watcher-0.0.0-py3-none-any.whl").touch()
    said = start("install.sh", "--offline", tmp_path)
    assert said.returncode == 1
    assert __version__ in said.stderr


def test_a_wheelhouse_that_was_damaged_on_the_way_is_answered(
    start: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "wheelhouse.txt").write_text(f"{PYTHON} {platform.machine()}\n")
    wheel = f"autoretouch_watcher-{__version__}-py3-none-any.whl"
    (tmp_path / wheel).write_bytes(b"half of it")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {wheel}\n")
    said = start("install.sh", "--offline", tmp_path)
    assert said.returncode == 1
    assert f"install.sh: {tmp_path} is not as it was made: copy it again.\n" in said.stderr


def test_nothing_is_begun_where_systemd_does_not_run(start: Callable[..., Said]) -> None:
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here")
    said = start("install.sh")
    assert said.returncode == 1
    assert "not run by systemd" in said.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=os.path.basename)
def test_a_shell_understands_it(path: str) -> None:
    subprocess.run(["sh", "-n", path], check=True, timeout=30)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    said = subprocess.run(
        ["shellcheck", "--external-sources", "--shell=sh", "--source-path=SCRIPTDIR/..", *SCRIPTS],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stdout
