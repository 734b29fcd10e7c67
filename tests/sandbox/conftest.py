from collections.abc import Iterator

import pytest

from watcher.sandbox import Sandbox


@pytest.fixture
def service() -> Iterator[Sandbox]:
    """Judges nothing: for all that is not about images."""
    with Sandbox(check="none") as running:
        yield running
