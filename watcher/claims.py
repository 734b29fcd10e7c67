"""Equal content in flight: one file sends it, the others wait until the service knows it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Claims:
    """Who is asking and sending which content just now. Thread-safe; its lock guards the set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: set[tuple[str, str]] = set()

    @contextmanager
    def claim(self, sha256: str, organization: str) -> Iterator[bool]:
        """True for the one who may send this content to this organization until it leaves the
        block; False for everybody else meanwhile."""
        key = (sha256, organization)
        with self._lock:
            mine = key not in self._claimed
            self._claimed.add(key)
        try:
            yield mine
        finally:
            if mine:
                with self._lock:
                    self._claimed.discard(key)
