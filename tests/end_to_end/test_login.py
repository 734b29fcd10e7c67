"""`login` and `logout` as a person has them: a process, a terminal or none, a running daemon."""

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.end_to_end.pictures import picture
from tests.end_to_end.running import PATIENCE, Installation
from watcher.published import Published
from watcher.sandbox import OAuthRules, Sandbox, faults

ONE = {"org-1": "The studio"}
TWO = {**ONE, "org-2": "The other studio"}


@pytest.fixture
def organizations() -> dict[str, str]:
    return ONE


@pytest.fixture
def service(organizations: dict[str, str]) -> Iterator[Sandbox]:
    rules = OAuthRules(poll_interval_seconds=0, rotate_refresh_tokens=True)
    with Sandbox(organizations=organizations, oauth=rules) as sandbox:
        yield sandbox


@pytest.fixture
def installed(tmp_path: Path, service: Sandbox) -> Installation:
    installed = Installation(tmp_path, service)
    installed.configure(organization="")
    del installed.environment["AUTORETOUCH_ACCESS_TOKEN"]
    installed.environment["PYTHONUTF8"] = "1"
    return installed


SEVERAL = pytest.mark.parametrize("organizations", [TWO])


class Piped:
    """`login` without a terminal. Its two outputs are read by a thread each."""

    def __init__(self, installed: Installation, *more: str) -> None:
        self.process = subprocess.Popen(
            installed.command("login", *more),
            env=installed.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._news = threading.Condition()
        self.said = {"stdout": "", "stderr": ""}
        self._readers = [threading.Thread(target=self._read, args=[name]) for name in self.said]

    def _read(self, name: str) -> None:
        for line in getattr(self.process, name):
            with self._news:
                self.said[name] += line
                self._news.notify_all()

    def __enter__(self) -> Self:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for reader in self._readers:
            reader.join()
        self.process.communicate()

    def until(self, pattern: str) -> re.Match[str]:
        """What the pattern matches in the output, once it does."""
        with self._news:
            found = self._news.wait_for(
                lambda: re.search(pattern, self.said["stdout"]), timeout=PATIENCE
            )
        assert found, self.said
        return found

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return code


def code_shown(login: Piped) -> str:
    return login.until(r"user_code=(\S+)")[1]


def sign_in(installed: Installation, *more: str) -> Piped:
    """Signs in to the end, somebody agreeing at once."""
    with Piped(installed, *more) as login:
        installed.service.approve(code_shown(login))
        login.end()
    return login


def stored(installed: Installation) -> dict[str, Any]:
    values = json.loads((installed.folder / "state/token.json").read_text())
    assert isinstance(values, dict)
    return values


def is_signed_in(installed: Installation) -> bool:
    return (installed.folder / "state/token.json").exists()


# Without a terminal


def test_without_a_terminal_it_says_what_to_open_and_waits(installed: Installation) -> None:
    with Piped(installed) as login:
        code = code_shown(login)
        login.until("Waiting")
        assert f"{installed.service.url}/activate?user_code={code}" in login.said["stdout"]
        assert "\u2588" not in login.said["stdout"]
        installed.service.approve(code)
        assert login.end() == 0
    assert "Images go to The studio (org-1)" in login.said["stdout"]
    assert "Signed in." in login.said["stdout"]
    assert login.said["stderr"] == ""
    file = installed.folder / "state/token.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stored(installed)["organization"] == "org-1"
    for name in ("access_token", "refresh_token"):
        assert stored(installed)[name] not in login.said["stdout"]


def test_the_login_is_all_that_is_needed(installed: Installation) -> None:
    sign_in(installed)
    installed.drop("IMG.jpg", picture())
    assert installed.once().code == 0
    assert installed.service.requests[-1].organization == "org-1"


@pytest.mark.parametrize(
    ("error", "says"), [("access_denied", "declined"), ("expired_token", "before the code ended")]
)
def test_a_sign_in_that_comes_to_nothing_ends_with_1(
    installed: Installation, error: str, says: str
) -> None:
    body = json.dumps({"error": error}).encode()
    installed.service.fault(faults.Status(403, body=body), path="/oauth/token")
    result = installed.call("login")
    assert result.code == 1
    assert says in result.stderr
    assert not is_signed_in(installed)


def test_a_service_that_is_down_is_said(installed: Installation) -> None:
    installed.service.stop()
    result = installed.call("login")
    assert result.code == 1
    assert "cannot connect" in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_ends_it_cleanly(installed: Installation) -> None:
    with Piped(installed) as login:
        login.until("Waiting")
        login.process.send_signal(signal.SIGINT)
        assert login.end() == 130
    assert "Traceback" not in login.said["stderr"]
    assert not is_signed_in(installed)


def test_a_state_directory_that_cannot_be_is_a_configuration_error(
    installed: Installation,
) -> None:
    (installed.folder / "state").write_text("in the way")
    with Piped(installed) as login:
        installed.service.approve(code_shown(login))
        assert login.end() == 78
    assert "--state-dir" in login.said["stderr"]
    assert "Traceback" not in login.said["stderr"]


# Which organization


@SEVERAL
def test_among_several_organizations_none_is_guessed(installed: Installation) -> None:
    login = sign_in(installed)
    assert login.process.returncode == 1
    for known in TWO:
        assert known in login.said["stderr"]
    assert "--organization" in login.said["stderr"]
    assert not is_signed_in(installed)
    assert installed.service.counters["POST /oauth/revoke 200"] == 1  # and nothing is left behind


@SEVERAL
def test_the_organization_can_be_named(installed: Installation) -> None:
    assert sign_in(installed, "--organization", "org-2").process.returncode == 0
    installed.drop("IMG.jpg", picture())
    assert installed.once().code == 0
    assert {seen.organization for seen in installed.service.requests[-2:]} == {"org-2"}


@SEVERAL
def test_an_organization_of_others_is_refused(installed: Installation) -> None:
    login = sign_in(installed, "--organization", "org-3")
    assert login.process.returncode == 1
    assert "does not belong" in login.said["stderr"]
    assert not is_signed_in(installed)


@SEVERAL
def test_the_configured_organization_goes_before(installed: Installation) -> None:
    installed.configure(organization="org-2")
    login = sign_in(installed)
    assert "configured organization, org-2" in login.said["stdout"]
    assert stored(installed)["organization"] == ""
    assert installed.service.counters["GET /v1/organization"] == 0


def test_a_list_that_cannot_be_had_keeps_no_login(installed: Installation) -> None:
    installed.service.fault(faults.Status(503), path="/v1/organization")
    login = sign_in(installed)
    assert login.process.returncode == 1
    assert "answered 503" in login.said["stderr"]
    assert not is_signed_in(installed)


# On a terminal


class Terminal:
    """`login` on a terminal of so many columns."""

    def __init__(self, installed: Installation, *, columns: int = 80, lines: int = 50) -> None:
        self._ours, theirs = pty.openpty()
        size = {"COLUMNS": str(columns), "LINES": str(lines), "TERM": "xterm"}
        self.process = subprocess.Popen(
            installed.command("login"),
            env={**installed.environment, **size},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._drawn = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def drawn(self) -> str:
        return self._drawn.decode("utf-8", "replace").replace("\r\n", "\n")

    def until(self, pattern: str) -> re.Match[str]:
        while not (found := re.search(pattern, self.drawn)):
            assert self._read(), self.drawn
        return found

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bytes:
        assert select.select([self._ours], [], [], PATIENCE)[0], self.drawn
        try:
            data = os.read(self._ours, 4096)
        except OSError:  # EIO: the other side was closed, which is how a terminal ends
            data = b""
        self._drawn += data
        return data


def test_a_terminal_shows_a_code_for_the_telephone(installed: Installation) -> None:
    with Terminal(installed) as terminal:
        code = terminal.until(r"user_code=(\S+)")[1]
        terminal.until("Waiting")
        rows = [line for line in terminal.drawn.splitlines() if "\u2588\u2588" in line]
        assert len(rows) > 10
        assert len({len(row) for row in rows}) == 1
        installed.service.approve(code)
        assert terminal.end() == 0
        assert "Signed in." in terminal.drawn


@pytest.mark.parametrize(
    ("columns", "lines", "encoding"), [(20, 50, "utf-8"), (80, 10, "utf-8"), (80, 50, "ascii")]
)
def test_a_terminal_that_cannot_show_it_gets_the_words_alone(
    installed: Installation, columns: int, lines: int, encoding: str
) -> None:
    installed.environment["PYTHONIOENCODING"] = encoding
    with Terminal(installed, columns=columns, lines=lines) as terminal:
        terminal.until("Waiting")
        assert "\u2588" not in terminal.drawn
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130


@SEVERAL
def test_a_terminal_asks_which_organization(installed: Installation) -> None:
    with Terminal(installed) as terminal:
        installed.service.approve(terminal.until(r"user_code=(\S+)")[1])
        terminal.until(r"Number.*: ")
        assert "2  The other studio (org-2)" in terminal.drawn
        terminal.type("7\n")
        terminal.until(r"(?s)not in the range.*Number.*: ")
        terminal.type("2\n")
        assert terminal.end() == 0
    assert stored(installed)["organization"] == "org-2"


@SEVERAL
def test_giving_up_instead_of_an_answer_keeps_no_login(installed: Installation) -> None:
    """By Ctrl-D: a signal sent by a program can come just before Python begins to read."""
    with Terminal(installed) as terminal:
        installed.service.approve(terminal.until(r"user_code=(\S+)")[1])
        terminal.until(r"Number.*: ")
        terminal.type("\x04")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.drawn
    assert not is_signed_in(installed)
    assert installed.service.counters["POST /oauth/revoke 200"] == 1


# A daemon that runs meanwhile


def test_a_running_daemon_takes_a_login_up_by_itself(installed: Installation) -> None:
    installed.drop("before.jpg", picture(1))
    with installed.daemon() as daemon:
        condition = daemon.wait_for("condition_raised", condition="login_needed")
        assert "autoretouch-watcher login" in condition["reason"]
        sign_in(installed)
        daemon.wait_for("uploaded", path="before.jpg")
        daemon.wait_for("condition_cleared", condition="login_needed")
        assert daemon.stop() == 0


def test_that_nobody_has_signed_in_is_said_before_any_file_waits(installed: Installation) -> None:
    with installed.daemon() as daemon:
        condition = daemon.wait_for("condition_raised", condition="login_needed")
        assert "autoretouch-watcher login" in condition["reason"]
        sign_in(installed)
        daemon.wait_for("condition_cleared", condition="login_needed")
        assert installed.call("logout").code == 0
        daemon.wait_until(lambda: len(daemon.named("condition_raised")) == 2, "it is said again")


def test_an_upload_that_ends_after_a_logout_does_not_say_that_all_is_well(
    installed: Installation,
) -> None:
    sign_in(installed)
    slow = installed.service.fault(faults.Slow(2), method="POST", path="/upload")
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        assert installed.service.wait_for(lambda: slow.hits > 0)
        assert installed.call("logout", "--only-here").code == 0
        daemon.wait_for("condition_raised", condition="login_needed")
        daemon.wait_for("uploaded", path="a.jpg")
        installed.drop("b.jpg", picture(2))
        sign_in(installed)
        daemon.wait_for("uploaded", path="b.jpg")
        daemon.wait_for("condition_cleared", condition="login_needed")
        assert len(daemon.named("condition_raised")) == 1


def test_a_login_that_cannot_be_used_does_not_say_that_all_is_well(
    installed: Installation,
) -> None:
    sign_in(installed)
    token = installed.folder / "state" / "token.json"
    good = token.read_bytes()
    token.unlink()
    with installed.daemon() as daemon:
        daemon.wait_for("condition_raised", condition="login_needed")
        token.write_bytes(good)
        token.chmod(0o644)
        installed.drop("a.jpg", picture(1))
        published = Published(str(installed.folder / "state"))
        daemon.wait_until(lambda: (now := published.read()) and now.waiting == 1, "it waits")
        assert not daemon.named("condition_cleared")
        token.chmod(0o600)
        daemon.wait_for("uploaded", path="a.jpg")
        daemon.wait_for("condition_cleared", condition="login_needed")
        assert len(daemon.named("condition_raised")) == 1


def test_a_new_login_is_believed_where_no_file_is_left_to_try_it(
    installed: Installation,
) -> None:
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = installed.service.refresh_token
    installed.service.revoke_refresh_tokens()
    image = installed.drop("a.jpg", picture(1))
    with installed.daemon() as daemon:
        daemon.wait_for("condition_raised", condition="login_needed")
        image.unlink()
        sign_in(installed)
        daemon.wait_for("condition_cleared", condition="login_needed")
    assert not installed.service.uploads


def test_nothing_to_send_needs_no_login(installed: Installation) -> None:
    assert installed.once().code == 0


def test_a_login_mends_a_token_that_was_revoked_also_after_a_restart(
    installed: Installation,
) -> None:
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = installed.service.refresh_token
    installed.service.revoke_refresh_tokens()
    installed.drop("a.jpg", picture(1))
    with installed.daemon() as daemon:
        daemon.wait_for("condition_raised", condition="login_needed")
        sign_in(installed)
        daemon.wait_for("uploaded", path="a.jpg")
        assert daemon.stop() == 0
    installed.drop("b.jpg", picture(2))
    assert installed.once().code == 0


# Out


def test_a_logout_ends_the_login_everywhere(installed: Installation) -> None:
    sign_in(installed)
    before = stored(installed)["refresh_token"]
    result = installed.call("logout")
    assert (result.code, result.stderr) == (0, "")
    assert "Signed out" in result.stdout
    assert not is_signed_in(installed)
    assert installed.service._grants.newest_refresh_token(before) == ""
    again = installed.call("logout")
    assert again.code == 0
    assert "Nobody is signed in" in again.stdout


def test_a_logout_that_the_service_does_not_hear_keeps_the_token(installed: Installation) -> None:
    sign_in(installed)
    installed.service.fault(faults.Status(503), path="/oauth/revoke")
    result = installed.call("logout")
    assert result.code == 1
    assert "Not signed out" in result.stderr
    assert "--only-here" in result.stderr
    assert is_signed_in(installed)
    installed.service.stop()
    only_here = installed.call("logout", "--only-here")
    assert only_here.code == 0
    assert "may live on" in only_here.stdout
    assert not is_signed_in(installed)


def test_a_running_daemon_stops_sending_after_a_logout(installed: Installation) -> None:
    sign_in(installed)
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded", path="a.jpg")
        assert installed.call("logout").code == 0
        installed.drop("b.jpg", picture(2))
        daemon.wait_for("condition_raised", condition="login_needed")
        assert len(installed.service.uploads) == 1


def test_what_the_environment_gives_is_pointed_out(installed: Installation) -> None:
    sign_in(installed)
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = "given"
    installed.environment["AUTORETOUCH_ACCESS_TOKEN"] = "given"
    assert "a daemon with it goes on" in installed.call("logout").stdout
    with Piped(installed) as login:
        login.until("Waiting")
        login.process.kill()
        login.end()
    assert "goes before any login" in login.said["stderr"]
