"""How many do something at once. Like a semaphore, but a thread that a dead file server holds can
be abandoned: what it has goes to others, and it gets nothing any more."""

import math
import threading
import time
from collections.abc import Callable
from weakref import WeakSet


class Places:
    """A context manager that any thread may enter: it waits for one of `count` places and gives
    whether the thread may go on. Its lock guards who has them and until when they count, and who
    was abandoned. Who has had one for `patience` seconds does not count any more.
    """

    def __init__(
        self,
        count: int,
        *,
        patience: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._taken: dict[threading.Thread, float] = {}
        self._abandoned: WeakSet[threading.Thread] = WeakSet()

    def __enter__(self) -> bool:
        """Waits for a place. False if this thread was abandoned: it must not go on."""
        me = threading.current_thread()
        with self._changed:
            while me not in self._abandoned:
                now = self._clock()
                counting = [until for until in self._taken.values() if now < until]
                if len(counting) < self._count:
                    self._taken[me] = now + self._patience
                    return True
                self._changed.wait(min(min(counting) - now, threading.TIMEOUT_MAX))
            return False

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        with self._changed:
            self._taken.pop(threading.current_thread(), None)
            self._changed.notify()

    def abandon(self, thread: threading.Thread) -> None:
        """Takes back what the thread has, for good. If it waits, it waits no longer."""
        with self._changed:
            self._abandoned.add(thread)
            self._taken.pop(thread, None)
            self._changed.notify_all()
