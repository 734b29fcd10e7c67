"""Journeys in this process, one after the other without a pause, as no daemon makes them."""

import signal
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Self

from tests.core.factories import a_connection
from tests.soak.load import MOVING, NUMBERS, PLACES
from watcher.candidate import Candidate, Priority
from watcher.claims import Claims
from watcher.journey import Journey
from watcher.pace import NoPace
from watcher.sandbox import Sandbox
from watcher.service import Service
from watcher.settling import Moment, Settling
from watcher.share import Share
from watcher.tokens import GivenToken

SETTLE_SECONDS = 0.05


class Journeys:
    """Takes every name below the folder `below` of a share again and again while entered.

    Entered by the main thread, because it sets a signal aside. Leaving raises what went wrong.
    """

    def __init__(self, root: Path, below: str, service: Sandbox) -> None:
        self.taken = 0
        self._share = Share(root=str(root), organization=service.organization)
        self._paths = [
            "/".join(filter(None, (below, place, f"IMG {number}.jpg")))
            for place in (*PLACES, *MOVING)
            for number in range(NUMBERS)
        ]
        self._connection = a_connection()
        self._journey = Journey(
            service=Service(
                self._connection, url=service.url, tokens=GivenToken(service.access_token)
            ),
            settling=Settling(settle_seconds=SETTLE_SECONDS, incomplete_after_seconds=600),
            claims=Claims(time.monotonic),
            uploads=nullcontext(enter_result=True),
            pace=NoPace(),
            admits=lambda _: True,
            now=lambda: Moment(time.monotonic(), time.time_ns()),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="journeys")
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        # The kernel tells the holder of a lease of a writer by it; the default ends the process.
        self._before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        signal.signal(signal.SIGIO, self._before)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            with self._connection:
                while not self._stop.is_set():
                    self._take_all()
        except Exception as error:  # noqa: BLE001 - whoever leaves the block gets it
            self._error = error

    def _take_all(self) -> None:
        for number, path in enumerate(self._paths):
            candidate = Candidate(self._share, path, Priority.FRESH)
            candidate.vanished = number % 2 == 0  # then its records go if it is not there
            self._journey.take(candidate)
            self.taken += 1
