"""What the tests of `explain`, `verify` and `retry` share: calls in this process, and damage."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.core.factories import opened_folder
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation
from watcher.commands.explain import run_explain
from watcher.commands.retry import run_retry
from watcher.commands.verify import run_verify
from watcher.record import write_sidecar
from watcher.settings import load
from watcher.tree import stamp_of

Printed = tuple[int, str, str]
"""Exit code, standard output, standard error."""


class Commands:
    """The commands of one installation, called without the time that a process takes."""

    def __init__(self, installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
        self.installed = installed
        self._capsys = capsys
        self.state_dir = str(installed.folder / "state")

    def explain(self, *paths: str | Path) -> Printed:
        settings = load(str(self.installed.config), {})
        return self._printed(run_explain(settings, _all(paths), state_dir=self.state_dir))

    def retry(self, *paths: str | Path) -> Printed:
        settings = load(str(self.installed.config), {})
        return self._printed(run_retry(settings, _all(paths), state_dir=self.state_dir))

    def verify(self, *paths: str | Path, remote: bool = False, as_json: bool = False) -> Printed:
        code = run_verify(
            load(str(self.installed.config), {}),
            _all(paths),
            state_dir=self.state_dir,
            environ=self.installed.environment,
            remote=remote,
            as_json=as_json,
        )
        return self._printed(code)

    def _printed(self, code: int) -> Printed:
        out, err = self._capsys.readouterr()
        return code, out, err


def _all(paths: Sequence[str | Path]) -> list[str]:
    return [str(path) for path in paths]


def with_time_of(image: Path, record: Path) -> None:
    """Stamps a record as the daemon does."""
    moment = image.stat().st_mtime_ns
    os.utime(record, ns=(moment, moment))


def beside(image: Path, suffix: str = ".sha256") -> Path:
    return image.with_name(image.name + suffix)


def recorded(installed: Installation, name: str, seed: int = 0) -> Path:
    """An image that the service has, with its sidecar, as after a run of the daemon."""
    content = picture(seed)
    image = installed.drop(name, content)
    digest = hashlib.sha256(content).hexdigest()
    installed.service.add_known(digest)
    claiming(image, digest)
    return image


def claiming(image: Path, digest: str) -> Path:
    """A sidecar that looks current and says this."""
    status = image.stat()
    with opened_folder(image.parent) as folder:
        write_sidecar(
            image.name, digest, stamp=stamp_of(status), mode=status.st_mode, folder=folder
        )
    return beside(image)
