"""What the daemon is doing, put together now and then for whoever asks, and whether it moves."""

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from watcher import __version__
from watcher.shift import Shift
from watcher.snapshot import Flight, ShareState, Snapshot
from watcher.tally import Counts

RATE_SECONDS = 60.0
"""Rates are means over so long."""


class _Sample(NamedTuple):
    at: float
    counts: Counts


class Overview:
    """Owned by the main thread; `latest` may be read by any. `clock` is steady, `wall` is epoch
    time."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._started = wall()
        self._samples: deque[_Sample] = deque([_Sample(clock(), Counts())])
        self._progress: tuple[int, int] = (0, 0)
        self._came_on = clock()
        self.latest = Snapshot(
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            at=self._started,
            counts=Counts(),
            waiting=0,
            flights=(),
            shares=(),
            conditions=(),
            files_per_second=0.0,
            bytes_per_second=0.0,
            last_upload=None,
            moving=True,
        )

    def look(self, shift: Shift) -> Snapshot:
        """The moment as it is; remembered as the latest."""
        counts, flights = shift.tally.counts, shift.pool.flights()
        files, size = self._rates(counts)
        self.latest = replace(
            self.latest,
            at=self._wall(),
            counts=counts,
            waiting=len(shift.backlog),
            flights=flights,
            shares=tuple(ShareState(each.share.root, each.watch.how) for each in shift.intakes),
            conditions=shift.conditions.active,
            files_per_second=files,
            bytes_per_second=size,
            last_upload=shift.tally.last_upload,
            moving=self._moving(shift, flights),
        )
        return self.latest

    def _rates(self, counts: Counts) -> tuple[float, float]:
        now = self._clock()
        if now - self._samples[-1].at >= 1:
            self._samples.append(_Sample(now, counts))
        while len(self._samples) > 1 and now - self._samples[1].at >= RATE_SECONDS:
            self._samples.popleft()
        first = self._samples[0]
        seconds = max(now - first.at, 1.0)
        files = counts.uploaded + counts.already_known
        files -= first.counts.uploaded + first.counts.already_known
        return files / seconds, (counts.bytes - first.counts.bytes) / seconds

    def _moving(self, shift: Shift, flights: tuple[Flight, ...]) -> bool:
        """Whether files are taken, ended, read or sent, if there are any to take."""
        progress = (shift.pool.turns, sum(flight.read + flight.sent for flight in flights))
        work = shift.backlog.ready or bool(flights)
        if progress != self._progress or not work:
            self._progress, self._came_on = progress, self._clock()
        return self._clock() - self._came_on < shift.still_seconds


def in_words(snapshot: Snapshot) -> str:
    """One line for `systemctl status`."""
    counts = snapshot.counts
    words = [
        f"{len(snapshot.shares)} share{'s' if len(snapshot.shares) != 1 else ''}",
        f"{counts.uploaded + counts.already_known:,} uploaded",
        f"{counts.rejected:,} rejected since the start",
        f"{snapshot.waiting:,} waiting",
    ]
    news = [] if snapshot.moving else ["nothing moves"]
    news += sorted({condition.name for condition in snapshot.conditions})
    return ", ".join(words) + (f"; {', '.join(news)}" if news else "")
