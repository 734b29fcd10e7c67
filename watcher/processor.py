"""On which processor the threads run.

The threads of one interpreter take turns at computing, some twenty-five turns a small file. Where
they sit on several processors each turn wakes another one: that costs twice the processor time and
nearly half the files a second (482 instead of 872 files of 60 KB, `python -m tests.bench`). So all
of them share one processor. Only what a large file takes, hashing and sending, is done outside of
those turns, and may be done anywhere.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

LARGE = 8 << 20
"""Bytes from which on a file is worth another processor: a few milliseconds of hashing."""


class Processor:
    """The one that the threads share. Any thread may call it, for itself."""

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)
        self._home = {max(self._all)}  # network cards mostly call upon the first

    def settle(self) -> None:
        """The calling thread, and those that it starts, stay on it from now on."""
        self._move(self._home)

    def roam(self, size: int) -> AbstractContextManager[None]:
        """While it lasts, the calling thread may run anywhere, if it works on so many bytes."""
        return self._roaming() if size >= LARGE else nullcontext()

    @contextmanager
    def _roaming(self) -> Iterator[None]:
        self._move(self._all)
        try:
            yield
        finally:
            self._move(self._home)

    def _move(self, processors: set[int]) -> None:
        # One may have been taken away from us meanwhile; then the kernel chooses, as it always did.
        with suppress(OSError):
            os.sched_setaffinity(0, processors)
