"""How many do something at once. Like a semaphore, but a thread that a dead file server holds can
be abandoned: what it has goes to others, and it gets nothing any more."""

import threading
from weakref import WeakSet


class Places:
    """A context manager that any thread may enter: it waits for one of `count` places and gives
    whether the thread may go on. Its lock guards who has them, and who was abandoned.

    Who has waited for `patience` seconds goes on though all are taken; None: waits on.
    """

    def __init__(self, count: int, *, patience: float | None = None) -> None:
        self._count = count
        self._patience = patience
        self._changed = threading.Condition()
        self._taken: set[threading.Thread] = set()
        self._abandoned: WeakSet[threading.Thread] = WeakSet()

    def __enter__(self) -> bool:
        """Waits for a place. False if this thread was abandoned: it must not go on."""
        me = threading.current_thread()
        with self._changed:
            self._changed.wait_for(
                lambda: me in self._abandoned or len(self._taken) < self._count, self._patience
            )
            if me in self._abandoned:
                return False
            self._taken.add(me)
            return True

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        with self._changed:
            self._taken.discard(threading.current_thread())
            self._changed.notify()

    def abandon(self, thread: threading.Thread) -> None:
        """Takes back what the thread has, for good. If it waits, it waits no longer."""
        with self._changed:
            self._abandoned.add(thread)
            self._taken.discard(thread)
            self._changed.notify_all()
