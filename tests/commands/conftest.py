from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.shares import Commands
from tests.end_to_end.running import Installation
from watcher.sandbox import Sandbox


@pytest.fixture
def service() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def installed(tmp_path: Path, service: Sandbox) -> Installation:
    return Installation(tmp_path, service)


@pytest.fixture
def commands(installed: Installation, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(installed, capsys)
