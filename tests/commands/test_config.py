"""`config`: valid TOML of the same meaning, with where each value came from, and no secret; what
`run` would refuse is refused."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PROPERTY
from tests.end_to_end.running import Installation
from watcher.commands.config import Origins, as_toml, run_config, toml_value
from watcher.errors import ConfigurationError
from watcher.sandbox import Sandbox
from watcher.settings import Settings, ShareSettings, load, sources_of
from watcher.token_store import Stored, TokenStore

SECRET = "v1.TOP-SECRET-TOKEN"
SHARE = '[[share]]\npath = "/srv/a"\n'


class Shown:
    """What `config` prints for a file, which has a share in any case, and an environment."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = folder / "config.toml"
        self.state = folder / "state"
        self._capsys = capsys

    def __call__(self, text: str, **environ: str) -> str:
        self.file.write_text(text if "[[share]]" in text else f"{text}\n{SHARE}")
        assert run_config(str(self.file), state_dir=str(self.state), environ=environ) == 0
        return self._printed()

    def refused(self, text: str, **environ: str) -> tuple[str, str]:
        """What is printed all the same, and why the configuration is refused."""
        self.file.write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            run_config(str(self.file), state_dir=str(self.state), environ=environ)
        assert SECRET not in str(caught.value)
        return self._printed(), str(caught.value)

    def _printed(self) -> str:
        shown = self._capsys.readouterr().out
        assert SECRET not in shown
        return shown


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shown:
    return Shown(tmp_path, capsys)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
SHARES = st.lists(
    st.fixed_dictionaries(
        {"path": TEXT.map(lambda name: f"/srv/{name}")},
        optional={
            "organization": TEXT,
            "watch": st.sampled_from(["auto", "events", "poll"]),
            "poll_seconds": st.floats(min_value=1e-9, max_value=604_800) | st.integers(1, 604_800),
            "require_mount": st.booleans(),
        },
    ),
    max_size=2,
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "api": st.fixed_dictionaries({}, optional={"organization": TEXT, "ca_file": TEXT}),
        "notify": st.fixed_dictionaries({"command": st.lists(TEXT, max_size=1)}),
        "workers": st.fixed_dictionaries({"count": st.integers(1, 256)}),
        "upload": st.fixed_dictionaries({"max_mbit_per_second": st.floats(0, 100_000)}),
    },
)


@PROPERTY
@given(SETTINGS, SHARES)
def test_what_is_printed_means_the_same(values: dict[str, Any], shares: list[Any]) -> None:
    apart = [{**share, "path": f"/{n}{share['path']}"} for n, share in enumerate(shares)]
    settings = Settings(**{**values, "share": apart})
    origins = Origins({"e": {}, "f": {**values, "share": apart}}, {})
    printed = "\n".join(as_toml(settings, origins))
    assert Settings(**tomllib.loads(printed)) == settings


@PROPERTY
@given(TEXT)
def test_every_text_survives(text: str) -> None:
    line = f"key = {toml_value(text)}"
    assert tomllib.loads(line) == {"key": text}
    assert line.isprintable()


def test_each_value_tells_where_it_came_from(shown: Shown) -> None:
    printed = shown(
        '[api]\ntimeout_seconds = 7\n[[share]]\npath = "/srv/a"\n[log]\nlevel = "debug"\n',
        AUTORETOUCH_WATCHER_LOG__LEVEL="error",
        AUTORETOUCH_WATCHER_Upload='{"parallel": 3, "max_mbit_per_second": 8}',
        AUTORETOUCH_WATCHER_UPLOAD__PARALLEL="4",
        AUTORETOUCH_ORGANIZATION_ID="vendor",
    )
    file = f"# {shown.file}"
    assert origin(printed, "timeout_seconds = 7") == file
    assert origin(printed, 'path = "/srv/a"') == file
    assert origin(printed, 'watch = "auto"') == "# default"
    assert origin(printed, 'level = "error"') == "# AUTORETOUCH_WATCHER_LOG__LEVEL"
    assert origin(printed, "parallel = 4") == "# AUTORETOUCH_WATCHER_UPLOAD__PARALLEL"
    assert origin(printed, "max_mbit_per_second = 8") == "# AUTORETOUCH_WATCHER_Upload"
    assert origin(printed, 'organization = "vendor"') == "# AUTORETOUCH_ORGANIZATION_ID"
    assert origin(printed, "count = 32") == "# default"


