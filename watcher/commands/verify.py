"""`verify`: hashes every image again and compares with its sidecar; `--remote` asks the service.

A sidecar of ours whose hash is not the content's is taken away, so that the daemon looks at the
image again; the line that tells of it has both hashes. Nothing is concluded from absence: what
belongs to no image is listed, never removed.
"""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from watcher.access import shares_of
from watcher.commands.locate import Location, NoSuchPlace, Silent, locate
from watcher.commands.verify_course import Course, Fatal, Passed, Read, Result, Verified
from watcher.commands.verify_display import Display
from watcher.commands.verify_findings import Finding, Sums
from watcher.commands.verify_remote import Remote, remotes
from watcher.conditions import REMEDIES
from watcher.errors import AccessDenied, LoginNeeded
from watcher.exit_codes import AMISS, LOGIN_NEEDED, OK, USAGE
from watcher.settings import Settings
from watcher.settling import outlive_lease_breaks

MOST_WORKERS = 8


def run_verify(
    settings: Settings,
    paths: Sequence[str],
    *,
    state_dir: str,
    environ: Mapping[str, str],
    remote: bool,
    as_json: bool,
) -> int:
    """Verifies all, or what is at or below the paths: 0 if nothing is wrong, 1 if anything is, 2 if
    a path is in none of the shares, 77 if the service wants a login. Raises `ConfigurationError`.
    """
    outlive_lease_breaks()
    shares = shares_of(settings)
    try:
        places = [locate(path, shares) for path in paths]
    except (NoSuchPlace, Silent) as error:
        _complain(str(error))
        return USAGE if isinstance(error, NoSuchPlace) else AMISS
    stop = threading.Event()
    verification = _Verification(
        places or [Location(share, "") for share in shares],
        workers=min(MOST_WORKERS, settings.workers.count),
        remote=remotes(settings, state_dir=state_dir, environ=environ, stop=stop)
        if remote
        else nullcontext,
        stop=stop,
        as_json=as_json,
    )
    return verification.run()


class _Verification:
    """One run over all places, one after the other. Owned by the main thread."""

    def __init__(
        self,
        places: Sequence[Location],
        *,
        workers: int,
        remote: Callable[[], AbstractContextManager[Remote | None]],
        stop: threading.Event,
        as_json: bool,
    ) -> None:
        self._places = places
        self._workers = workers
        self._remote = remote
        self._stop = stop
        self._sums = Sums()
        self._fatal: Fatal | None = None
        self._display = Display(places, as_json=as_json)

    def run(self) -> int:
        """The exit code."""
        with self._display:
            for place in self._places:
                if not self._stop.is_set():
                    course = Course(
                        place, workers=self._workers, remote=self._remote, stop=self._stop
                    )
                    for result in course.results():
                        self._take_in(result)
            self._display.show(self._sums, ended=True)
        error = "" if self._fatal is None else _in_words(self._fatal)
        self._display.summary(self._sums, error=error)
        if self._fatal is not None:
            _complain(error)
            if isinstance(self._fatal.error, LoginNeeded):
                return LOGIN_NEEDED
        return AMISS if error or self._sums.findings else OK

    def _take_in(self, result: Result) -> None:
        sums = self._sums
        match result:
            case Read(size):
                sums.bytes += size
            case Verified(matching):
                sums.verified += 1
                sums.matching += matching
            case Passed(rejected=True):
                sums.rejected += 1
            case Passed():
                sums.waiting += 1
            case Finding(kind, removed=removed):
                sums.findings[kind] += 1
                sums.removed += removed
                self._display.found(result)
            case Fatal():
                self._fatal = self._fatal or result
        self._display.show(sums)


def _in_words(fatal: Fatal) -> str:
    """What the service would not do, and the remedy; not everything was verified."""
    match fatal.error:
        case LoginNeeded():
            remedy = REMEDIES["login_needed"]
        case AccessDenied():
            remedy = REMEDIES["access_denied"]
        case _:
            remedy = "Try again later."
    return f"not everything was verified: {fatal.share.root}: {fatal.error}. {remedy}"


def _complain(text: str) -> None:
    sys.stderr.write(f"autoretouch-watcher: {text}\n")
