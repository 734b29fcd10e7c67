"""The start over a share on which all is done: against a bare walk over the same tree."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.bench import peers, runs, trees
from tests.bench.tables import Row

ROUNDS = 3
COUNTED = (1_000, 3_000)
"""Images in the two trees whose starts are counted; the difference is free of the start itself."""

STATS = {"stat", "lstat", "fstat", "newfstatat", "fstatat64", "statx"}


def again(work: Path, counts: tuple[int, ...]) -> Iterator[Row]:
    """One row for each number of recorded images; medians of interleaved rounds, caches warm.

    The walk lists every folder and `stat`s every file, images and records; "less": images alone.
    """
    stats, others = _calls_per_image(work)
    for count in counts:
        share = trees.recorded(work / f"finished{count}", count)
        command, environment = runs.our_program(share, "http://127.0.0.1:9", work)
        log = work / "again.log"
        bare, less, whole, scans, memory = [], [], [], [], 0.0
        for _ in range(ROUNDS):
            bare.append(_walk(share, ""))
            less.append(_walk(share, ".jpg"))
            used = runs.run(command, environment, log)
            whole.append(used.seconds)
            scans.append(_scan_seconds(log, count))
            memory = max(memory, used.memory)
        yield {
            "recorded": count,
            "run s": round(median(whole), 2),
            "scan s": round(median(scans), 2),
            "walk s": round(median(bare), 2),
            "run/walk": _ratio(whole, bare),
            "scan/walk": _ratio(scans, bare),
            "scan/less": _ratio(scans, less),
            "us/image": round(median(whole) / count * 1e6, 1),
            "stats": stats,
            "calls": others,
            "peak MB": round(memory, 1),
        }


def _ratio(ours: list[float], bare: list[float]) -> float:
    return round(median(us / walk for us, walk in zip(ours, bare, strict=True)), 2)


def _walk(root: Path, end: str) -> float:
    """Seconds to list every folder and `stat` every file whose name ends so."""
    started = perf_counter()
    folders = [str(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(end):
                    entry.stat(follow_symlinks=False)
    return perf_counter() - started


def _scan_seconds(log: Path, count: int) -> float:
    """What the program says that its scan took; it must have found all recorded."""
    for line in log.read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}  # else how far it is, for people
        if event.get("event") == "rescan":
            if event["recorded"] != count:
                raise RuntimeError(f"not all were recorded: {event}")
            seconds: float = event["seconds"]
            return seconds
    raise RuntimeError(f"it did not scan: {log.read_text()}")


def _calls_per_image(work: Path) -> tuple[float | str, float | str]:
    """`stat`s, and system calls of any kind, for each recorded image; by `strace`."""
    if peers.missing("strace"):
        return "no strace", "-"
    counted = []
    for count in COUNTED:
        share = trees.recorded(work / f"counted{count}", count)
        command, environment = runs.our_program(share, "http://127.0.0.1:9", work)
        table = work / "strace"
        try:
            runs.run(["strace", "-f", "-c", "-o", str(table), *command], environment)
        except RuntimeError:  # it is there, but may not trace
            return "no trace", "-"
        counted.append(_counts(table.read_text()))
    few, many = counted
    images = COUNTED[1] - COUNTED[0]
    stats = sum(many.get(call, 0) - few.get(call, 0) for call in STATS)
    return round(stats / images, 2), round((sum(many.values()) - sum(few.values())) / images, 2)


def _counts(table: str) -> dict[str, int]:
    """Calls by name."""
    line = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$", re.MULTILINE)
    return {name: int(calls) for calls, name in line.findall(table) if name != "total"}