def origin(printed: str, value: str) -> str:
    """The comment behind a value, or above it."""
    lines = printed.splitlines()
    number, line = next((n, line) for n, line in enumerate(lines) if line.startswith(value))
    return line[len(value) :].strip() or lines[number - 1]


def test_our_own_name_for_the_organization_goes_before_the_vendors(shown: Shown) -> None:
    vendor = {"AUTORETOUCH_ORGANIZATION_ID": "vendor"}
    printed = shown("", AUTORETOUCH_WATCHER_API__ORGANIZATION="single", **vendor)
    assert origin(printed, 'organization = "single"') == "# AUTORETOUCH_WATCHER_API__ORGANIZATION"
    printed = shown("", AUTORETOUCH_WATCHER_API='{"organization": "whole"}', **vendor)
    assert origin(printed, 'organization = "whole"') == "# AUTORETOUCH_WATCHER_API"
    printed = shown("", AUTORETOUCH_WATCHER_API='{"timeout_seconds": 3}', **vendor)
    assert origin(printed, 'organization = "vendor"') == "# AUTORETOUCH_ORGANIZATION_ID"


def test_shares_in_the_environment_replace_those_of_the_file(shown: Shown) -> None:
    given_shares = json.dumps([{"path": "/srv/b", "watch": "poll"}])
    printed = shown('[[share]]\npath = "/srv/a"\n', AUTORETOUCH_WATCHER_SHARE=given_shares)
    assert "/srv/a" not in printed
    assert origin(printed, 'path = "/srv/b"') == "# AUTORETOUCH_WATCHER_SHARE"
    assert origin(printed, 'sidecars = "beside"') == "# default"


def test_a_path_that_toml_cannot_hold_is_told_and_does_not_spoil_the_rest(shown: Shown) -> None:
    given_shares = json.dumps([{"path": "/srv/\udcff"}])
    printed = shown("", AUTORETOUCH_WATCHER_SHARE=given_shares)
    assert '# path = "/srv/\\udcff"' in printed
    assert "its bytes are not UTF-8" in printed
    tomllib.loads(printed)


def test_of_a_webhook_only_the_host_is_shown(shown: Shown) -> None:
    printed = shown(f'[notify]\nwebhook = "https://hooks.example.com/services/{SECRET}"\n')
    assert 'webhook = "https://hooks.example.com/***"' in printed
    assert "its path is a secret" in printed
    tomllib.loads(printed)


def test_of_a_command_only_the_program_is_shown(shown: Shown) -> None:
    printed = shown(f'[notify]\ncommand = ["/usr/bin/tell", "--token", "{SECRET}"]\n')
    assert 'command = ["/usr/bin/tell", "***", "***"]' in printed
    assert "arguments are masked" in printed
    assert "masked" not in shown('[notify]\ncommand = ["/usr/bin/tell"]\n')


def test_every_line_fits_into_80_columns_unless_its_value_alone_does_not(shown: Shown) -> None:
    printed = shown(f'[[share]]\npath = "/{"p" * 100}"\n', AUTORETOUCH_REFRESH_TOKEN=SECRET)
    too_long = [line for line in printed.splitlines() if len(line) > 80]
    assert [
        line for line in too_long if "ppp" not in line and str(shown.state.parent) not in line
    ] == []


# The token and the organization


def test_no_token(shown: Shown) -> None:
    assert "# Token: none. Sign in with" in shown("")


def test_a_login_is_told_by_its_file(shown: Shown) -> None:
    store = TokenStore(str(shown.state))
    store.write(Stored(refresh_token=SECRET, access_token=SECRET, organization="org-9"))
    printed = " ".join(shown('[[share]]\npath = "/srv/a"\n').split())
    assert f"Token: {store.path}, from a login" in printed.replace("# ", "")
    assert "Organization, where none is given below: org-9, chosen at login" in printed
    assert "Organization" not in shown('[api]\norganization = "o"\n[[share]]\npath = "/srv/a"\n')


