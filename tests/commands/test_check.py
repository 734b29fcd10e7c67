"""`check`: each thing that can be wrong is named, with its remedy and its exit code."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from rich.console import Console

from tests.commands.checking import Checked, check, everything_below
from tests.core.factories import without_override
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation
from watcher import __version__
from watcher.commands import check_service
from watcher.commands.check import run_check
from watcher.conditions import Condition
from watcher.published import Published
from watcher.sandbox import Sandbox
from watcher.snapshot import Snapshot
from watcher.tally import Counts
from watcher.token_store import Stored, TokenStore

ROOT = os.geteuid() == 0
ORGANIZATIONS = {"first": "Studio One", "second": "Studio Two"}


@pytest.fixture
def service() -> Iterator[Sandbox]:
    with Sandbox(organizations=ORGANIZATIONS) as sandbox:
        yield sandbox


@pytest.fixture
def installed(tmp_path: Path, service: Sandbox) -> Installation:
    """Signed in for good, with a state directory of its own."""
    installed = Installation(tmp_path, service)
    del installed.environment["AUTORETOUCH_ACCESS_TOKEN"]
    (tmp_path / "state").mkdir(mode=0o700)
    TokenStore(str(tmp_path / "state")).write(Stored(refresh_token=service.refresh_token))
    return installed


def state_of(installed: Installation) -> Path:
    return installed.folder / "state"


# All is well


def test_all_passes_where_all_is_well_and_no_image_is_sent(installed: Installation) -> None:
    installed.drop("in/IMG.jpg", picture())
    found = check(installed)
    assert found.not_well() == []
    assert found.code == 0
    assert found.row("allowed").found == "organization first (Studio One)"
    assert [(seen.method, seen.path, seen.status) for seen in installed.service.requests] == [
        ("GET", "/health", 200),
        ("POST", "/oauth/token", 400),  # a question without a token, to see who answers
        ("POST", "/oauth/token", 200),
        ("HEAD", "/upload", 404),
        ("GET", "/v1/organization", 200),
    ]


def test_the_share_is_left_as_it_was(installed: Installation) -> None:
    for name in ("a.jpg", "in/b.jpg", "in/deeper/c.png"):
        installed.drop(name, picture())
    before = everything_below(installed.share)
    assert check(installed).code == 0
    assert check(installed, offline=True).code == 0
    assert everything_below(installed.share) == before


def test_offline_asks_nobody(installed: Installation) -> None:
    found = check(installed, offline=True)
    assert found.code == 0
    assert "The service was left out. The daemon can start." in found.text
    assert not installed.service.requests
    assert installed.service.bytes_received == 0


def test_what_a_crash_left_of_a_check_is_taken_away_by_the_next(installed: Installation) -> None:
    (installed.share / ".autoretouch-check.sha256").write_bytes(b"0" * 20)
    assert check(installed, offline=True).not_well() == []
    assert list(installed.share.iterdir()) == []


def test_a_foreign_file_of_that_name_stays(installed: Installation) -> None:
    foreign = installed.share / ".autoretouch-check.sha256"
    foreign.write_text("mine")
    found = check(installed)
    assert found.code == 1
    assert "it is not ours" in found.row("sidecars").found
    assert foreign.read_text() == "mine"


# Configuration


def faults(installed: Installation, text: str, *, offline: bool) -> Checked:
    installed.config.write_text(text)
    found = check(installed, offline=offline)
    assert found.code == 78
    assert "Nothing else can be checked" in found.text
    assert {row.level for row in found.rows} == {"FAIL"}
    return found


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[share]\n", "is not TOML"),
        ("", "no share is configured"),
        ('[api]\nurl = "http://api.example"\n[[share]]\npath = "/a"\n', "begin with https://"),
        ('[api]\nca_file = "/nowhere.pem"\n[[share]]\npath = "/a"\n', "[api] ca_file"),
        ('[api]\nproxy = "socks5://a:1"\n[[share]]\npath = "/a"\n', "[api] proxy"),
        ('[[share]]\npath = "/a"\n[[share]]\npath = "/a/b"\n', "inside"),
    ],
)
def test_a_fault_of_the_configuration_is_78_always(
    installed: Installation, text: str, said: str, *, offline: bool
) -> None:
    assert said in faults(installed, text, offline=offline).row("configuration").found


def test_every_fault_is_named(installed: Installation) -> None:
    text = 'watsh = 1\n[workers]\ncount = 0\n[[share]]\npath = "photos"\n'
    found = faults(installed, text, offline=True)
    assert len(found.rows) == 3
    assert "[workers] count" in found.text
    assert "did you mean" in found.text or "known:" in found.text
    assert "must be an absolute path" in found.text


def test_a_file_that_is_not_there_is_named(installed: Installation) -> None:
    installed.config.unlink()
    found = check(installed)
    assert found.code == 78
    assert str(installed.config) in found.text
    assert "cannot be read" in found.text


def test_variables_that_go_before_the_file_are_named_without_their_values(
    installed: Installation,
) -> None:
    installed.environment |= {
        "AUTORETOUCH_WATCHER_API__ORGANIZATION": "second",
        "AUTORETOUCH_ORGANIZATION_ID": "third",
    }
    said = check(installed, offline=True).row("configuration").found
    assert "AUTORETOUCH_WATCHER_API__ORGANIZATION, AUTORETOUCH_ORGANIZATION_ID" in said
    assert "second" not in said


# The state directory and the daemon


def test_a_state_directory_that_is_none_is_78(installed: Installation) -> None:
    TokenStore(str(state_of(installed))).remove()
    state_of(installed).rmdir()
    state_of(installed).write_text("a file")
    found = check(installed, offline=True)
    assert found.code == 78
    assert found.row("state dir").level == "FAIL"
    assert "--state-dir" in found.row("state dir").remedy
    assert "The daemon cannot start" in " ".join(found.text.split())


def test_a_state_directory_that_can_be_made_is_not_made_offline(installed: Installation) -> None:
    TokenStore(str(state_of(installed))).remove()
    state_of(installed).rmdir()
    found = check(installed, offline=True)
    assert found.code == 0
    assert "is made when it is needed" in found.row("state dir").found
    assert not state_of(installed).exists()


def test_a_state_directory_that_cannot_be_made_is_78(installed: Installation) -> None:
    TokenStore(str(state_of(installed))).remove()
    state_of(installed).rmdir()
    installed.folder.chmod(0o555)
    with without_override():
        found = check(installed, offline=True)
    installed.folder.chmod(0o755)
    assert found.code == 78
    assert "may not make it" in found.row("state dir").found


@pytest.mark.parametrize(
    ("mode", "said"), [(0o755, "others can look into it"), (0o770, "others may write to it")]
)
def test_a_state_directory_that_is_open_to_others_is_a_warning(
    installed: Installation, mode: int, said: str
) -> None:
    state_of(installed).chmod(mode)
    row = check(installed, offline=True).row("state dir")
    assert row.level == "WARN"
    assert said in row.found
    assert "chmod 700" in row.remedy


@pytest.mark.skipif(not ROOT, reason="only root can give a directory away")
def test_root_is_told_that_it_checks_for_another_user(installed: Installation) -> None:
    os.chown(state_of(installed), 12345, 12345)
    row = check(installed, offline=True).row("user")
    assert row.level == "WARN"
    assert "sudo -u 12345" in row.remedy


def a_snapshot(*conditions: Condition) -> Snapshot:
    return Snapshot(
        version=__version__,
        pid=4711,
        started=0.0,
        at=0.0,
        counts=Counts(),
        waiting=0,
        flights=(),
        shares=(),
        conditions=conditions,
        files_per_second=0.0,
        bytes_per_second=0.0,
        last_upload=None,
        moving=True,
    )


def test_a_running_daemon_is_told_with_what_it_complains_of(installed: Installation) -> None:
    published = Published(str(state_of(installed)))
    assert "none runs" in check(installed, offline=True).row("daemon").found
    with published.alone():
        assert check(installed, offline=True).row("daemon").level == "PASS"
        published.publish(a_snapshot())
        assert "4711" in check(installed, offline=True).row("daemon").found
        published.publish(a_snapshot(Condition("share_gone", "/a", "unmounted", 0.0)))
        row = check(installed, offline=True).row("daemon")
        assert (row.level, row.found.split(": ")[-1]) == ("WARN", "share_gone")


def test_a_lock_that_this_user_may_not_see_is_told(installed: Installation) -> None:
    (state_of(installed) / "daemon.lock").symlink_to("/nowhere")
    row = check(installed, offline=True).row("daemon")
    assert row.level == "WARN"
    assert "cannot be read" in row.found


# Login


def test_nobody_is_signed_in(installed: Installation) -> None:
    TokenStore(str(state_of(installed))).remove()
    found = check(installed)
    assert found.code == 77
    assert found.row("token").level == "FAIL"
    assert "autoretouch-watcher login" in found.row("token").remedy
    assert found.level("accepted") == ""


def test_a_daemon_starts_without_a_login_so_offline_only_warns(installed: Installation) -> None:
    TokenStore(str(state_of(installed))).remove()
    found = check(installed, offline=True)
    assert found.code == 0
    assert found.row("token").level == "WARN"


def test_something_else_that_fails_goes_before_the_login(installed: Installation) -> None:
    TokenStore(str(state_of(installed))).remove()
    installed.share.rmdir()
    assert check(installed).code == 1


def test_an_access_token_is_said_to_end(installed: Installation) -> None:
    installed.environment["AUTORETOUCH_ACCESS_TOKEN"] = installed.service.access_token
    found = check(installed)
    assert found.code == 0
    assert found.not_well() == ["token"]
    assert "AUTORETOUCH_ACCESS_TOKEN" in found.row("token").found
    assert found.level("auth server") == ""
    assert installed.service.access_token not in found.text


def test_a_token_from_systemd_is_named_so(installed: Installation) -> None:
    (installed.folder / "refresh_token").write_text(installed.service.new_grant().refresh_token)
    installed.environment["CREDENTIALS_DIRECTORY"] = str(installed.folder)
    found = check(installed)
    assert found.code == 0
    assert "the systemd credential refresh_token" in found.row("token").found


def test_a_stored_token_is_said_to_be_renewed(installed: Installation) -> None:
    check(installed)
    said = check(installed).row("token").found
    assert "for its owner alone" in said
    assert "renewed by itself" in said


def test_a_wrong_access_token_is_77(installed: Installation) -> None:
    installed.environment["AUTORETOUCH_ACCESS_TOKEN"] = "wrong"
    found = check(installed)
    assert found.code == 77
    assert found.row("accepted").level == "FAIL"
    assert found.level("service") == "PASS"


def test_a_login_that_has_ended_is_77(installed: Installation) -> None:
    installed.service.revoke_refresh_tokens()
    found = check(installed)
    assert found.code == 77
    assert "sign in again" in found.row("accepted").found


@pytest.mark.parametrize("offline", [False, True])
def test_a_token_that_others_can_read_is_78(installed: Installation, *, offline: bool) -> None:
    (state_of(installed) / "token.json").chmod(0o644)
    found = check(installed, offline=offline)
    assert found.code == 78
    assert "others can read it" in found.row("token").found


def test_a_token_of_odd_characters_is_78(installed: Installation) -> None:
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = "SECRET with blanks"
    found = check(installed)
    assert found.code == 78
    assert "SECRET" not in found.text


def test_no_login_is_renewed_that_could_not_be_kept(installed: Installation) -> None:
    """With a rotating auth server it would be lost."""
    state_of(installed).chmod(0o500)
    with without_override():
        found = check(installed)
    assert found.code == 78
    assert "cannot be used" in found.row("state dir").found
    assert "not asked" in found.row("accepted").found
    assert {seen.path for seen in installed.service.requests} == {"/health", "/oauth/token"}
    assert {seen.status for seen in installed.service.requests} == {200, 400}


# Organization


def test_a_wrong_organization_is_denied_and_the_right_ones_are_named(
    installed: Installation,
) -> None:
    installed.configure(organization="third")
    found = check(installed)
    assert found.code == 1
    assert found.row("accepted").level == "PASS"
    row = found.row("allowed")
    assert row.level == "FAIL"
    assert "organization third" in row.found
    assert "first (Studio One), second (Studio Two)" in row.remedy


def test_each_organization_is_asked_about_once(installed: Installation) -> None:
    for name in ("two", "three"):
        (installed.folder / name).mkdir()
    blocks = [
        f'[[share]]\npath = "{installed.folder}/{name}"\norganization = "second"\n'
        for name in ("two", "three")
    ]
    installed.configure(share="".join(blocks))
    found = check(installed)
    assert found.code == 0
    assert [row.found for row in found.rows if row.what == "allowed"] == [
        "organization first (Studio One)",
        "organization second (Studio Two)",
    ]
    assert found.row("organization").found == "configured: first, second"


def test_the_choice_of_the_login_is_taken(installed: Installation) -> None:
    installed.configure(organization="")
    stored = Stored(refresh_token=installed.service.refresh_token, organization="second")
    TokenStore(str(state_of(installed))).write(stored)
    found = check(installed)
    assert found.not_well() == []
    assert found.row("organization").found == "from the login: second"
    assert found.row("allowed").found == "organization second (Studio Two)"


def test_no_organization_at_all_is_a_warning(installed: Installation) -> None:
    installed.configure(organization="")
    found = check(installed)
    assert found.code == 0
    assert found.not_well() == ["organization", "allowed"]
    assert "chooses one of 2" in found.row("allowed").found


# The service


def test_a_port_where_nobody_listens(installed: Installation) -> None:
    installed.service.stop()
    found = check(installed)
    assert found.code == 1
    assert found.row("service").level == "FAIL"
    assert "Nothing listens there" in found.row("service").remedy
    assert found.level("accepted") == ""


def test_a_service_in_trouble(installed: Installation, service: Sandbox) -> None:
    from watcher.sandbox.faults import Status  # noqa: PLC0415 - used here alone

    service.fault(Status(503), path="/health", times=None)
    found = check(installed)
    assert found.code == 1
    assert "answers 503" in found.row("service").found
    service.clear_faults()
    service.fault(Status(404), path="/health", times=None)
    assert check(installed).row("service").level == "WARN"
    service.fault(Status(503), path="/upload", times=None)
    row = check(installed).row("accepted")
    assert (row.level, row.found) == ("FAIL", "not known: it answered 503: status 503")
    service.clear_faults()
    service.fault(Status(503), path="/v1/organization", times=None)
    assert check(installed).row("allowed").found == "organization first"


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[Installation]:
    """A service with a certificate of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Sandbox(ssl_context=context) as service:
        yield Installation(tmp_path, service)


