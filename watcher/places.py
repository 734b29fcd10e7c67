"""How many files are sent at once. Like a semaphore, but a place can be taken back from a thread
that a dead file server holds."""

import threading


class Places:
    """A context manager that any thread may enter: it waits for one of `count` places. Its lock
    guards who has them, by thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed = threading.Condition()
        self._taken: set[int] = set()

    def __enter__(self) -> None:
        """Waits for a place."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._taken) < self._count)
            self._taken.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        self.abandon(threading.get_ident())

    def abandon(self, thread: int) -> None:
        """Gives back what the thread of this identity has, if it has one."""
        with self._changed:
            self._taken.discard(thread)
            self._changed.notify()
