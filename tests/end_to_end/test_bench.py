"""The benchmarks work; what they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.compare import LIMIT, OURS, SHELL
from tests.bench.peers import missing


def bench(tmp_path: Path, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "tests.bench", *arguments, "--tiny"]
    subprocess.run(
        [*command, "--dir", tmp_path, "--json", found], check=True, stdout=subprocess.DEVNULL
    )
    tables: dict[str, list[dict[str, Any]]] = json.loads(found.read_text())
    return tables


def test_it_compares_with_peers_on_the_same_files(tmp_path: Path) -> None:
    tables = bench(tmp_path, "compare", "--only", "S")
    measured = {row["program"]: row for row in tables["compare"]}
    assert measured[OURS]["twice"] == 0
    for peer, program in ((LIMIT, "openssl"), (LIMIT, "curl"), (SHELL, "curl")):
        assert (peer in measured) or missing(program)
    assert any(row["target"] == "S: peak MB <= 80" for row in tables["targets"])


def test_it_measures_how_late_each_drop_arrives(tmp_path: Path) -> None:
    rows = bench(tmp_path, "latency")["latency"]
    assert [row["files"] for row in rows[:2]] == [1, 10]
    assert all(0 < row["median ms"] <= row["max ms"] for row in rows[:2])