def test_a_refresh_token_goes_on_in_the_state_directory(shown: Shown) -> None:
    printed = shown('[[share]]\npath = "/srv/a"\n', AUTORETOUCH_REFRESH_TOKEN=SECRET)
    assert "a refresh token, from AUTORETOUCH_REFRESH_TOKEN" in printed
    assert "Organization, where none is given below: the token's own" in printed


def test_an_access_token_goes_before_all_others(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "access_token").write_text(SECRET)
    both = {"AUTORETOUCH_ACCESS_TOKEN": SECRET, "AUTORETOUCH_REFRESH_TOKEN": SECRET}
    assert "an access token, from AUTORETOUCH_ACCESS_TOKEN" in shown("", **both)
    credential = {**both, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "from the systemd credential access_token" in shown("", **credential)


def test_a_token_that_others_can_read_is_told(shown: Shown) -> None:
    store = TokenStore(str(shown.state))
    store.write(Stored(refresh_token=SECRET))
    os.chmod(store.path, 0o644)
    printed, why = shown.refused(SHARE)
    assert "others can read it" in " ".join(printed.replace("#", "").split())
    assert "others can read it" in why


# What `run` would refuse


def test_a_configuration_without_a_share_is_shown_and_refused(shown: Shown) -> None:
    printed, why = shown.refused("")
    assert "# No share is configured" in printed
    assert why.startswith("no share is configured. ")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_refused(shown: Shown, content: str | None) -> None:
    ca_file = shown.file.with_name("ca.pem")
    if content is not None:
        ca_file.write_text(content)
    printed, why = shown.refused(f'[api]\nca_file = "{ca_file}"\n{SHARE}')
    assert f'ca_file = "{ca_file}"' in printed
    assert why.startswith(f"[api] ca_file: '{ca_file}' cannot be used: ")
    assert why.endswith("Give the path of a PEM file.")


def test_a_proxy_in_the_environment_that_cannot_be_used_is_refused(shown: Shown) -> None:
    setting = f'[api]\nproxy = "environment"\n{SHARE}'
    _, why = shown.refused(setting, HTTPS_PROXY=f"socks5://user:{SECRET}@proxy:1080")
    assert "HTTPS_PROXY: is not a proxy that can be used" in why


def test_a_token_that_is_none_is_refused(shown: Shown) -> None:
    _, why = shown.refused(SHARE, AUTORETOUCH_ACCESS_TOKEN=f"{SECRET} {SECRET}")
    assert "AUTORETOUCH_ACCESS_TOKEN is not a token" in why


# As a process


def config_command(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        **{name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")},
        **environ,
    }
    return subprocess.run(
        [sys.executable, "-m", "watcher", *arguments, "config"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_command_prints_can_be_saved_as_a_configuration(tmp_path: Path) -> None:
    file, again = tmp_path / "config.toml", tmp_path / "again.toml"
    file.write_text('[[share]]\npath = "/srv/a"\nignore = ["\\"x\\\\*", "é/"]\n')
    done = config_command("--config", str(file), "--state-dir", str(tmp_path / "state"))
    assert (done.returncode, done.stderr) == (0, "")
    again.write_text(done.stdout)
    assert load(str(again), {}) == load(str(file), {})
    assert load(str(again), {}).share[0] == ShareSettings(path="/srv/a", ignore=('"x\\*', "é/"))
    assert list(sources_of(str(again), {}))[-1] == str(again)


@pytest.mark.parametrize(
    "bad",
    ['ignore = ["[z-a]"]', 'sidecars = "/x\\u0000"', '[api]\nca_file = "/no/ca.pem"'],
    ids=["pattern", "path", "ca_file"],
)
@pytest.mark.parametrize("command", [["config"], ["check", "--offline"], ["run", "--once"]])
def test_what_run_refuses_config_and_check_refuse_too(
    tmp_path: Path, command: list[str], bad: str
) -> None:
    with Sandbox() as service:
        installed = Installation(tmp_path, service)
        installed.config.write_text(f'[[share]]\npath = "{installed.share}"\n{bad}\n')
        done = installed.call(*command)
    assert done.code == 78
    assert "Traceback" not in done.stderr
    if command[0] != "check":
        assert done.stderr.count("\n") == 1


def test_a_configuration_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    done = config_command("--config", str(tmp_path / "none.toml"))
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert "Give --config the path" in done.stderr
