"""What of the backlog can be taken, what is kept back, and how much of it there is. The backlog's
lock guards all three."""

import heapq
from collections import Counter, deque
from operator import itemgetter

from watcher.candidate import Candidate, Priority
from watcher.share import Share

_Entry = tuple[Priority, int, Candidate]


class Ready:
    """The most urgent first.

    At most `at_once` candidates of one share are out at the same time (None: any number), so that
    a share that is slow, or does not give out its files, leaves workers to the others.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once
        self._heaps: dict[Share, list[_Entry]] = {}
        self._out: Counter[Share] = Counter()
        self._turn = 0

    def add(self, candidate: Candidate) -> None:
        """It can be taken, after all that are as urgent as it is."""
        self._turn += 1
        candidate.turn = self._turn
        entry = candidate.priority, self._turn, candidate
        heapq.heappush(self._heaps.setdefault(candidate.share, []), entry)

    def hurry(self, candidate: Candidate) -> None:
        """It has become more urgent: if it was here, its former place is void."""
        if candidate.turn:
            self.add(candidate)

    def take(self) -> Candidate | None:
        """The most urgent one, if there is one: it is out from now on."""
        heaps = self._open()
        if not heaps:
            return None
        _, _, candidate = heapq.heappop(min(heaps, key=itemgetter(0)))
        candidate.turn = 0
        self._out[candidate.share] += 1
        return candidate

    def give_back(self, share: Share) -> bool:
        """One of this share is not out any more; whether that lets another of it out."""
        was_full = self._out[share] == self._at_once
        self._out[share] -= 1
        return was_full and bool(self._heaps.get(share))

    def drop(self, share: Share) -> None:
        """All of this share that are here are gone."""
        self._heaps.pop(share, None)

    def _open(self) -> list[list[_Entry]]:
        for heap in self._heaps.values():
            while heap and heap[0][1] != heap[0][2].turn:
                heapq.heappop(heap)
        return [
            heap
            for share, heap in self._heaps.items()
            if heap and (self._at_once is None or self._out[share] < self._at_once)
        ]

    def __bool__(self) -> bool:
        """Whether one can be taken."""
        return bool(self._open())


class Counts:
    """How many candidates of each share there are: one that is full leaves room to the others.

    Of each, `capacity` that a scan found and as many fresh ones.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._all: Counter[Share] = Counter()
        self._fresh: Counter[Share] = Counter()

    def came(self, candidate: Candidate) -> None:
        """There is one more."""
        self._all[candidate.share] += 1
        self._fresh[candidate.share] += candidate.priority is Priority.FRESH

    def went(self, candidate: Candidate) -> None:
        """There is one less."""
        self._all[candidate.share] -= 1
        self._fresh[candidate.share] -= candidate.priority is Priority.FRESH

    def becomes(self, candidate: Candidate, priority: Priority) -> None:
        """It is as urgent as that from now on."""
        self.went(candidate)
        candidate.priority = priority
        self.came(candidate)

    def room_for_event(self, share: Share) -> bool:
        """Whether there is room for a fresh one. (One that failed is not fresh any more.)"""
        return self._fresh[share] < self._capacity and self._all[share] < 2 * self._capacity

    def room_for_scan(self, share: Share) -> bool:
        """Whether there is room for one that a scan found."""
        return self._all[share] - self._fresh[share] < self._capacity


class KeptBack:
    """What waits for an organization's service, in the order in which it came."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Candidate]] = {}

    def add(self, candidate: Candidate, organization: str) -> None:
        """It waits."""
        self._queues.setdefault(organization, deque()).append(candidate)

    def take(
        self, organization: str, at_most: int | None, *, probing: bool
    ) -> tuple[list[Candidate], int]:
        """`at_most` of them, most urgent first, and how many there were.

        When `probing`, those that have failed least go first: what fails for its own sake must not
        be the only one that tries.
        """
        # Sorting is stable: of equal urgency, whoever came first.
        by = _fewest_failures if probing else _urgency
        ordered = sorted(self._queues.pop(organization, ()), key=by)
        count = len(ordered) if at_most is None else at_most
        if ordered[count:]:
            self._queues[organization] = deque(ordered[count:])
        return ordered[:count], len(ordered)

    def count(self, organization: str) -> int:
        """How many wait for this one."""
        return len(self._queues.get(organization, ()))

    def drop(self, share: Share) -> None:
        """All of this share that are here are gone."""
        for queue in self._queues.values():
            kept = [candidate for candidate in queue if candidate.share is not share]
            queue.clear()
            queue.extend(kept)


def _urgency(candidate: Candidate) -> Priority:
    return candidate.priority


def _fewest_failures(candidate: Candidate) -> tuple[int, Priority]:
    return candidate.attempts, candidate.priority
