"""The bandwidth cap: all uploads together send no faster than so many bytes a second."""

import sys
import threading
from collections.abc import Callable

STEP_SECONDS = 0.05
"""A capped upload is sent in pieces that take so long: smooth to the network and to others."""

MIN_PIECE = 1 << 10
MAX_PIECE = 1 << 20


class Pace:
    """One for all workers. Thread-safe; its lock guards when the line is free again.

    `wait` is told seconds to wait; `clock` gives steady seconds.
    """

    def __init__(
        self,
        bytes_per_second: float,
        *,
        clock: Callable[[], float],
        wait: Callable[[float], object],
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._free_at = clock()
        self.piece = int(min(MAX_PIECE, max(MIN_PIECE, bytes_per_second * STEP_SECONDS)))
        """Bytes to send at a time."""

    def keep(self, length: int) -> None:
        """Waits until `length` bytes may be sent. Time that nobody used is not made up for."""
        with self._lock:
            now = self._clock()
            start = max(now, self._free_at)
            self._free_at = start + length / self._rate
        if start > now:
            self._wait(start - now)


class NoPace:
    """No cap."""

    piece = sys.maxsize
    """Bytes to send at a time: all of them."""

    def keep(self, length: int) -> None:
        """Does not wait."""