def test_a_certificate_of_a_stranger_names_the_remedy_and_the_clock(strange: Installation) -> None:
    found = check(strange)
    assert found.code == 1
    row = found.row("service")
    assert "is not trusted" in row.found
    assert "ca_file" in row.remedy
    assert f"clock says {time.strftime('%Y', time.gmtime())}" in row.remedy
    assert not strange.service.requests
    strange.environment["AUTORETOUCH_WATCHER_API__CA_FILE"] = str(strange.folder / "ca.pem")
    assert check(strange).code == 0


def test_a_proxy_is_told_and_its_password_is_not(strange: Installation) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://studio:SECRET@127.0.0.1:{nobody.getsockname()[1]}"
        strange.environment["HTTPS_PROXY"] = proxy
        assert "HTTPS_PROXY counts only with" in check(strange).row("proxy").found
        strange.config.write_text(strange.config.read_text().replace("127.0.0.1", "service.test"))
        strange.environment["AUTORETOUCH_WATCHER_API__PROXY"] = "environment"
        found = check(strange)
    assert found.code == 1
    assert "by [api] proxy" in found.row("proxy").found
    assert "the proxy 127.0.0.1" in found.row("service").found
    assert "SECRET" not in found.text


# Who listens and who is told


def test_what_listens_and_whom_it_tells_is_looked_at(installed: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        installed.configure(
            more=f'[monitor]\nlisten = "{listen}"\n[notify]\ncommand = ["/nowhere/tell"]\n'
        )
        found = check(installed, offline=True)
        assert found.code == 0  # no reason not to start
        assert found.not_well() == ["monitor", "command"]
        with Published(str(state_of(installed))).alone():
            assert check(installed).level("monitor") == "PASS"
    assert check(installed).code == 1


# On the screen


def test_what_is_no_terminal_gets_80_plain_columns(installed: Installation) -> None:
    installed.configure(share='[[share]]\npath = "/nowhere/b\\u001b[31m[red]\\nFAIL"\n')
    text = check(installed).text
    assert "\x1b" not in text
    assert "\\x1b[31m[red]\\nFAIL" in text
    wide = [line for line in text.splitlines() if len(line) > 80]
    assert all(" " not in line[23:].strip().removeprefix("-> ") for line in wide)


def test_a_terminal_gets_colours_and_the_same_words(installed: Installation) -> None:
    shown = Console(force_terminal=True, width=90, highlight=False)
    with shown.capture() as capture:
        code = run_check(
            str(installed.config),
            state_dir=str(state_of(installed)),
            environ=installed.environment,
            offline=False,
            console=shown,
        )
    assert code == 0
    assert "\x1b[" in capture.get()
    assert "PASS" in capture.get()


def test_the_command_line_runs_it(installed: Installation) -> None:
    result = installed.call("check")
    assert result.code == 0, result.stdout
    assert "0 failed." in result.stdout
    assert result.stderr == ""
    result = installed.call("check", "--offline")
    assert result.code == 0
    assert "\x1b" not in result.stdout


def test_it_is_not_ended_by_a_writer_who_breaks_its_lease(installed: Installation) -> None:
    """The kernel sends SIGIO then, whose default ends a process."""
    script = (
        "import os, signal, sys; from watcher.cli import cli; "
        "code = cli(sys.argv[1:], standalone_mode=False); "
        "os.kill(os.getpid(), signal.SIGIO); sys.exit(code)"
    )
    python, _, _, *arguments = installed.command("check", "--offline")
    ended = subprocess.run(
        [python, "-c", script, *arguments],
        env=installed.environment,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("LoadCredential=refresh_token:/etc/credstore/x", True),
        ("LoadCredentialEncrypted=access_token:/etc/credstore.encrypted/x", True),
        ("LoadCredential = refresh_token", True),
        ("SetCredential=refresh_token:v1.abc", True),
        ('Environment="AUTORETOUCH_REFRESH_TOKEN=v1.abc"', True),
        ("#LoadCredential=refresh_token:/etc/credstore/x", False),
        ("LoadCredential=other:/etc/credstore/x", False),
    ],
)
def test_a_token_that_only_the_service_is_given_is_not_missed(
    tmp_path: Path, line: str, *, given: bool
) -> None:
    store = TokenStore(str(tmp_path / "state"))
    drop_in = tmp_path / "a.conf"
    drop_in.write_text(f"[Service]\n{line}\n")
    login, finding = check_service.login(store, {}, drop_ins=str(tmp_path / "*.conf"))
    assert (login.source, finding.level) == ("", "WARN" if given else "FAIL")
    assert (str(drop_in) in finding.found) == given
