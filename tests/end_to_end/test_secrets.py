"""A planted token is looked for in all that the program prints, writes or shows of itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation
from watcher.sandbox import faults


def everything_written(installed: Installation) -> bytes:
    """All files below the installation but the token's own."""
    own = installed.folder / "state/token.json"
    return b"".join(
        path.read_bytes()
        for path in sorted(installed.folder.rglob("*"))
        if path.is_file() and path != own
    )


def command_lines() -> bytes:
    """The arguments of all processes, as any user of the machine sees them."""
    return b"".join(
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    )


def test_a_whole_day_at_debug_level_shows_no_token(installed: Installation) -> None:
    service = installed.service
    del installed.environment["AUTORETOUCH_ACCESS_TOKEN"]
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = service.refresh_token
    installed.configure(more='[log]\nlevel = "debug"')
    secrets = [service.refresh_token]
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded", path="a.jpg")
        service.expire_access_tokens()
        echo = f'{{"message": "Bearer {"x" * 20} was refused"}}'.encode()
        service.fault(faults.Status(500, body=echo), path="/upload", times=3)
        service.fault(faults.Reset("before_body"), path="/upload", times=2)
        for number in range(6):
            installed.drop(f"{number}.jpg", picture(10 + number))
        for number in range(6):
            daemon.wait_for("uploaded", path=f"{number}.jpg")
        shown = command_lines()
        assert daemon.stop() == 0
        shown += "".join(map(str, daemon.events)).encode() + "".join(daemon.other_lines).encode()
    stored = installed.folder / "state/token.json"
    secrets += [
        value
        for key, value in json.loads(stored.read_text()).items()
        if key in {"access_token", "refresh_token"}
    ]
    shown += everything_written(installed)
    assert len(shown) > 1000
    for secret in secrets:
        assert secret
        assert secret.encode() not in shown
    assert stored.stat().st_mode & 0o777 == 0o600
    assert stored.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTORETOUCH_ACCESS_TOKEN", "planted-token\nwith a line"),
        ("AUTORETOUCH_REFRESH_TOKEN", "planted-token wïth öddities"),
        ("AUTORETOUCH_WATCHER_API__TOKEN", "planted-token"),
        ("AUTORETOUCH_WATCHER_WORKERS__COUNT", "planted-token"),
        ("AUTORETOUCH_WATCHER_SHARE", "planted-token"),
    ],
)
def test_an_error_about_it_does_not_show_it(
    installed: Installation, variable: str, value: str
) -> None:
    del installed.environment["AUTORETOUCH_ACCESS_TOKEN"]
    installed.environment[variable] = value
    result = installed.once()
    assert result.code == 78
    assert "planted-token" not in result.stdout + result.stderr
    assert variable.split("__", maxsplit=1)[0] in result.stderr or "[" in result.stderr


def test_a_refused_token_is_not_shown(installed: Installation) -> None:
    installed.environment["AUTORETOUCH_ACCESS_TOKEN"] = "planted-token"
    installed.configure(more='[log]\nlevel = "debug"')
    installed.drop("a.jpg", picture())
    result = installed.once()
    assert result.code == 77
    assert "planted-token" not in result.stdout + result.stderr


def test_nothing_that_holds_a_token_shows_it_in_its_repr() -> None:
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "from watcher.tokens import GivenToken\n"
                "from watcher.token_store import Stored\n"
                "print(repr(GivenToken('planted-token')))\n"
                "print(repr(Stored(refresh_token='planted-token', access_token='planted-token')))"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "planted-token" not in shown
