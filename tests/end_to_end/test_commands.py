"""The command line: what it prints, and the exit codes that scripts depend on."""

import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation

REPOSITORY = Path(__file__).parents[2]


def on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Runs it with a terminal of 80 columns for its output; the exit code and what it drew."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    try:
        while data := os.read(ours, 4096):
            drawn += data
    except OSError:  # EIO: the other side was closed, which is how a terminal ends
        pass
    finally:
        os.close(ours)
    return process.wait(30), drawn.decode()


def test_the_demo_shows_what_becomes_of_each_sample(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "watcher", "demo"],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"IMG_0001\.jpg +a good JPEG +uploaded", done.stdout)
    assert re.search(r"copy of IMG_0001\.jpg +the same once more +known", done.stdout)
    assert re.search(r"panorama\.png +12,000 pixels wide +rejected: too_large", done.stdout)
    assert re.search(r"interrupted\.jpg +without its end +rejected: incomplete", done.stdout)
    assert re.search(r"DSC_0042\.tif +a RAW file +rejected: raw", done.stdout)
    assert re.search(r"slow\.tif +takes 4 s to write +waiting: being_written", done.stdout)
    assert re.search(r"slow\.tif +takes 4 s to write +uploaded", done.stdout)
    assert "4 uploads in all" in done.stdout
    (folder,) = tmp_path.glob("autoretouch-demo-*")
    assert (folder / "share/Monday/IMG_0001.jpg.sha256").exists()


def test_the_sandbox_prints_what_is_needed_and_serves(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "watcher", "sandbox"],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        printed = ""
        while "/path/to/a/folder" not in printed:
            printed += process.stdout.readline()
        share = tmp_path / "share"
        share.mkdir()
        (share / "IMG.jpg").write_bytes(picture())
        config = tmp_path / "config.toml"
        snippet = printed[printed.index("[api]") :].replace("/path/to/a/folder", str(share))
        config.write_text(snippet + "\n[readiness]\nsettle_seconds = 0.2\n")
        token = re.search(r"AUTORETOUCH_REFRESH_TOKEN=(\S+)", printed)
        assert token is not None
        done = subprocess.run(
            [sys.executable, "-m", "watcher", "--config", config, "run", "--once"],
            env={
                "PATH": os.environ["PATH"],
                "AUTORETOUCH_REFRESH_TOKEN": token[1],
                "STATE_DIRECTORY": str(tmp_path / "state"),
            },
            check=False,
            capture_output=True,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert done.returncode == 0
    assert (share / "IMG.jpg.sha256").exists()
    assert (tmp_path / "state/token.json").stat().st_mode & 0o777 == 0o600


def test_a_port_that_is_taken_is_said(installed: Installation) -> None:
    result = installed.call("sandbox", "--port", str(installed.service.port))
    assert result.code == 1
    said = f"Error: cannot listen on port {installed.service.port}: Address already in use"
    assert result.stderr.startswith(said)


@pytest.mark.parametrize("missing", ["PIL", "python_multipart"])
@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_without_the_extra_it_says_what_to_install(command: str, missing: str) -> None:
    without = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = [{command!r}]\n"
        "from watcher.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", without], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'autoretouch-watcher[demo]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_gets_a_progress_bar(installed: Installation) -> None:
    installed.service.latency_seconds = 0.1
    for number in range(12):
        installed.drop(f"{number}.jpg", picture(number))
    code, drawn = on_a_terminal(installed.command("run", "--once"), installed.environment)
    assert code == 0
    assert "12/12 files" in drawn
    assert "100%" in drawn
    assert "kB" in drawn
    assert "uploaded" in drawn  # the log, readable, above the bar


def test_no_colour_is_asked_for_by_the_usual_variable(installed: Installation) -> None:
    installed.drop("IMG.jpg", picture())
    environment = {**installed.environment, "NO_COLOR": "1"}
    code, drawn = on_a_terminal(installed.command("run", "--once"), environment)
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", drawn)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nonsense",), 2, "No such command 'nonsense'"),
        (("run", "--onec"), 2, "No such option"),
        (("--config", "/nonexistent.toml", "run"), 78, "/nonexistent.toml: cannot be read"),
        (("--version",), 0, "0.1.0"),
        (("--help",), 0, "once and whole"),
        ((), 2, "Usage:"),
    ],
)
def test_words_that_are_wrong_get_one_clear_answer(
    arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "watcher", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[apo]\n", "apo: unknown key; did you mean 'api'?"),
        ("[log]\nlevel = 3\n", "[log] level: should be 'debug', 'info', 'warning' or 'error'"),
        ("[workers]\ncount = 0\n", "[workers] count: should be greater than or equal to 1"),
        ("[[share]]\n", "[[share]] 2, path: is missing"),
        ("nonsense\n", "is not TOML"),
    ],
)
def test_a_configuration_that_is_wrong_ends_with_78(
    installed: Installation, more: str, says: str
) -> None:
    installed.configure(more=more)
    result = installed.call("run")
    assert result.code == 78
    assert says in result.stderr
    assert str(installed.config) in result.stderr


def test_without_a_share_it_says_how_to_name_one(installed: Installation) -> None:
    installed.config.write_text("")
    result = installed.call("run")
    assert result.code == 78
    assert "[[share]]" in result.stderr


def test_the_example_configuration_is_complete_and_holds_the_defaults() -> None:
    from watcher.settings import Settings, ShareSettings  # noqa: PLC0415

    written = tomllib.loads((REPOSITORY / "config.example.toml").read_text())
    defaults = Settings(share=(ShareSettings(path="/srv/photos"),)).model_dump(mode="json")
    assert written == defaults


def test_a_standard_output_that_is_full_is_one_clear_line(installed: Installation) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            installed.command("config"),
            env=installed.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_standard_output_that_is_closed_is_done_without(installed: Installation) -> None:
    closing = ["sh", "-c", 'exec "$@" >&-', "sh", *installed.command("config")]
    done = subprocess.run(
        closing, env=installed.environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
