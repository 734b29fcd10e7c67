"""What is installed is what was locked, wherever it comes from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.units import DEPLOY, SOURCE, UNITS

LOCKS = ("requirements.lock", "requirements-build.lock")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}")

with (SOURCE / "pyproject.toml").open("rb") as file:
    PROJECT = tomllib.load(file)

WANTED = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
}


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each project."""
    found: dict[str, tuple[str, int]] = {}
    text = re.sub(r" \\\n", "\n", (DEPLOY / name).read_text())
    for line in text.splitlines():
        if pin := re.fullmatch(r"([a-z0-9.-]+)==(\S+)", line):
            current = canonicalize_name(pin[1])
            found[current] = (pin[2], 0)
        elif not line.startswith("#"):
            assert HASH.fullmatch(line), f"{name}: {line}"
            version, hashes = found[current]
            found[current] = (version, hashes + 1)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_it_covers_what_is_asked_for(name: str) -> None:
    """If not: sh deploy/lock.sh."""
    found = locked(name)
    for text in WANTED[name]:
        wanted = Requirement(text)
        version, _ = found[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), text


@pytest.mark.parametrize("name", LOCKS)
def test_nothing_is_without_a_hash(name: str) -> None:
    assert all(hashes for _, hashes in locked(name).values())


def test_what_is_compiled_is_there_for_each_python_and_machine() -> None:
    script = (DEPLOY / "lock.sh").read_text()
    pythons = re.search(r'PYTHONS="(.*)"', script)
    machines = re.search(r'MACHINES="(.*)"', script)
    assert pythons
    assert machines
    _, hashes = locked("requirements.lock")["pydantic-core"]
    assert hashes == len(pythons[1].split()) * len(machines[1].split())


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in (DEPLOY, UNITS)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in {".sh", ".lock", ".service", ".timer", ".conf"}
    ],
    ids=lambda path: path.name,
)
def test_no_file_names_a_package_index(path: Path) -> None:
    """pip's own settings say where to ask; a house may have an index of its own."""
    text = path.read_text()
    assert not re.search(r"--(extra-)?index-url|--trusted-host|pypi|pythonhosted", text)
    if path.suffix == ".lock":
        assert "://" not in text
