"""What the stand-in remembers: content, requests, counts; and how a test waits for them."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Condition

from watcher.sandbox.uploads import Received

_KEPT_REQUESTS = 10_000


@dataclass(frozen=True)
class Stored:
    """Content that the service has. `count` says how often it was posted: 0 if it never was."""

    size: int
    count: int
    content_type: str
    file_name: str
    organizations: frozenset[str]


@dataclass(frozen=True)
class Seen:
    """A request that was answered with `status`, or not at all (0).

    `content_hash` is the one asked for, or that of the content received. `fault` names the fault
    that acted, if one did. `bytes_received` counts the body.
    """

    method: str
    path: str
    content_hash: str
    organization: str
    status: int
    bytes_received: int
    fault: str


class Record:
    """The memory that all connections share, guarded by one condition that each change notifies."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._uploads: dict[str, Stored] = {}
        self._requests: deque[Seen] = deque(maxlen=_KEPT_REQUESTS)
        self._counters: Counter[str] = Counter()
        self._in_flight = 0
        self._peak_in_flight = 0
        self._bytes_received = 0

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Whether the predicate came true within `timeout` seconds; asked after each change."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout)

    @property
    def uploads(self) -> Mapping[str, Stored]:
        """A copy of what is stored, by hash."""
        with self._changed:
            return dict(self._uploads)

    @property
    def requests(self) -> tuple[Seen, ...]:
        """The latest requests, oldest first."""
        with self._changed:
            return tuple(self._requests)

    @property
    def counters(self) -> Counter[str]:
        """A copy of the counts by kind."""
        with self._changed:
            return self._counters.copy()

    @property
    def in_flight(self) -> int:
        """Requests that have been read and are not over."""
        return self._in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most requests that were in flight at once."""
        return self._peak_in_flight

    @property
    def bytes_received(self) -> int:
        """Bytes of request bodies so far."""
        return self._bytes_received

    def has(self, content_hash: str, organization: str) -> bool:
        """Whether the content is available in the organization."""
        with self._changed:
            stored = self._uploads.get(content_hash)
            return stored is not None and organization in stored.organizations

    def store(self, received: Received, organization: str) -> None:
        """Remember content that was posted."""
        with self._changed:
            before = self._uploads.get(received.sha256)
            self._uploads[received.sha256] = Stored(
                size=received.size,
                count=before.count + 1 if before else 1,
                content_type=received.content_type,
                file_name=received.file_name,
                organizations=_organizations(before) | {organization},
            )
            self._counters["posted_again" if before and before.count else "stored"] += 1
            self._changed.notify_all()

    def add_known(self, content_hash: str, organization: str) -> None:
        """Have content that was never posted."""
        with self._changed:
            before = self._uploads.get(content_hash) or Stored(0, 0, "", "", frozenset())
            organizations = before.organizations | {organization}
            self._uploads[content_hash] = replace(before, organizations=organizations)
            self._changed.notify_all()

    def forget(self, content_hash: str) -> None:
        """Lose content, as if it had been removed; raises `KeyError` if there is none."""
        with self._changed:
            del self._uploads[content_hash]
            self._changed.notify_all()

    def count(self, kind: str) -> None:
        """One more of a kind."""
        with self._changed:
            self._counters[kind] += 1
            self._changed.notify_all()

    def received(self, count: int) -> None:
        """More bytes of a body have come in."""
        with self._changed:
            self._bytes_received += count
            self._changed.notify_all()

    def begin(self) -> None:
        """A request has come."""
        with self._changed:
            self._in_flight += 1
            self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
            self._changed.notify_all()

    def answering(self, seen: Seen, kind: str) -> None:
        """A request is being answered, or has ended without an answer."""
        with self._changed:
            self._requests.append(seen)
            self._counters[kind] += 1
            self._counters[f"{kind} {seen.status}"] += 1
            self._changed.notify_all()

    def end(self) -> None:
        """A request is over."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()


def _organizations(stored: Stored | None) -> frozenset[str]:
    return stored.organizations if stored else frozenset()
