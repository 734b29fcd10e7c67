import pytest

from tests.commands.shares import Commands
from tests.end_to_end.conftest import installed, service
from tests.end_to_end.running import Installation

__all__ = ["commands", "installed", "service"]


@pytest.fixture
def commands(installed: Installation, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(installed, capsys)
