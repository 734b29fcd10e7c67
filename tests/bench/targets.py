"""What was to be reached, beside what was measured. For information: a timing proves nothing."""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from statistics import median

from tests.bench.compare import LIMIT, OURS, SCRIPT, SHELL, Result, Rounds, ratio
from tests.bench.data import LATENCY
from tests.bench.tables import Row
from watcher.settings import Upload, Workers

MEMORY = 80.0
"""Megabytes, on every set."""


def verdicts(found: Rounds) -> Iterator[Row]:
    """One row for each target whose data sets and peers were measured."""
    yield from _against(found, "L", LIMIT, 0.95)
    if ours := _both(found, "L", LIMIT):
        costs = median(us.cpu_per_gb / them.cpu_per_gb for us, them in zip(*ours, strict=True))
        yield at_most("L: CPU s/GB, of the limit's", costs, 0.95)
    yield from _against(found, "M", LIMIT, 0.75)
    yield from _against(found, "M", SCRIPT, 1.5)
    yield from _against(found, "S", LIMIT, 0.32, " (as immich CLI)")
    yield from _against(found, "S", LIMIT, 0.73, " (as rclone; aim)")
    yield from _against(found, "S", SHELL, 8.0)
    small = found.get(("S", OURS))
    if (doubles := found.get(("D", OURS))) and small:
        yield at_least("D: files/s, x ours on S", ratio(doubles, small), 1.3)
    if doubles:
        sent = max(result.counts["sent twice"] for result in doubles)
        yield at_most("D: contents sent twice", sent, 0)
    if known := found.get(("K", OURS)):
        yield at_least("K: files/s, 50 ms", median(result.rate for result in known), 500)
    if far := found.get(("W", OURS)):
        yield at_least("W: files/s, of what 50 ms leave", _of_what_is_left(far, small), 0.8)
    for (data, program), results in found.items():
        if program == OURS:
            peak = max(result.used.memory for result in results)
            yield at_most(f"{data}: peak MB", peak, MEMORY)


def _both(found: Rounds, data: str, peer: str) -> tuple[list[Result], list[Result]] | None:
    ours, theirs = found.get((data, OURS)), found.get((data, peer))
    return (ours, theirs) if ours and theirs else None


def _against(found: Rounds, data: str, peer: str, bound: float, as_who: str = "") -> Iterator[Row]:
    if both := _both(found, data, peer):
        of = "of the limit's" if peer == LIMIT else f"x {peer}"
        yield at_least(f"{data}: rate, {of}{as_who}", ratio(*both), bound)


def _of_what_is_left(far: list[Result], small: list[Result] | None) -> float:
    """The rate as a share of what can be: by the uploads at once (a round trip each), by the files
    in flight (two each), and by the processor, if that was measured."""
    by_line = min(Upload().parallel / LATENCY, Workers().count / (2 * LATENCY))
    by_processor = median(result.rate for result in small) if small else by_line
    return median(result.rate for result in far) / min(by_line, by_processor)


Target = tuple[str, str, float]
"""Which rows by their name, which column, and what it is not to exceed."""

OTHERS: Mapping[str, tuple[str, tuple[Target, ...]]] = {
    "latency": (
        "drops",
        (
            ("[0-9]+/s", "median ms", 50),
            ("[0-9]+/s", "99th ms", 250),
            (".*backlog.*", "wait/99th", 1),
        ),
    ),
    "again": ("recorded", ((".*", "run/walk", 3), (".*", "peak MB", MEMORY))),
    "backlog": ("waiting files", ((".*", "peak MB", 100),)),
    "idle": ("watch", (("events", "% of a core", 0.2), ("poll", "% of a core", 10))),
}
"""Of the other tables: the column with the rows' names, and the targets."""


def of_table(table: str, rows: list[Row]) -> Iterator[Row]:
    """One row for each target of one of the other tables."""
    naming, targets = OTHERS.get(table, ("", ()))
    for row, (which, column, bound) in product(rows, targets):
        name, measured = str(row[naming]), row[column]
        if re.fullmatch(which, name) and isinstance(measured, int | float):
            yield at_most(f"{name}: {column}", measured, bound)


def at_least(what: str, measured: float, bound: float) -> Row:
    """A target that is the better the more."""
    return _row(f"{what} >= {bound:g}", measured, met=measured >= bound)


def at_most(what: str, measured: float, bound: float) -> Row:
    """A target that is the better the less."""
    return _row(f"{what} <= {bound:g}", measured, met=measured <= bound)


def _row(target: str, measured: float, *, met: bool) -> Row:
    return {"target": target, "measured": round(measured, 2), "met": "yes" if met else "no"}
