"""Whether the service still has what the sidecars say, and sending what it has lost."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TypeVar

from watcher.access import connections, moment, pace_of, settling_of, tokens_of
from watcher.backoff import delay
from watcher.candidate import Candidate, Priority
from watcher.claims import Claims
from watcher.commands.verify_findings import Finding
from watcher.commands.verify_image import Recorded, expire
from watcher.errors import (
    CertificateRefused,
    FileUnreadable,
    ServiceError,
    ServiceTrouble,
    ShareTrouble,
)
from watcher.journey import Journey
from watcher.outcomes import AlreadyKnown, Changed, NotSettled, Outcome, Rejected, Uploaded
from watcher.places import Places
from watcher.published import Published
from watcher.service import Service
from watcher.settings import Settings
from watcher.share import Share
from watcher.tree import NotThere

T = TypeVar("T")

ATTEMPTS = 5
"""How often the service is asked before this gives up."""

LONGEST_SECONDS = 30.0
"""What it waits in between, at most; a service that wants more is asked another day."""

WAITED_SECONDS = 60.0
"""How long an image that is to be sent is waited for until it is at rest."""


LATER = "The daemon, or the next `run`, sends it."


class Remote:
    """What one worker asks the service by; owned by it, like its connection."""

    def __init__(
        self,
        service: Service,
        journey: Journey,
        *,
        daemon_runs: Callable[[], bool],
        stop: threading.Event,
    ) -> None:
        self._service = service
        self._journey = journey
        self._daemon_runs = daemon_runs
        self._stop = stop
        self.failed: ServiceError | None = None
        """Why something could not be sent; then there is no use in going on."""

    def compared(self, share: Share, image: Recorded) -> Finding | None:
        """What to say if the service has lost the content; it is sent again. Raises
        `ServiceError` if the service cannot be asked."""
        if self._patiently(lambda: self._has(share, image)):
            return None
        lost = Finding("lost", share.root, image.path)
        try:
            if not expire(share, image):
                return replace(lost, done="it is being changed just now: the daemon looks at it")
            if self._daemon_runs():
                return replace(lost, done="its sidecar was removed: the daemon sends it again")
            return replace(lost, done=self._sent(share, image.path))
        except NotThere:
            return None
        except ServiceError as error:
            self.failed = error
            return replace(lost, done=f"not sent: {error}. {LATER}")
        except (ShareTrouble, FileUnreadable) as error:
            return replace(lost, done=f"not sent: {error}")

    def _has(self, share: Share, image: Recorded) -> bool:
        known = self._service.knows(image.sha256, organization=share.organization)
        if known is None:
            raise ServiceTrouble("it answered with a page for people, as a gateway would")
        if not known:
            self._service.confirm_up()
        return known

    def _sent(self, share: Share, path: str) -> str:
        """Brings it to the service by the daemon's own way; what came of it."""
        candidate, ends = Candidate(share, path, Priority.RECHECK), moment().steady + WAITED_SECONDS
        while True:
            outcome: Outcome = self._patiently(lambda: self._journey.take(candidate))
            match outcome:
                case Uploaded():
                    return "sent again"
                case AlreadyKnown():
                    return "the service has it again"
                case Rejected(reason):
                    return f"not sent: it is rejected now ({reason})"
                case NotSettled("quiet_time" | "equal_content_under_way", seconds):
                    self._stop.wait(seconds)
                case Changed():
                    self._stop.wait(1)
                case _:
                    return f"not sent: it is not at rest. {LATER}"
            if self._stop.is_set() or moment().steady > ends:
                return f"not sent: it is not at rest. {LATER}"

    def _patiently(self, ask: Callable[[], T]) -> T:
        """The answer, asked for again if the service is in trouble."""
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except CertificateRefused:
                raise
            except ServiceTrouble as error:
                asked_for = error.retry_after or 0
                last = attempt == ATTEMPTS - 1 or asked_for > LONGEST_SECONDS
                if last or self._stop.is_set():
                    raise
                self._stop.wait(
                    delay(
                        attempt,
                        random=random.random,
                        longest=LONGEST_SECONDS,
                        at_least=asked_for,
                    )
                )
        raise AssertionError("the last attempt returns or raises")


def remotes(
    settings: Settings, *, state_dir: str, environ: Mapping[str, str], stop: threading.Event
) -> Callable[[], AbstractContextManager[Remote]]:
    """Makes what each worker asks by. Raises `ConfigurationError`."""
    connect = connections(settings, environ)
    tokens = tokens_of(settings, state_dir=state_dir, environ=environ, connect=connect)
    claims, places = Claims(time.monotonic), Places(settings.upload.parallel)
    pace, settling, published = pace_of(settings), settling_of(settings), Published(state_dir)

    published.runs()  # whether this user may know that is told now, not in the middle

    @contextmanager
    def remote() -> Iterator[Remote]:
        with connect() as connection:
            service = Service(connection, url=settings.api.url, tokens=tokens)
            journey = Journey(
                service=service,
                settling=settling,
                claims=claims,
                uploads=places,
                pace=pace,
                admits=lambda _: True,
                now=moment,
            )
            yield Remote(service, journey, daemon_runs=published.runs, stop=stop)

    return remote
