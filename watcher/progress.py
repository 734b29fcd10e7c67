"""How far `run --once` is: a plain line now and then, where there is no terminal for a `bar`."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, Self

from watcher.errors import ShareTrouble
from watcher.scan import Found, scan
from watcher.share import Share
from watcher.tally import Counts

LINE_SECONDS = 5.0

COUNT_AFTER_SECONDS = 1.0
"""A scan that is not held up is through by then, and has told what there is to do."""


class Display(Protocol):
    """Shows how far it is; owned by the main thread."""

    def __enter__(self) -> Self:
        """Begins to show."""
        ...

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        ...

    def show(self, counts: Counts, to_do: tuple[int, int] | None = None) -> None:
        """What is done by now, and how many files and bytes there were to do, if that is known."""
        ...


class Nothing:
    """Shows nothing: the daemon's display."""

    def __enter__(self) -> Self:
        """Nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""

    def show(self, counts: Counts, to_do: tuple[int, int] | None = None) -> None:
        """Nothing."""


class Census:
    """How many files and bytes there are to do, counted in a thread of its own beside the work.

    For a backlog so long that the scan has to wait for the work: when the scan is through, what it
    found goes before this. It begins `after_seconds` from the first file that is done, so that no
    other share is walked twice, and can be a little short: what is done meanwhile is not found.
    """

    def __init__(
        self, shares: Sequence[Share], *, after_seconds: float = COUNT_AFTER_SECONDS
    ) -> None:
        self._shares = shares
        self._after_seconds = after_seconds
        self._due: float | None = None
        self._thread: threading.Thread | None = None
        self._files = 0
        self._bytes = 0
        self._counted = threading.Event()

    def of(self, counts: Counts) -> tuple[int, int] | None:
        """Files and bytes in all, once they are known. What `counts` has done by the time that
        the counting begins is no longer found, and so is added."""
        if counts.done and self._thread is None:
            now = time.monotonic()
            if self._due is None:
                self._due = now + self._after_seconds
            if now >= self._due:
                self._begin(counts)
        return (self._files, self._bytes) if self._counted.is_set() else None

    def _begin(self, counts: Counts) -> None:
        self._files, self._bytes = counts.done, counts.bytes
        self._thread = threading.Thread(target=self._count, name="census", daemon=True)
        self._thread.start()

    def _count(self) -> None:
        for share in self._shares:
            try:
                for file in scan(share):
                    if isinstance(file, Found) and file.state in {"none", "stale"}:
                        self._files += 1
                        self._bytes += file.size
            except ShareTrouble:
                continue  # the intake says so; here it only means fewer files
        self._counted.set()


class Lines:
    """A plain line every few seconds, where there is no terminal."""

    def __init__(
        self, census: Census, *, write: Callable[[str], object] = sys.stderr.write
    ) -> None:
        self._census = census
        self._write = write
        self._started = self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Nothing to begin with."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def show(self, counts: Counts, to_do: tuple[int, int] | None = None) -> None:
        """Writes a line if it is time for one."""
        now, total = time.monotonic(), to_do or self._census.of(counts)
        if now - self._last >= LINE_SECONDS:
            self._last = now
            self._write(f"{detail(counts, total, now - self._started)}\n")


def detail(counts: Counts, total: tuple[int, int] | None, seconds: float) -> str:
    """Files, bytes and rate, of `total` files and bytes if that is known."""
    from rich.filesize import decimal  # noqa: PLC0415 - the daemon is loaded without it

    files, size = (f"/{total[0]:,}", f"/{decimal(total[1])}") if total else ("", "")
    rate = decimal(int(counts.bytes / seconds)) if seconds > 0 else "0 bytes"
    return f"{counts.done:,}{files} files  {decimal(counts.bytes)}{size}  {rate}/s"
