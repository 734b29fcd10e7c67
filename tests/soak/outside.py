"""The place that nobody may be led to: what was put there, and who has opened any of it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watchdog.events import FileOpenedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

from tests.core.studio import everything, sha256
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import PATIENCE
from tests.soak.load import MOVING, NUMBERS, PLACES
from watcher.record import NOTE, NOTE_TITLE, SIDECAR
from watcher.sandbox import Sandbox
from watcher.sidecar import sidecar_line

_LAST = "last to be opened"


class Outside(FileSystemEventHandler):
    """A folder full of images in which, `below`, are the names that people on the share work with.

    The lock of `_news` guards `_opened`, which watchdog's thread appends to.
    """

    def __init__(self, folder: Path, below: str) -> None:
        self.folder = folder
        self._hashes = dict(_strew(folder / below))
        (folder / _LAST).touch()
        self._before = everything(folder)
        self._opened: list[str] = []
        self._news = threading.Condition()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Has the kernel tell of each file in it that is opened, by whomever and by any path."""
        observer = InotifyObserver()
        observer.start()
        observer.schedule(self, str(self.folder), recursive=True, event_filter=[FileOpenedEvent])
        try:
            yield
            self._hear_the_rest()
        finally:
            observer.stop()
            observer.join()

    def dispatch(self, event: FileSystemEvent) -> None:
        """A file was opened."""
        with self._news:
            self._opened.append(os.path.relpath(os.fsdecode(event.src_path), self.folder))
            self._news.notify_all()

    def _hear_the_rest(self) -> None:
        """Events come in order: once this one has come, all have, and the watch does work."""
        (self.folder / _LAST).read_bytes()
        with self._news:
            if not self._news.wait_for(lambda: _LAST in self._opened, PATIENCE):
                raise AssertionError("the kernel does not tell who opens files outside")
            self._opened.remove(_LAST)

    def told(self, service: Sandbox) -> list[str]:
        """Which of its content the service was given, or was asked about lately."""
        known = {seen.content_hash for seen in service.requests} | set(service.uploads)
        told = self._hashes.keys() & known
        return [f"the service was told of outside {self._hashes[content]}" for content in told]

    def faults(self, service: Sandbox) -> list[str]:
        """All that is wrong. It opens everything, so not while it is watched."""
        after = everything(self.folder)
        touched = [
            path
            for path in sorted(self._before.keys() | after.keys())
            if self._before.get(path) != after.get(path)
        ]
        return [
            *self.told(service),
            *(f"outside {path} was opened" for path in self._opened),
            *(f"outside {path} was made, changed or removed" for path in touched),
        ]


def _strew(folder: Path) -> Iterator[tuple[str, str]]:
    """Makes the images, some with a record that a new one would replace or a deletion take away;
    names by hash."""
    for place, below in enumerate((*PLACES, *MOVING)):
        (folder / below).mkdir(parents=True, exist_ok=True)
        for number in range(NUMBERS):
            path = folder / below / f"IMG {number}.jpg"
            content = picture(-1 - place * NUMBERS - number, "PNG")  # which nobody has on the share
            path.write_bytes(content)
            if number % 3 == 1:
                path.with_name(path.name + SIDECAR).write_bytes(sidecar_line(path.name, "0" * 64))
            if number % 3 == 2:
                path.with_name(path.name + NOTE).write_bytes(NOTE_TITLE)
            yield sha256(content), str(path.relative_to(folder))
