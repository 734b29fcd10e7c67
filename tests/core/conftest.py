from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.studio import Studio
from watcher.sandbox import Sandbox


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    with Sandbox() as service:
        studio = Studio(tmp_path, service, monkeypatch)
        with studio.connection:
            yield studio
