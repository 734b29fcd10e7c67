"""A share, the service's stand-in, and journeys between them that something can happen to."""

import hashlib
import re
import ssl
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.core.factories import (
    PATIENCE,
    Clock,
    a_share,
    left_open,
    open_descriptors,
    opened_folder,
)
from watcher import journey, openfile
from watcher.access import MIN_BYTES_PER_SECOND
from watcher.candidate import Candidate, Priority
from watcher.claims import Claims
from watcher.connection import DirectConnection, WireTransport
from watcher.form import FileBody
from watcher.outcomes import Outcome
from watcher.pace import NoPace
from watcher.record import state_of
from watcher.sandbox import Sandbox
from watcher.scan import Found, scan
from watcher.service import Accepted, Refused, Service
from watcher.settling import Settling
from watcher.sidecar import claimed_hash
from watcher.tokens import GivenToken

SETTLE = 100.0
INCOMPLETE = 10_000.0
LONG_AGO = 3_600.0
"""Seconds for which every file seems to have been quiet, unless a test says otherwise."""

Deed = Callable[[], object]

SPOOLED = re.compile(re.escape(tempfile.gettempdir()) + r"/#\d+ \(deleted\)$")
"""What the service, in this process too, may still hold of a body that broke off."""

STEPS: dict[str, tuple[Any, str, bool]] = {
    "looked": (journey, "look", True),
    "seen": (journey, "opened", False),
    "opened": (openfile, "writers", False),
    "inspected": (journey, "inspect", True),
    "recording": (journey, "write_sidecar", False),
    "recorded": (journey, "write_sidecar", True),
    "noting": (journey, "write_note", False),
    "noted": (journey, "write_note", True),
}
"""Moments in which the service has no part: the step, and whether they come after it."""


class Meddling(Service, NoPace):
    """The real service and pace, and a deed that is done once, at one moment of a journey."""

    piece = 4096

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deeds: dict[str, Deed] = {}

    def do(self, moment: str, deed: Deed) -> None:
        self._deeds[moment] = deed

    def now_comes(self, moment: str) -> None:
        self._deeds.pop(moment, lambda: None)()

    @property
    def all_done(self) -> bool:
        return not self._deeds

    def knows(self, sha256: str, *, organization: str) -> bool | None:
        self.now_comes("hashed")
        answer = super().knows(sha256, organization=organization)
        self.now_comes("known?")
        return answer

    def upload(self, file: FileBody, *, organization: str) -> Accepted | Refused:
        answer = super().upload(file, organization=organization)
        self.now_comes("sent")
        return answer

    def keep(self, length: int) -> None:
        super().keep(length)
        if length < self.piece:
            self.now_comes("half_sent")


class Studio:
    """A share, the service, and a journey between them whose clock stands still."""

    def __init__(
        self, folder: Path, service: Sandbox, patch: pytest.MonkeyPatch, **options: Any
    ) -> None:
        self._patch = patch
        self.root = folder / "share"
        self.service = service
        self.share = a_share(self.root, organization=service.organization, **options)
        self.clock = Clock()
        self.clock.wall_ns = int((self.root.stat().st_mtime + LONG_AGO) * 1e9)
        self.claims = Claims(self.clock)
        self.admitted = True
        self._candidates: dict[str, Candidate] = {}
        transport = WireTransport(
            trust=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), silence=PATIENCE
        )
        self.connection = DirectConnection(
            transport, timeout_seconds=PATIENCE, slowest=MIN_BYTES_PER_SECOND
        )
        self.meddling = Meddling(
            self.connection, url=service.url, tokens=GivenToken(service.access_token)
        )
        self.journey = self.new_journey(nullcontext(enter_result=True))

    def new_journey(
        self,
        uploads: AbstractContextManager[bool],
        *,
        of: type[journey.Journey] = journey.Journey,
    ) -> journey.Journey:
        return of(
            service=self.meddling,
            settling=Settling(settle_seconds=SETTLE, incomplete_after_seconds=INCOMPLETE),
            claims=self.claims,
            uploads=uploads,
            pace=self.meddling,
            admits=lambda _: self.admitted,
            now=lambda: self.clock.now,
        )

    def drop(self, path: str, content: bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def when(self, moment: str, deed: Deed) -> None:
        """Has a deed done once, at a moment of the next journey."""
        self.meddling.do(moment, deed)
        if moment not in STEPS:
            return
        module, step, after = STEPS[moment]
        real = getattr(module, step)

        def step_and_deed(*arguments: Any, **options: Any) -> Any:
            if not after:
                self.meddling.now_comes(moment)
            answer = real(*arguments, **options)
            if after:
                self.meddling.now_comes(moment)
            return answer

        self._patch.setattr(module, step, step_and_deed)

    def candidate(self, path: str) -> Candidate:
        return self._candidates.setdefault(path, Candidate(self.share, path, Priority.BACKLOG))

    def take(self, path: str) -> Outcome:
        before = open_descriptors()
        try:
            return self.journey.take(self.candidate(path))
        finally:
            left = {one for one in left_open(before) if ":/" in one and not SPOOLED.search(one)}
            assert not left, left

    def bring_all_to_rest(self) -> None:
        """Takes all that the scan finds until it finds no more, as the daemon would."""
        for _ in range(6):
            left = [
                f.path
                for f in scan(self.share)
                if isinstance(f, Found) and f.state in WAITING_STATES
            ]
            if not left:
                return
            for path in left:
                self.take(path)
        raise AssertionError(f"these never come to rest: {left}")

    @property
    def posts(self) -> int:
        return self.service.counters["POST /upload"]

    def assert_no_false_record(self) -> None:
        """No sidecar claims what the service does not have; none that is current claims other
        content than its image's."""
        for sidecar in self.root.rglob("*.sha256"):
            image = sidecar.with_suffix("")
            assert claim(image) in self.service.uploads
            if image.is_file() and not image.is_symlink() and state_beside(image) == "uploaded":
                assert claim(image) == sha256(image.read_bytes())


WAITING_STATES = {"none", "stale"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def beside(image: Path, suffix: str = ".sha256") -> Path:
    return image.with_name(image.name + suffix)


def claim(image: Path) -> str | None:
    """The hash that stands beside an image."""
    return claimed_hash(beside(image).read_bytes(), image.name)


def status(file: Path) -> tuple[int, ...]:
    """All that a write, a lock by mode or a new time would change."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mode, found.st_mtime_ns, found.st_ctime_ns


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(path.relative_to(folder)): (
            *status(path),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def state_beside(image: Path) -> str:
    with opened_folder(image.parent) as folder:
        return state_of(image.stat(), image.name, folder)
