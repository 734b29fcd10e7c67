"""The backlog: every file that still has to be looked at, once, in the order of urgency.

Events and the scan put paths in, the pool takes candidates out. It is bounded: what the scan finds
waits at the door when it is full, and an event that finds no room tells its share to rescan.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from watcher.inspection import Image
from watcher.outcomes import Stamp
from watcher.settling import Observation
from watcher.share import Share

CAPACITY = 10_000
"""Candidates that the scan may have waiting, and as many again that events may. An entry takes
about half a kilobyte."""


class Priority(IntEnum):
    """What is taken first."""

    FRESH = 0  # dropped while we watch: somebody waits for it
    BACKLOG = 1  # found by a scan, never recorded
    RECHECK = 2  # has a record that is not current, or failed before


@dataclass(frozen=True, slots=True)
class Hashed:
    """What an earlier attempt found out about the content that had this stamp."""

    stamp: Stamp
    image: Image
    sha256: str


@dataclass(slots=True, eq=False)
class Candidate:
    """One path on its way. Whoever holds it (the backlog under its lock, or the one worker that
    took it) owns it."""

    share: Share
    path: str
    priority: Priority
    seen: Observation | None = None
    hashed: Hashed | None = None
    attempts: int = 0
    """Failed attempts in a row."""
    passes: int | None = None
    """How often the service had answered well when this file first failed for its sake."""
    probe: bool = False
    """It was let through a closed gate and must be given back to it."""
    vanished: bool = False
    """The file was seen to be deleted or moved away: if it is not there, its record goes."""
    said: str = ""
    """Why it waits, as last said in the log."""
    due: float | None = field(default=None, repr=False)
    """Steady time before which it is not taken; None if it is not waiting for a time."""
    held: bool = field(default=False, repr=False)
    """A worker has it."""
    touched: float | None = field(default=None, repr=False)
    """Something happened to the path while a worker had it: when to look again."""


class Backlog:
    """Thread-safe; one lock guards all of it. `clock` gives steady seconds.

    Candidates whose time has not come are moved on by one thread, `keep_time`: 32 idle workers
    that all woke for each due time would cost more than the work.
    """

    def __init__(self, *, clock: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.Lock()
        self._something = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._earlier = threading.Condition(self._lock)
        self._entries: dict[tuple[Share, str], Candidate] = {}
        self._ready: tuple[deque[Candidate], ...] = tuple(deque() for _ in Priority)
        self._held: dict[str, deque[Candidate]] = {}
        self._waiting: list[tuple[float, int, Candidate]] = []
        self._ticket = 0
        self._fresh = 0
        self._closed = False

    # What puts in: the observer and the scan.

    def offer(
        self, share: Share, path: str, *, settle_seconds: float, vanished: bool = False
    ) -> bool:
        """Something happened to `path`: look at it once it has had time to settle. `vanished`: it
        was seen to go.

        Never waits. False if there is no room; the caller then has the share rescanned.
        """
        with self._lock:
            due = self._clock() + settle_seconds
            known = self._entries.get((share, path))
            if known is None:
                if self._fresh >= self._capacity or len(self._entries) >= 2 * self._capacity:
                    return False  # (one that failed is not fresh any more, but still here)
                known = self._new(share, path, Priority.FRESH)
                self._wait_until(due, known)
            elif known.held:
                known.touched = due if known.touched is None else min(due, known.touched)
            elif known.due is not None and due < known.due:
                self._wait_until(due, known)
            known.vanished |= vanished
            return True

    def put(self, share: Share, path: str, priority: Priority, *, timeout: float) -> bool:
        """A scan found `path`. Waits up to `timeout` seconds for room; False if there was none or
        the backlog was closed."""
        with self._lock:
            if (share, path) in self._entries:
                return True
            if not self._room.wait_for(self._has_room, timeout) or self._closed:
                return False
            if (share, path) not in self._entries:
                self._make_ready(self._new(share, path, priority))
            return True

    def _has_room(self) -> bool:
        return self._closed or len(self._entries) - self._fresh < self._capacity

    def _new(self, share: Share, path: str, priority: Priority) -> Candidate:
        candidate = self._entries[share, path] = Candidate(share, path, priority)
        self._fresh += priority is Priority.FRESH
        return candidate

    # What takes out: the pool.

    def take(self) -> Candidate | None:
        """The most urgent candidate, waiting for one as long as it takes; None once closed."""
        with self._lock:
            while not self._closed:
                for queue in self._ready:
                    if queue:
                        candidate = queue.popleft()
                        candidate.held, candidate.touched = True, None
                        return candidate
                self._something.wait()
            return None

    def finish(self, candidate: Candidate) -> None:
        """The candidate came to its end; if something happened to it meanwhile, it begins anew."""
        with self._lock:
            if candidate.touched is not None:
                candidate.held, candidate.attempts = False, 0
                self._wait_until(candidate.touched, candidate)
                return
            del self._entries[candidate.share, candidate.path]
            self._fresh -= candidate.priority is Priority.FRESH
            self._room.notify()

    def later(self, candidate: Candidate, seconds: float) -> None:
        """Hand the candidate out again after `seconds`, or sooner if something happened to it."""
        with self._lock:
            candidate.held = False
            due = self._clock() + seconds
            self._wait_until(
                due if candidate.touched is None else min(due, candidate.touched), candidate
            )

    def retry(self, candidate: Candidate, seconds: float) -> None:
        """Like `later` for one that failed: from now on it goes behind all others."""
        with self._lock:
            self._fresh -= candidate.priority is Priority.FRESH
            candidate.priority = Priority.RECHECK
            candidate.attempts += 1
        self.later(candidate, seconds)

    def hold(self, candidate: Candidate, organization: str, *, failed: bool = False) -> None:
        """Keep the candidate back until `release`."""
        with self._lock:
            candidate.held, candidate.due = False, None
            candidate.attempts += failed
            self._held.setdefault(organization, deque()).append(candidate)

    def release(
        self, organization: str, at_most: int | None = None, *, probing: bool = False
    ) -> int:
        """Hand out again `at_most` of those kept back, most urgent first; how many there were.

        When `probing`, those that have failed least go first: what fails for its own sake must not
        be the only one that tries.
        """
        with self._lock:
            held = self._held.pop(organization, None)
            if not held:
                return 0
            # Sorting is stable: of equal urgency, whoever came first.
            ordered = sorted(held, key=_fewest_failures if probing else _urgency)
            count = len(ordered) if at_most is None else at_most
            if ordered[count:]:
                self._held[organization] = deque(ordered[count:])
            for candidate in ordered[:count]:
                self._make_ready(candidate)
            return len(ordered)

    # Time, under the lock.

    def _make_ready(self, candidate: Candidate) -> None:
        candidate.due = None
        self._ready[candidate.priority].append(candidate)
        self._something.notify()

    def _wait_until(self, due: float, candidate: Candidate) -> None:
        candidate.due = due
        self._ticket += 1
        heapq.heappush(self._waiting, (due, self._ticket, candidate))
        if self._waiting[0][2] is candidate:
            self._earlier.notify()

    def keep_time(self) -> None:
        """Makes candidates ready when their time comes, until closed. One thread runs this."""
        with self._lock:
            while not self._closed:
                self._earlier.wait(self._promote_due())

    def _promote_due(self) -> float | None:
        """Makes ready whose time has come; seconds until the next one's, None if none waits."""
        now = self._clock()
        while self._waiting and self._waiting[0][0] <= now:
            due, _, candidate = heapq.heappop(self._waiting)
            if candidate.due == due:  # else it was moved to another time
                self._make_ready(candidate)
        return self._waiting[0][0] - now if self._waiting else None

    # For those who watch.

    def __len__(self) -> int:
        """Candidates in it, the ones that workers hold included."""
        return len(self._entries)

    def close(self) -> None:
        """Hand out nothing more and let everybody who waits go."""
        with self._lock:
            self._closed = True
            for everybody in (self._something, self._room, self._earlier):
                everybody.notify_all()


def _urgency(candidate: Candidate) -> Priority:
    return candidate.priority


def _fewest_failures(candidate: Candidate) -> tuple[int, Priority]:
    return candidate.attempts, candidate.priority
