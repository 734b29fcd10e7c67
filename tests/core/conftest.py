import subprocess
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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file, signed by itself."""
    folder = tmp_path_factory.mktemp("certificate")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=sandbox", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"openssl: {made.stderr.decode()}")
    (folder / "both.pem").write_bytes(
        (folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes()
    )
    return folder / "both.pem"
