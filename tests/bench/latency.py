"""From the close of a file to the moment the service has it, beyond `settle_seconds`.

The files are dropped on a real daemon's share; the stand-in says when it had the whole of each
content. Both read the same steady clock.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from tests.bench import runs
from tests.bench.daemons import Daemon, daemon, pause
from tests.bench.data import DataSet, content
from tests.bench.tables import Row

SMALL = DataSet("S", 1, 60_000)
MARK = 1_000
"""Where in an image's pixels its number is written, which makes its content new."""


class Amount(NamedTuple):
    """Files at one a second and at fifty; backlogs, each as files and how many seconds away the
    service is; drops a second beside them."""

    slow: int
    fast: int
    backlogs: tuple[tuple[int, float], ...]
    beside: float
    settle: float


def latency(work: Path, amount: Amount) -> Iterator[Row]:
    """One row for each way of dropping."""
    settle = amount.settle
    yield _steady(work, rate=1.0, files=amount.slow, settle=settle)
    yield _steady(work, rate=50.0, files=amount.fast, settle=settle)
    for files, delay in amount.backlogs:
        yield _beside_backlog(work, files=files, rate=amount.beside, settle=settle, delay=delay)


def _steady(work: Path, *, rate: float, files: int, settle: float) -> Row:
    """Nothing else is to be done."""
    drops = _Drops(work / f"steady{rate:g}")
    with runs.stand_in(0.0) as service:
        with daemon(drops.share, work, service.url, settle=settle) as running:
            running.wait_for("rescan")
            drops.drop(rate, until=lambda: len(drops.closed) == files)
            running.wait_for("uploaded", files)
        arrived = runs.finished(service).arrived
    late = [arrived[sha256] - closed for sha256, closed in drops.closed.items()]
    return _row(f"{rate:g}/s", late, running, settle=settle)


def _beside_backlog(work: Path, *, files: int, rate: float, settle: float, delay: float) -> Row:
    """While the daemon works off what it found at its start. Only drops that were due before the
    last of that was sent are counted."""
    drops = _Drops(work / f"backlog{files}-{delay:g}", waiting=files)
    with runs.stand_in(delay) as service:
        with daemon(drops.share, work, service.url, settle=settle) as running:
            running.wait_for("uploaded")
            drops.drop(rate, until=lambda: _uploaded(running) >= files)
            running.wait_for("uploaded", files + len(drops.closed))
        arrived = runs.finished(service).arrived
    worked_off = max(when for sha256, when in arrived.items() if sha256 not in drops.closed)
    due = worked_off - settle * 1e6
    late = [arrived[sha256] - closed for sha256, closed in drops.closed.items() if closed < due]
    line = f", {delay * 1e3:g} ms" if delay else ""
    return _row(f"{rate:g}/s, backlog {files}{line}", late, running, settle=settle)


def _uploaded(running: Daemon) -> int:
    running.read_log()
    return running.seen["uploaded"]


def _row(drops: str, late: list[int], running: Daemon, *, settle: float) -> Row:
    """`late` is in microseconds; `journey`: from when a worker takes a file to its sidecar. What is
    in flight ends within one journey, so the latest drop should have waited for one, before its
    own."""
    beyond = [each / 1e3 - settle * 1e3 for each in late]
    journeys = [e["seconds"] * 1e3 for e in running.events if e["event"] == "uploaded"]
    return {
        "drops": drops,
        "files": len(beyond),
        "median ms": round(median(beyond), 1) if beyond else "-",
        "99th ms": round(_99th(beyond), 1) if beyond else "-",
        "max ms": round(max(beyond), 1) if beyond else "-",
        "journey ms": round(median(journeys), 1),
        "99th of it": round(_99th(journeys), 1),
        "wait/99th": round((max(beyond) - median(journeys)) / _99th(journeys), 2)
        if beyond
        else "-",
    }


def _99th(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]


class _Drops:
    """A share on which files are dropped as a copy does; `closed` is when, by their SHA-256.

    They go into the folder that a scan comes to last.
    """

    def __init__(self, share: Path, *, waiting: int = 0) -> None:
        self.share = share
        self.closed: dict[str, int] = {}
        self._image = bytearray(content(SMALL, 0))
        self._numbers = count()
        self._folder = share / "today"
        self._folder.mkdir(parents=True)
        for number in range(waiting):
            folder = share / f"{number // 200:03}"
            folder.mkdir(exist_ok=True)
            self._write(folder)

    def drop(self, rate: float, *, until: Callable[[], bool]) -> None:
        """So many a second, evenly."""
        started = time.monotonic()
        for number in count():
            pause(max(0.0, started + number / rate - time.monotonic()))
            if until():
                return
            sha256, when = self._write(self._folder)
            self.closed[sha256] = when

    def _write(self, folder: Path) -> tuple[str, int]:
        """One file more; its SHA-256 and the microsecond at which its close began."""
        number = next(self._numbers)
        self._image[-MARK : -MARK + 8] = b"%08d" % number
        with (folder / f"IMG_{number:06}.jpg").open("wb") as file:
            file.write(self._image)
            file.flush()
            when = time.monotonic_ns() // 1000
        return hashlib.sha256(self._image).hexdigest(), when
