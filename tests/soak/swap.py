"""A folder that is swapped for a link to the outside, and back, while people and daemon work in it.

share/day          the folder, or the link
share/.aside       the other of the two; the name is hidden, so nobody looks there
outside            where the link leads: the same names, other images
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.end_to_end.running import Installation
from tests.soak.checks import at_any_instant
from tests.soak.exchange import exchange
from tests.soak.journeys import Journeys
from tests.soak.kill import come_to_rest, count
from tests.soak.load import Load
from tests.soak.outside import Outside
from tests.soak.report import Report

LOOK_SECONDS = 0.5
"""How often the service's requests are looked through; it keeps the latest 10,000."""

DAY, ASIDE, BELOW = "day", ".aside", "below"
"""`BELOW` is the folder in the swapped one that people work in: the link is never the last step."""

WAYS = {
    "polled": 'watch = "poll"\npoll_seconds = 0.05',
    "announced": 'watch = "events"\nrescan_seconds = 0.2',
    "journeys": "",
}
"""How the share is worked on: by a daemon that polls, by one that is told by the kernel, by
journeys in this process, which meet many more swaps."""


class Swapping:
    """Swaps two names and back in a thread of its own, as fast as it can, while entered.

    They are as they were when it is left. Leaving raises what went wrong.
    """

    def __init__(self, one: Path, other: Path) -> None:
        self.swaps = 0
        self._pair = one, other
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._swap, name="swap")
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _swap(self) -> None:
        try:
            while not self._stop.is_set():
                exchange(*self._pair)
                exchange(*self._pair)
                self.swaps += 2
        except OSError as error:
            self._error = error


def soak(installed: Installation, *, seconds: float, seed: int, report: Report) -> None:
    """Swaps for so many seconds, a third for each of `WAYS`, then lets all come to rest."""
    day, aside = installed.share / DAY, installed.share / ASIDE
    (day / BELOW).mkdir(parents=True)
    outside = Outside(installed.folder / "outside", BELOW)
    aside.symlink_to(outside.folder)
    with _held(day / BELOW) as root, Load(root, seed) as load:
        with outside.watched():
            for way in WAYS:
                _try(installed, way, seconds / len(WAYS), load=load, outside=outside, report=report)
        report.violated(outside.faults(installed.service), "swapping")
    load.root = day / BELOW
    come_to_rest(installed, load, report, kills=0)
    report.violated(outside.faults(installed.service), "at rest")


@contextmanager
def _held(folder: Path) -> Iterator[Path]:
    """A path that leads to a folder wherever it hangs just now."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _try(
    installed: Installation,
    way: str,
    seconds: float,
    *,
    load: Load,
    outside: Outside,
    report: Report,
) -> None:
    """Swaps while the share is worked on in one way. It must come to uploads: else all stayed well
    because nothing was done."""
    service, pair = installed.service, (installed.share / DAY, installed.share / ASIDE)
    before = service.counters["POST /upload 201"]
    with _at_work(installed, way, report), Swapping(*pair) as swapping:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not report.violations:
            time.sleep(min(left, LOOK_SECONDS))  # the time that was asked for
            report.violated(outside.told(service), way)
            report.violated(at_any_instant(load, service, report.counts), way)
            count(report, service, load)
            report.progress(f"{way}, {left:.0f} s left")
    report.counts["swaps"] += swapping.swaps
    if service.counters["POST /upload 201"] == before:
        report.violated(["nothing was uploaded, so nothing was tried"], way)


@contextmanager
def _at_work(installed: Installation, way: str, report: Report) -> Iterator[None]:
    """Somebody works on the share, and ends well."""
    if way == "journeys":
        with Journeys(installed.share, f"{DAY}/{BELOW}", installed.service) as journeys:
            yield
        report.counts["journeys"] = journeys.taken
        return
    installed.configure(settle=0.1, share=WAYS[way])
    with installed.daemon() as daemon:
        yield
        code = daemon.stop()
    failed = [event for event in daemon.events if event["event"] == "failed"]
    report.violated([f"the daemon ended with {code}"] if code else [], way)
    report.violated([f"it says {line}" for line in (*daemon.other_lines, *failed)], way)
