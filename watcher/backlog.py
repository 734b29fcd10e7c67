"""The backlog: every file that still has to be looked at, once, in the order of urgency.

Events and the scan put paths in, the pool takes candidates out. It is bounded: what the scan finds
waits at the door when it is full, and an event that finds no room tells its share to rescan.
"""

import heapq
import threading
import time
from collections.abc import Callable

from watcher.candidate import Candidate, Priority
from watcher.ready import Counts, KeptBack, Ready
from watcher.share import Share

CAPACITY = 10_000
"""Of one share, candidates that scans may have waiting, and as many that events may: 5 MB each."""


class Backlog:
    """Thread-safe; one lock guards all of it. `clock` gives steady seconds; at most `at_once`
    candidates of one share are handed out at the same time. Those whose time has not come are moved
    on by one thread, `keep_time`: waking all workers each time would cost more than the work.
    """

    def __init__(
        self, *, clock: Callable[[], float], capacity: int = CAPACITY, at_once: int | None = None
    ) -> None:
        self._clock = clock
        self._counts = Counts(capacity)
        self._lock = threading.Lock()
        self._something = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._earlier = threading.Condition(self._lock)
        self._entries: dict[tuple[Share, str], Candidate] = {}
        self._ready = Ready(at_once)
        self._kept_back = KeptBack()
        self._waiting: list[tuple[float, int, Candidate]] = []
        self._ticket = 0
        self._shut: set[Share] = set()
        self._paused = False
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
            known = self._offered(share, path, self._clock() + settle_seconds)
            if known is not None:
                known.vanished |= vanished
            return known is not None

    def rename(self, share: Share, source: str, path: str, *, settle_seconds: float) -> bool:
        """`source` was seen to be renamed to `path`. Like `offer` for both; and if nothing else was
        known to have happened to either, the record of `source` may follow without a look."""
        with self._lock:
            due = self._clock() + settle_seconds
            before, there = self._entries.get((share, source)), self._entries.get((share, path))
            known = self._offered(share, path, due)
            if known is None:
                return False
            if before is None and there is None:
                known.moved_from, known.intact = source, time.time_ns()
                return True
            if before is not None and not before.held and before.moved_from and there is None:
                # Renamed twice: the record is still where it was first.
                known.moved_from, known.intact = before.moved_from, before.intact
                before.moved_from, before.intact, before.vanished = None, 0, True
                return True
            old = self._offered(share, source, due)
            if old is not None:
                old.vanished = True
            return old is not None

    def doubt(self, share: Share) -> None:
        """Events of this share were lost: no rename is known to be all that happened."""
        with self._lock:
            for candidate in self._entries.values():
                if candidate.share is share:
                    candidate.intact = 0

    def _offered(self, share: Share, path: str, due: float) -> Candidate | None:
        known = self._entries.get((share, path))
        if known is None:
            if not self._counts.room_for_event(share) or share in self._shut:
                return None  # (one that failed is not fresh any more, but still here)
            known = self._new(share, path, Priority.FRESH)
            self._wait_until(due, known)
        elif known.held:
            known.touched = due if known.touched is None else min(due, known.touched)
        elif known.due is not None and due < known.due:
            self._wait_until(due, known)
        if known.priority and not known.attempts and self._counts.room_for_event(share):
            self._counts.becomes(known, Priority.FRESH)  # a scan came by it first
            self._ready.hurry(known)
        known.intact = 0
        return known

    # A share that hangs.

    def shut(self, share: Share) -> None:
        """Drops all candidates of a share but those that workers hold, and takes no more of them:
        whoever took one would hang, too. What was there is found again by a scan."""
        with self._lock:
            self._shut.add(share)
            dropped = [c for c in self._entries.values() if c.share is share and not c.held]
            for candidate in dropped:
                self._remove(candidate)
            self._waiting = [entry for entry in self._waiting if entry[2].share is not share]
            heapq.heapify(self._waiting)
            self._ready.drop(share)
            self._kept_back.drop(share)

    def reopen(self, share: Share) -> None:
        """The share answers again."""
        with self._lock:
            self._shut.discard(share)
            self._room.notify_all()

    def put(self, share: Share, path: str, priority: Priority, *, timeout: float) -> bool:
        """A scan found `path`. Waits up to `timeout` seconds for room; False if there was none or
        the backlog was closed."""
        with self._lock:
            if (share, path) in self._entries:
                return True
            if not self._room.wait_for(lambda: self._has_room(share), timeout) or self._closed:
                return False
            if (share, path) not in self._entries:
                self._make_ready(self._new(share, path, priority))
            return True

    def _has_room(self, share: Share) -> bool:
        return self._closed or (self._counts.room_for_scan(share) and share not in self._shut)

    def _new(self, share: Share, path: str, priority: Priority) -> Candidate:
        candidate = self._entries[share, path] = Candidate(share, path, priority)
        self._counts.came(candidate)
        return candidate

    # What takes out: the pool.

    def take(self) -> Candidate | None:
        """The most urgent candidate, waiting for one as long as it takes; None once closed."""
        with self._lock:
            while not self._closed:
                candidate = None if self._paused else self._ready.take()
                if candidate is not None:
                    candidate.held, candidate.touched = True, None
                    return candidate
                self._something.wait()
            return None

    def give_up(self, candidate: Candidate) -> None:
        """The worker that has it was replaced: nothing waits for it, until it comes back."""
        with self._lock:
            if candidate.held and not candidate.alone:
                candidate.alone = True
                self._give_back(candidate)

    def _let_go(self, candidate: Candidate) -> None:
        if not candidate.alone:
            self._give_back(candidate)
        candidate.held = candidate.alone = False

    def _give_back(self, candidate: Candidate) -> None:
        if self._ready.give_back(candidate.share):
            self._something.notify()

    def finish(self, candidate: Candidate) -> None:
        """The candidate came to its end; if something happened to it meanwhile, it begins anew."""
        with self._lock:
            self._let_go(candidate)
            if candidate.touched is not None and candidate.share not in self._shut:
                candidate.attempts = 0
                self._wait_until(candidate.touched, candidate)
                return
            self._remove(candidate)

    def _remove(self, candidate: Candidate) -> None:
        if not self._counts.room_for_scan(candidate.share):
            self._room.notify_all()  # who wakes as soon as the lock is free
        del self._entries[candidate.share, candidate.path]
        self._counts.went(candidate)

    def later(self, candidate: Candidate, seconds: float) -> None:
        """Hand the candidate out again after `seconds`, or sooner if something happened to it."""
        with self._lock:
            self._let_go(candidate)
            if candidate.share in self._shut:
                self._remove(candidate)
                return
            due, touched = self._clock() + seconds, candidate.touched
            self._wait_until(due if touched is None else min(due, touched), candidate)

    def retry(self, candidate: Candidate, seconds: float) -> None:
        """Like `later` for one that failed: from now on it goes behind all others."""
        with self._lock:
            self._counts.becomes(candidate, Priority.RECHECK)
            candidate.attempts += 1
        self.later(candidate, seconds)

    def hold(self, candidate: Candidate, organization: str, *, failed: bool = False) -> None:
        """Keep the candidate back until `release`."""
        with self._lock:
            self._let_go(candidate)
            candidate.due = None
            if candidate.share in self._shut:
                self._remove(candidate)
                return
            candidate.attempts += failed
            self._kept_back.add(candidate, organization)

    def release(
        self, organization: str, at_most: int | None = None, *, probing: bool = False
    ) -> int:
        """Hand out again `at_most` of those kept back (`KeptBack.take`); how many there were."""
        with self._lock:
            candidates, count = self._kept_back.take(organization, at_most, probing=probing)
            for candidate in candidates:
                self._make_ready(candidate)
            return count

    def kept_back(self, organization: str) -> int:
        """How many wait for `release`."""
        with self._lock:
            return self._kept_back.count(organization)

    # Time, under the lock.

    def _make_ready(self, candidate: Candidate) -> None:
        candidate.due = None
        self._ready.add(candidate)
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

    def under_way(self) -> bool:
        """Whether a worker has a candidate, but for those that nobody waits for."""
        with self._lock:
            held = [each for each in self._entries.values() if each.held and not each.alone]
            return any(each.share not in self._shut for each in held)

    def observed(self) -> list[tuple[Share, str]]:
        """Paths that were seen to go or to be renamed away: no scan would find out."""
        with self._lock:
            known = tuple(self._entries.values())
        gone = [(each.share, each.path) for each in known if each.vanished]
        return gone + [(each.share, each.moved_from) for each in known if each.moved_from]

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        with self._lock:
            return bool(self._ready)

    def __len__(self) -> int:
        """Candidates in it, the ones that workers hold included."""
        return len(self._entries)

    def pause(self) -> None:
        """Hand out nothing more, but go on taking in."""
        with self._lock:
            self._paused = True

    def close(self) -> None:
        """Hand out nothing more and let everybody who waits go."""
        with self._lock:
            self._closed = True
            for everybody in (self._something, self._room, self._earlier):
                everybody.notify_all()
