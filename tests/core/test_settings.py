"""The configuration: where values come from, and errors that name file, key and remedy."""

import os
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.core.factories import PATIENCE
from watcher import settings as module
from watcher.errors import ConfigurationError
from watcher.settings import Settings, load

SECRET = "v1.TOP-SECRET-TOKEN"


class Config:
    """A configuration file and what comes of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str, *, environ: Any = None) -> Settings:
        self.path.write_text(text)
        return load(str(self.path), environ or {})

    def error(self, text: str, *, environ: Any = None) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.load(text, environ=environ)
        shown = "".join(traceback.format_exception(caught.value))
        assert SECRET not in shown
        assert SECRET not in repr(caught.value)
        return str(caught.value)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "config.toml")


# Where values come from


def test_nothing_given_means_the_documented_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACES", ())
    found = load(None, {})
    assert found.api.url == "https://api.autoretouch.com"
    assert found.api.timeout_seconds == 60
    assert found.auth.url == "https://auth.autoretouch.com"
    assert found.auth.client_id == "V8EkfbxtBi93cAySTVWAecEum4d6pt4J"
    assert (found.readiness.settle_seconds, found.readiness.incomplete_after_seconds) == (2, 600)
    assert (found.workers.count, found.upload.parallel) == (32, 8)
    assert (found.log.level, found.log.format) == ("info", "auto")
    assert found.share == ()


def test_a_share_has_the_documented_defaults(config: Config) -> None:
    (share,) = config.load('[[share]]\npath = "/srv/photos/"').share
    assert share.path == "/srv/photos"
    assert (share.watch, share.poll_seconds, share.rescan_seconds) == ("auto", 5, 300)
    assert share.ignore == ("CaptureOne/", "autoRetouch/")
    assert (share.sidecars, share.require_mount, share.organization) == ("beside", False, "")


def test_the_example_configuration_is_in_order() -> None:
    example = Path(__file__).parents[2] / "config.example.toml"
    if not example.exists():
        pytest.skip("no example in this checkout")
    load(str(example), {})


def test_the_environment_goes_before_the_file(config: Config) -> None:
    text = '[api]\norganization = "file"\ntimeout_seconds = 7\n[log]\nlevel = "debug"\n'
    environ = {
        "AUTORETOUCH_WATCHER_API__ORGANIZATION": "environment",
        "AUTORETOUCH_WATCHER_LOG__LEVEL": "error",
    }
    found = config.load(text, environ=environ)
    assert found.api.organization == "environment"
    assert found.api.timeout_seconds == 7
    assert found.log.level == "error"


def test_what_is_in_the_process_environment_but_not_given_does_not_count(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORETOUCH_WATCHER_LOG__LEVEL", "error")
    assert config.load("").log.level == "info"


def test_shares_can_come_from_the_environment(config: Config) -> None:
    environ = {"AUTORETOUCH_WATCHER_SHARE": '[{"path": "/srv/a"}, {"path": "/srv/b"}]'}
    found = config.load('[[share]]\npath = "/srv/file"', environ=environ)
    assert [share.path for share in found.share] == ["/srv/a", "/srv/b"]


@pytest.mark.parametrize(
    ("environ", "organization"),
    [
        ({"AUTORETOUCH_ORGANIZATION_ID": "vendor"}, "vendor"),
        ({"AUTORETOUCH_ORGANIZATION_ID": ""}, "file"),
        (
            {
                "AUTORETOUCH_ORGANIZATION_ID": "vendor",
                "AUTORETOUCH_WATCHER_API__ORGANIZATION": "ours",
            },
            "ours",
        ),
        ({"AUTORETOUCH_REFRESH_TOKEN": SECRET, "AUTORETOUCH_ACCESS_TOKEN": SECRET}, "file"),
    ],
)
def test_the_vendors_variables_are_honoured(
    config: Config, environ: dict[str, str], organization: str
) -> None:
    found = config.load('[api]\norganization = "file"', environ=environ)
    assert found.api.organization == organization
    assert SECRET not in repr(found)


def test_without_a_name_the_first_of_the_usual_places_is_read(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "second.toml").write_text('[log]\nlevel = "error"')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(module, "PLACES", (str(config.path), "~/second.toml"))
    assert load(None, {}).log.level == "error"
    config.path.write_text('[log]\nlevel = "debug"')
    assert load(None, {}).log.level == "debug"


def test_a_configuration_cannot_be_changed(config: Config) -> None:
    found = config.load("")
    with pytest.raises(ValueError, match="frozen"):
        found.log.level = "debug"


# Errors

FAULTS = {
    "[api]\nurll = 'x'": "[api] urll: unknown key; did you mean 'url'? Correct or remove it.",
    "[apy]\nurl = 'x'": "apy: unknown key; did you mean 'api'? Correct or remove it.",
    "[log]\nzzz = 1": "[log] zzz: unknown key (known: level, format). Correct or remove it.",
    "[workers]\ncount = 0": "[workers] count: should be greater than or equal to 1. Correct the",
    "[workers]\ncount = 1000": "[workers] count: should be less than or equal to 256. Correct",
    "[workers]\ncount = 'many'": "[workers] count: should be a valid integer",
    "[upload]\nparallel = 0": "[upload] parallel: should be greater",
    "[readiness]\nsettle_seconds = 0": "[readiness] settle_seconds: should be greater",
    "[readiness]\nsettle_seconds = nan": "[readiness] settle_seconds: should be",
    "[api]\ntimeout_seconds = false": "[api] timeout_seconds: should be",
    "[log]\nlevel = 'loud'": "[log] level: should be 'debug', 'info', 'warning' or 'error'",
    "[log]\nlevel = ''": "[log] level: should be 'debug'",
    "[api]\nurl = ''": "[api] url: must be an address such as https://api.autoretouch.com",
    "[[share]]\npath = 'photos'": "[[share]] 1, path: must be an absolute path",
    "[[share]]\npath = ''": "[[share]] 1, path: must be an absolute path",
    "[[share]]\nwatch = 'auto'": "[[share]] 1, path: is missing. Add it.",
    "[[share]]\npath = '/a'\n[[share]]\npath = '/b'\nwatch = 'both'": (
        "[[share]] 2, watch: should be 'auto', 'events' or 'poll'. Correct the value."
    ),
    "[[share]]\npath = '/a'\npoll_second = 3": "[[share]] 1, poll_second: unknown key; did you",
    "[[share]]\npath = '/a'\nignore = ['!']": (
        "[[share]] 1, ignore: holds a pattern that cannot be read"
    ),
    "[[share]]\npath = '/a'\nignore = ['x/', '[z-a]']": (
        "[[share]] 1, ignore: holds a pattern that cannot be read: '[z-a]' (bad character range "
        "z-a). Correct the value."
    ),
    '[[share]]\npath = "/a"\nignore = ["[--\\n]"]': (  # the line break stays in one line
        "holds a pattern that cannot be read: '[--\\n]' (bad character range"
    ),
    '[[share]]\npath = "/a\\u0000"': (
        "[[share]] 1, path: holds the character '\\x00', which no path and no argument can hold. "
        "Correct the value."
    ),
    '[[share]]\npath = "/a"\nsidecars = "/b\\u0000"': "[[share]] 1, sidecars: holds the character",
    '[api]\nca_file = "\\u0000"': "[api] ca_file: holds the character",
    '[notify]\ncommand = ["x", "y\\u0000z"]': "[notify] command: holds the character",
    "[[share]]\npath = '/a'\nsidecars = 'elsewhere'": (
        '[[share]] 1, sidecars: must be "beside" or the absolute path of a directory'
    ),
    "[share]\npath = '/a'": "share: should be written with two brackets, [[share]]",
    "share = [3]": "[[share]] 1: should be a section of keys and values",
    "api = 3": "api: should be a section of keys and values",
    "[api": "is not TOML",
    f"number = {'9' * 5_000}": "is not TOML",
    f"deep = {'[' * 5_000}": "is not TOML",
    "[api]\nurl = 'a'\nurl = 'b'": "is not TOML",
}


@pytest.mark.parametrize("text", FAULTS)
def test_an_error_names_file_key_and_remedy(config: Config, text: str) -> None:
    said = config.error(text)
    assert said.startswith(f"{config.path}: ")
    assert FAULTS[text] in said
    assert said.count("\n") == 0
    assert said.endswith(".")


@pytest.mark.parametrize("text", FAULTS)
def test_the_file_is_named_even_if_the_environment_says_other_things(
    config: Config, text: str
) -> None:
    said = config.error(text, environ={"AUTORETOUCH_WATCHER_AUTH__CLIENT_ID": "x"})
    assert said.startswith(f"{config.path}: ")


def test_all_faults_are_told_at_once_each_on_a_line(config: Config) -> None:
    said = config.error("[workers]\ncount = 0\n[log]\nlevel = 'x'\n[[share]]\nfoo = 1\n")
    assert len(said.split("\n")) == 4
    assert all(line.startswith(f"{config.path}: ") for line in said.split("\n"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("API__URLL", "x", "[api] urll: unknown key; did you mean 'url'? Correct or remove it."),
        ("APY__URL", "x", "AUTORETOUCH_WATCHER_APY__URL: unknown key; did you mean 'api'?"),
        ("REFRESH_TOKEN", SECRET, "AUTORETOUCH_WATCHER_REFRESH_TOKEN: unknown key"),
        ("", SECRET, "AUTORETOUCH_WATCHER_: unknown key"),
        ("WORKERS__COUNT", SECRET, "[workers] count: should be a valid integer"),
        ("SHARE", SECRET, "A list such as AUTORETOUCH_WATCHER_SHARE must be JSON."),
        ("SHARE", f'[{{"path": "{SECRET}"}}]', "[[share]] 1, path: must be an absolute path"),
        ("SHARE__0__PATH", "/a", "share: should be written with two brackets"),
        ("API", SECRET, "must be JSON"),
        ("SHARE", r'[{"path": "/a\u0000"}]', r"[[share]] 1, path: holds the character '\x00'"),
        ("SHARE", r'[{"path": "/a\ud800"}]', r"1, path: holds the character '\ud800', which no"),
        ("API", r'{"ca_file": "/\udc41"}', r"[api] ca_file: holds the character '\udc41'"),
    ],
)
def test_an_error_in_the_environment_is_said_to_be_there(
    config: Config, name: str, value: str, said: str
) -> None:
    error = config.error("", environ={f"AUTORETOUCH_WATCHER_{name}": value})
    assert error.startswith("the environment: ")
    assert said in error


@pytest.mark.parametrize(
    "text",
    [
        f"refresh_token = '{SECRET}'",
        f"[auth]\nrefresh_token = '{SECRET}'",
        f"[auth]\nclient_id = ['{SECRET}']",
        f"[api]\nurl = 'https://user:{SECRET}@api.example'",
        f"[api]\nurl = 'https://:{SECRET}@api.example'",
        f"[api]\nurl = 'https://api.example?token={SECRET}'",
        f"[api]\ntimeout_seconds = '{SECRET}'",
        f"api = '{SECRET}'",
        f"[[share]]\npath = '{SECRET}'",
        f"[[share]]\npath = '/a'\nwatch = '{SECRET}'",
        f"x = '{SECRET}",
    ],
)
def test_no_error_shows_a_value_that_may_be_secret(config: Config, text: str) -> None:
    config.error(text)  # which looks for it in the text, the repr and the traceback


@pytest.mark.parametrize(
    "url",
    [
        "https://api.autoretouch.com",
        "https://api.autoretouch.com:8443/base",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://[::1]:8080",
    ],
)
def test_a_secure_address_or_this_machine_is_accepted(config: Config, url: str) -> None:
    assert config.load(f"[api]\nurl = '{url}'\n[auth]\nurl = '{url}'").api.url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.autoretouch.com",
        "http://127.0.0.1.example.com",
        "http://192.168.0.1",
        "http://0.0.0.0",
        "http://localhost.example.com",
        "http://[2001:db8::1]",
        "ftp://localhost",
        "//api.autoretouch.com",
        "api.autoretouch.com",
        "https://",
        "https://two words",
        "https://host:port",
        "https://host:99999",
        "https://host:0",
        "https://[::1",
    ],
)
@pytest.mark.parametrize("section", ["api", "auth"])
def test_no_other_address_is(config: Config, section: str, url: str) -> None:
    assert f"[{section}] url: " in config.error(f"[{section}]\nurl = '{url}'")


def test_shares_and_mirrors_are_each_a_place_of_their_own(config: Config, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv/photos")

    def shares(*lines: str) -> str:
        return "\n".join(f"[[share]]\n{line}" for line in lines)

    for text in (
        shares('path = "/srv/photos"', 'path = "/srv/photos"'),
        shares('path = "/srv/photos"', 'path = "/srv/photos/2024/"'),
        shares('path = "/srv/photos/2024"', 'path = "/srv/photos"'),
        shares('path = "/"', 'path = "/srv"'),
        shares('path = "/srv/photos"', f'path = "{tmp_path}/link/x"'),
        shares('path = "/srv/photos"\nsidecars = "/srv/photos/side"'),
        shares('path = "/srv/photos"\nsidecars = "/srv"'),
        shares('path = "/a"\nsidecars = "/m"', 'path = "/b"\nsidecars = "/m"'),
        shares('path = "/a"\nsidecars = "/b"', 'path = "/b"'),
    ):
        said = config.error(text, environ={"AUTORETOUCH_WATCHER_LOG__LEVEL": "info"})
        assert said.startswith(f"{config.path}: ")
        assert "give each a folder of its own" in said
    config.load(shares('path = "/srv/photos"', 'path = "/srv/photos2"\nsidecars = "/srv/side"'))


def test_a_file_that_cannot_be_read_is_named(config: Config, tmp_path: Path) -> None:
    for place in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigurationError, match=f"{place}: cannot be read.*--config"):
            load(str(place), {})
    config.path.write_bytes(b"x = '\xff'")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load(str(config.path), {})


def test_a_configuration_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    with pytest.raises(ConfigurationError, match="is no regular file"):
        load(str(tmp_path / "config.toml"), {})


def test_all_shares_are_asked_at_once_where_they_lead_to(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several of one dead file server are waited for once."""
    all_asked, real = threading.Barrier(5), os.path.realpath

    def once_all_asked(path: str) -> str:
        all_asked.wait(PATIENCE)
        return "/same" if path in {"/1", "/4"} else real(path)

    monkeypatch.setattr(module, "ANSWER_SECONDS", PATIENCE)
    monkeypatch.setattr(os.path, "realpath", once_all_asked)
    with pytest.raises(ConfigurationError, match="'/1' and share '/4' are the same"):
        config.load("".join(f'[[share]]\npath = "/{number}"\n' for number in range(5)))
