"""A bounded memory of what came last."""

import threading
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The newest `at_most` of what was put in. Thread-safe; its lock guards all it has."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._lock = threading.Lock()
        self._entries: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What was last put in under `key`, if it is still here."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: K, value: V) -> V | None:
        """It is the newest now; gives what `key` had before."""
        with self._lock:
            before = self._entries.pop(key, None)
            self._entries[key] = value
            if len(self._entries) > self._at_most:
                del self._entries[next(iter(self._entries))]
            return before
