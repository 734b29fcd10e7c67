"""Where the processor time of our program goes."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.bench import runs, sampled
from tests.bench.data import DataSet, fresh, make
from tests.bench.tables import Row
from watcher.settings import Workers

WHERE: tuple[tuple[str, str, str], ...] = (
    ("hashing, with its reads", r"watcher/openfile", "take|finish"),
    ("inspecting, with its reads", r"watcher/inspection/", ""),
    (
        "sending, receiving, connecting: the socket",
        r"watcher/(wire|pieces)",
        "_write.*|_receive|_in_time|_connected|wait.*|send_uncopied|connect|_opened|_has_something.*",
    ),
    ("sending: reading the file", r"watcher/form", "_whole|_read"),
    ("httpx", r"/(httpx|idna)/", ""),
    ("writing the sidecar", r"watcher/(record|sidecar|placing|renames)", ""),
    ("the log", r"/structlog/|watcher/logs", ""),
    ("walking to the file, opening, leases", r"watcher/(tree|openfile|share|settling|mounts)", ""),
    ("waiting for each other: backlog, places", r"watcher/(backlog|places|claims|gates?)", ""),
    (
        "our own: requests and answers",
        r"watcher/(wire|answer|connection|service|form|tokens|pace)",
        "",
    ),
    ("our own: the rest", r"watcher/", ""),
)
"""The innermost frame that one of these lines knows says what it was doing, so the standard library
counts for whoever called it."""


def profile(data: DataSet, work: Path) -> Iterator[Row]:
    """Processor microseconds for each file: by the kernel's account, with as many workers as there
    are by default and with one; then the parts of the latter, as the samples of a second run say.
    """
    folder = make(data, work)
    for workers in (Workers().count, 1):
        used = _run(folder, work, workers)
        cost = used.cpu / data.files * 1e6
        yield _row(f"all of it, {workers} at once", cost, cost)
        yield _row("  outside the kernel", used.user / data.files * 1e6, cost)
        yield _row("  in the kernel", used.system / data.files * 1e6, cost)
    start, parts = _sampled(folder, work)
    start *= 1e6 / data.files
    yield _row("before any file: interpreter, imports", start, cost)
    for where, count in parts.most_common():
        yield _row(where, max(0.0, cost - start) * count / parts.total(), cost)


def _row(where: str, cost: float, whole: float) -> Row:
    return {"where": where, "us/file": round(cost, 1), "%": round(cost / whole * 100, 1)}


def _run(folder: Path, work: Path, workers: int) -> runs.Used:
    """One that nobody watches."""
    with runs.stand_in(0.0) as service:
        more = f"[workers]\ncount = {workers}\n"
        command, environment = runs.our_program(fresh(folder), service.url, work, more)
        used = runs.run(command, environment)
        runs.finished(service)
        return used


def _sampled(folder: Path, work: Path) -> tuple[float, Counter[str]]:
    """Processor seconds until the work begins, and the samples by kind of work."""
    with runs.stand_in(0.0) as service:
        command, environment = runs.our_program(fresh(folder), service.url, work)
        done = subprocess.run(
            [sys.executable, "-m", sampled.__name__, command[4], str(work / "state")],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        runs.finished(service)
    found = json.loads(done.stdout)
    parts: Counter[str] = Counter()
    for stack, count in found["samples"]:
        parts[_where(stack)] += count
    return found["start"], parts


def _where(stack: list[tuple[str, str]]) -> str:
    """What kind of work this is."""
    for file, function in stack:
        for where, files, names in WHERE:
            if re.search(files, file) and re.fullmatch(names or ".*", function):
                return where
    return "other threads: the scan, the clock, looks"
