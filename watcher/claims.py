"""Equal content: one file sends it, the others wait, and need not even ask then."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from weakref import WeakSet

from watcher.inspection import Image
from watcher.recent import Recent

REMEMBERED_SECONDS = 60.0
"""How long it is remembered that the service took some content. Longer would be a record of our
own, and the service may lose or remove what it had."""

WAIT_SECONDS = 0.1
"""How long the first of those others waits on the spot: most files are sent sooner, and that spares
opening it again. Further ones come again later, so that a thousand copies keep no worker."""

SOONEST_SECONDS, LATEST_SECONDS = 0.1, 10.0
"""Bounds of when such another one comes again. A thousand copies of one large file that came ten
times a second would keep a processor busy."""

REMEMBERED_IMAGES = 4_096
"""Small images whose copies are not inspected again, a seventh of what a copy costs. (1 MB.) Large
ones would gain nothing: their hash is known when all of them is inspected."""

Claim = Literal["mine", "taken", "done"]
"""`mine`: this file asks and sends; `taken`: another one is just doing so; `done`: another one has,
moments ago, and the service confirmed it."""


class Claims:
    """Who is asking for and sending which content. Thread-safe; its lock guards all it has
    but `images`, the small ones that came last by their hash, which guard themselves.

    `clock` gives steady seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.images = Recent[str, Image](REMEMBERED_IMAGES)
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, str], tuple[threading.Thread, float]] = {}
        self._awaited: dict[tuple[str, str], threading.Lock] = {}
        self._done: dict[tuple[str, str], float] = {}
        self._abandoned: WeakSet[threading.Thread] = WeakSet()

    @contextmanager
    def claim(self, sha256: str, organization: str) -> Iterator[Claim]:
        """A claim to bring this content to this organization; one that is `mine` ends with the
        block."""
        key = (sha256, organization)
        claim = self._claim(key)
        if claim == "taken" and self._ends_soon(key):
            claim = self._claim(key)
        try:
            yield claim
        finally:
            if claim == "mine":
                with self._lock:
                    if self._owner(key) is threading.current_thread():
                        self._end(key)

    def _claim(self, key: tuple[str, str]) -> Claim:
        me = threading.current_thread()
        with self._lock:
            if key in self._taken or me in self._abandoned:
                return "taken"
            self._forget_old()
            if key in self._done:
                return "done"
            self._taken[key] = me, self._clock()
            return "mine"

    def _owner(self, key: tuple[str, str]) -> threading.Thread | None:
        return self._taken[key][0] if key in self._taken else None

    def patience(self, sha256: str, organization: str) -> float:
        """Seconds after which to come again for content that is `taken`: as long as it has been so
        already, within bounds."""
        with self._lock:
            now = self._clock()
            _, since = self._taken.get((sha256, organization), (None, now))
            return min(max(SOONEST_SECONDS, now - since), LATEST_SECONDS)

    def _ends_soon(self, key: tuple[str, str]) -> bool:
        """Waits a moment for the end of another's claim, unless somebody does so already."""
        with self._lock:
            if key not in self._taken:
                return True
            if key in self._awaited:
                return False
            ended = self._awaited[key] = threading.Lock()  # an `Event` would cost five times that
            ended.acquire()
        if ended.acquire(timeout=WAIT_SECONDS):
            return True
        with self._lock:
            if self._awaited.get(key) is ended:
                del self._awaited[key]
        return False

    def _end(self, key: tuple[str, str]) -> None:
        del self._taken[key]
        if key in self._awaited:
            self._awaited.pop(key).release()

    def done(self, sha256: str, organization: str) -> None:
        """The service has just confirmed that it has this content."""
        with self._lock:
            self._done.pop((sha256, organization), None)
            self._done[sha256, organization] = self._clock()

    def abandon(self, thread: threading.Thread) -> None:
        """Ends the claims of this thread, which a dead file server holds, for good: whatever it
        comes by from now on is another's."""
        with self._lock:
            self._abandoned.add(thread)
            for key in [key for key in self._taken if self._owner(key) is thread]:
                self._end(key)

    def _forget_old(self) -> None:
        oldest_kept = self._clock() - REMEMBERED_SECONDS
        while self._done:
            key = next(iter(self._done))  # the oldest: `done` appends
            if self._done[key] > oldest_kept:
                return
            del self._done[key]
