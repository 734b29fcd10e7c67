"""One place's verification: a thread that walks, workers that read, and who waits for them.

The walk hands images to the workers through a short queue; all of them tell the one thread that
waits. Nobody waits for a file server that hangs: its threads end with the process.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from watcher.commands.locate import Location, is_folder
from watcher.commands.reasons import has_room
from watcher.commands.verify_findings import Finding
from watcher.commands.verify_image import Recorded, compared, hashed, recorded
from watcher.commands.verify_remote import Remote
from watcher.commands.verify_walk import Walk
from watcher.errors import (
    AccessDenied,
    FileUnreadable,
    RecordUnwritable,
    ServiceError,
    ShareGone,
)
from watcher.hangs import HUNG_SECONDS
from watcher.scan import Found, Unreadable
from watcher.share import Share
from watcher.tree import NotThere, split

LOOK_SECONDS = 0.5
AHEAD = 1_000
"""Images that the walk is ahead of the workers, at most."""


@dataclass(frozen=True, slots=True)
class Read:
    """So many bytes were read."""

    size: int


@dataclass(frozen=True, slots=True)
class Verified:
    """An image was read to the end; `matching` if all is well with it."""

    matching: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """An image that there was nothing to verify of."""

    rejected: bool


@dataclass(frozen=True, slots=True)
class Fatal:
    """The service is not to be asked any further about this share; if it is not that access is
    denied, about none."""

    error: ServiceError
    share: Share


@dataclass(frozen=True, slots=True)
class _Ended:
    """A thread has ended."""


Result = Finding | Read | Verified | Passed | Fatal


class Course:
    """Verifies what is at or below `place`.

    `results` is for the one thread that made it; each worker has what `remote` makes, None if the
    service is not to be asked. `stop` ends this and all others. The lock-free table of marks holds
    since when each thread has been waiting for the file server.
    """

    def __init__(
        self,
        place: Location,
        *,
        workers: int,
        remote: Callable[[], AbstractContextManager[Remote | None]],
        stop: threading.Event,
    ) -> None:
        self._place = place
        self._share = place.share
        self._workers = workers
        self._remote = remote
        self._stop = stop
        self._given_up = threading.Event()
        self._jobs: queue.Queue[str | None] = queue.Queue(AHEAD)
        self._results: queue.Queue[Result | _Ended | Exception] = queue.Queue(AHEAD)
        self._marks: dict[int, float] = {}

    def results(self) -> Iterator[Result]:
        """What is found, as it comes, until all is verified or the share hangs."""
        works = [self._walk, *[self._work] * self._workers]
        for work in works:
            threading.Thread(target=self._told, args=(work,), name="verify", daemon=True).start()
        running = len(works)
        while running:
            try:
                result = self._results.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if self._hangs():
                    self._given_up.set()
                    yield self._trouble(
                        f"no answer from its file server for {HUNG_SECONDS:.0f} seconds"
                    )
                    return
                continue
            if isinstance(result, Exception):
                raise result
            if isinstance(result, _Ended):
                running -= 1
            else:
                yield result

    def _hangs(self) -> bool:
        now = time.monotonic()
        return any(now - mark > HUNG_SECONDS for mark in tuple(self._marks.values()))

    def _trouble(self, why: str) -> Finding:
        return Finding("share", self._share.root, "", why)

    # In the threads

    def _told(self, work: Callable[[], None]) -> None:
        """What goes wrong in a thread is for the one that waits."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised again there
            self._tell(error)
        self._tell(_Ended())

    def _tell(self, result: Result | _Ended | Exception) -> None:
        self._results.put(result)
        self._beat()

    @contextmanager
    def _at_share(self) -> Iterator[None]:
        """While the file server may be waited for."""
        self._marks[threading.get_ident()] = time.monotonic()
        try:
            yield
        finally:
            del self._marks[threading.get_ident()]

    def _beat(self) -> None:
        if threading.get_ident() in self._marks:
            self._marks[threading.get_ident()] = time.monotonic()

    @property
    def _over(self) -> bool:
        return self._stop.is_set() or self._given_up.is_set()

    # The walk

    def _walk(self) -> None:
        try:
            with self._at_share():
                for found in self._images():
                    self._beat()
                    self._sort(found)
                    if self._over:
                        return
        except (ShareGone, RecordUnwritable) as error:
            self._fails(error)
        for _ in range(self._workers):
            self._hand(None)

    def _images(self) -> Iterator[Found | Unreadable]:
        place, share = self._place, self._share
        if is_folder(place):
            rule = share.ignores.folders(place.path)
            if rule is None:
                walk = Walk(share, place.path, tell=self._tell, beat=self._beat)
                yield from walk.images()
                return
        else:
            rule = share.ignores.anywhere(place.image)
            if rule is None:
                yield Found(place.image, 0, "stale")  # whoever takes it finds out
                return
        self._tell(Finding("not_there", share.root, place.path, f"it is ignored: {rule}"))

    def _sort(self, found: Found | Unreadable) -> None:
        match found:
            case Unreadable(path, why):
                self._tell(Finding("unreadable", self._share.root, path, why))
            case Found(path, state="none") if not has_room(split(path)[1]):
                self._hand(path)  # it may be rejected without a note
            case Found(state="none" | "rejected" as state):
                self._tell(Passed(rejected=state == "rejected"))
            case Found(path):
                self._hand(path)

    def _hand(self, path: str | None) -> None:
        while not self._over:
            try:
                self._jobs.put(path, timeout=LOOK_SECONDS)
            except queue.Full:
                self._beat()
            else:
                return

    # The workers

    def _work(self) -> None:
        try:
            with self._remote() as remote:
                while not self._over:
                    try:
                        path = self._jobs.get(timeout=LOOK_SECONDS)
                    except queue.Empty:
                        continue
                    if path is None:
                        return
                    self._verify(path, remote)
                    if remote is not None and remote.failed is not None:
                        raise remote.failed
        except ServiceError as error:
            # Another share's organization may be another.
            (self._given_up if isinstance(error, AccessDenied) else self._stop).set()
            self._tell(Fatal(error, self._share))

    def _verify(self, path: str, remote: Remote | None) -> None:
        try:
            with self._at_share():
                image = recorded(self._share, path)
                if not isinstance(image, Recorded):
                    self._tell(image if isinstance(image, Finding) else Passed(image == "rejected"))
                    return
                sha256 = hashed(self._share, image, self._read)
                if sha256 is None:  # it is being changed: not at rest, and so not to be judged
                    self._tell(Passed(rejected=False))
                    return
                finding = compared(self._share, image, sha256)
        except NotThere:
            if path == self._place.image:
                self._tell(Finding("not_there", self._share.root, path))
        except (FileUnreadable, RecordUnwritable) as error:
            self._tell(Finding("unreadable", self._share.root, path, str(error)))
        except ShareGone as error:
            self._fails(error)
        else:
            if remote is not None and sha256 == image.sha256:
                finding = remote.compared(self._share, image) or finding
            self._tell(Verified(matching=finding is None))
            if finding is not None:
                self._tell(finding)

    def _read(self, size: int) -> None:
        self._tell(Read(size))

    def _fails(self, error: Exception) -> None:
        """The share fails as a whole: said once, and nothing more is concluded of it."""
        if not self._given_up.is_set():
            self._given_up.set()
            self._tell(self._trouble(str(error)))
