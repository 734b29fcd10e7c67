"""Samba understands what it is told."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.units import DEPLOY
from watcher.record import NOTE, SIDECAR

EXAMPLE = DEPLOY / "samba" / "autoretouch-watcher.conf"


def test_it_hides_what_the_daemon_writes() -> None:
    text = EXAMPLE.read_text()
    assert f"hide files = /*{SIDECAR}/" in text
    assert f"veto files = /*{SIDECAR}/" in text
    assert f"*{NOTE}/" in text


@pytest.mark.skipif(shutil.which("testparm") is None, reason="testparm is not installed")
@pytest.mark.parametrize("comment", ["", ";"], ids=["all of it", "as it stands"])
def test_testparm_understands_it(comment: str, tmp_path: Path) -> None:
    config = tmp_path / "smb.conf"
    config.write_text(EXAMPLE.read_text().replace("\n;", f"\n{comment}"))
    said = subprocess.run(
        ["testparm", "--suppress-prompt", str(config)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert said.returncode == 0
    assert "Unknown parameter" not in said.stderr
    assert f"hide files = /*{SIDECAR}/" in said.stdout
    assert (f"veto files = /*{SIDECAR}/" in said.stdout) == (not comment)
