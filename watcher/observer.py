"""The one place that knows watchdog: what the kernel announces, as hints about one share.

Events are hints. They overflow, come twice, come late or not at all, and their paths can be wrong
after renames; whoever gets a hint looks at the disk. Nothing here may raise into watchdog: a
handler that does ends its thread.
"""

import logging
import os
import threading
import warnings
from typing import Protocol

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

# Without a filter, watchdog's own walk over a tree makes four open and close events a folder and
# overflows the kernel's queue for ever (measured at 4,090 folders). Single writes are left out too:
# whoever still writes is found by the lease, and it would be an event for each 64 KiB.
_WANTED: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]


class Hints(Protocol):
    """What wants to know. Each call comes from a watchdog thread, must return soon, not raise.

    Paths are relative to the share; names that are not UTF-8 hold surrogates.
    """

    def changed(self, path: str) -> None:
        """A file appeared, was written to, closed or moved here."""
        ...

    def vanished(self, path: str) -> None:
        """A file was deleted or moved out of the share."""
        ...

    def appeared(self, folder: str) -> None:
        """A folder was made or moved here; there may be files in it that nobody announced."""
        ...

    def overflowed(self) -> None:
        """Events were lost."""
        ...


class Observer:
    """The kernel's events for one share: an inotify instance and threads of its own, so that
    trouble with one share stays with it. Owned by one thread."""

    def __init__(self, root: str, hints: Hints) -> None:
        """Takes an inotify instance; raises `OSError` (EMFILE) if there is none left."""
        self._root = root
        self._hints = hints
        self._overflow = _Overflow(hints)
        self._observer = InotifyObserver()

    def start(self) -> None:
        """Begins to announce what happens below the root, links not followed.

        Raises `OSError`: ENOSPC for the limit of watches, and what entering the root raises.
        """
        # For each folder that it meets twice, which is usual; 360 MB of them in a burst (measured).
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
        logging.getLogger("watchdog").addHandler(self._overflow)
        self._observer.start()
        self._observer.schedule(
            _Handler(self._root, self._hints),
            self._root,
            recursive=True,
            event_filter=_WANTED,
            follow_symlink=False,
        )

    def alive(self) -> bool:
        """Whether all its threads still run."""
        return self._observer.is_alive() and all(
            emitter.is_alive() for emitter in self._observer.emitters
        )

    def stop(self, timeout: float) -> None:
        """Ends all threads; waits for them up to `timeout` seconds."""
        logging.getLogger("watchdog").removeHandler(self._overflow)
        # watchdog waits without end for what a hung file system may never give back.
        stopping = threading.Thread(target=self._stop, name="observer-stop", daemon=True)
        stopping.start()
        stopping.join(timeout)

    def _stop(self) -> None:
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, root: str, hints: Hints) -> None:
        self._below = root.rstrip("/") + "/"
        self._hints = hints

    def dispatch(self, event: FileSystemEvent) -> None:
        """Passes one event on. A move is an end in one place and a beginning in another; of a
        folder that moved away there is nothing to say, its records went with it."""
        source, path = self._relative(event.src_path), self._relative(event.dest_path or "")
        if event.is_directory:
            if (path or source) is not None:
                self._hints.appeared(path or source or "")
        elif isinstance(event, FileMovedEvent | FileDeletedEvent):
            if source is not None:
                self._hints.vanished(source)
            if path is not None:
                self._hints.changed(path)
        elif source is not None:
            self._hints.changed(source)

    def _relative(self, path: bytes | str) -> str | None:
        path = os.fsdecode(path)
        return path[len(self._below) :] if path.startswith(self._below) else None


class _Overflow(logging.Handler):
    """watchdog 7 tells a lost event to its log alone (`inotify_c.InotifyFD.handle_event`)."""

    def __init__(self, hints: Hints) -> None:
        super().__init__(logging.WARNING)
        self._hints = hints

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._hints.overflowed()
