"""Trouble of the whole, each said once when it begins and once when it ends.

A condition has a name (fixed; the README lists them) and a place: a share, a folder, or
"" for the daemon. No file is blamed for one.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from structlog.typing import FilteringBoundLogger

UNMET_SECONDS = 600.0
"""A record that cannot be written is tried again every minute. If none was for so long, the images
that it was about have gone, and nobody else would find out that the folder can be written to."""

Name = Literal[
    "access_denied",
    "login_needed",
    "service_unavailable",
    "share_gone",
    "share_hung",
    "sidecar_unwritable",
    "watch_limit",
]

REMEDIES: Mapping[Name, str] = {
    "access_denied": "Check the organization in the configuration, and that the signed-in user may "
    "upload to it.",
    "login_needed": "Sign in with `autoretouch-watcher login`, or give a new token: "
    "AUTORETOUCH_REFRESH_TOKEN or the credential refresh_token.",
    "service_unavailable": "The files wait and are sent when it answers again. If it lasts, do "
    "what the reason says, check this machine's network, and the vendor's status.",
    "share_gone": "Mount the share again, correct its path, or give the daemon's user the right to "
    "enter it, as the reason says. (The systemd service sees /srv, /mnt "
    "and /media; one elsewhere needs systemd/examples/shares.conf.) Nothing is concluded from its "
    "absence.",
    "share_hung": "Look after the file server: it does not answer. The other shares go on; this "
    "one goes on by itself when it answers again. If it is mounted anew instead: systemctl reload "
    "autoretouch-watcher, for what was asked of the dead mount never comes back.",
    "sidecar_unwritable": "Make room, or give the daemon's user the right to write there (by SMB "
    "the mount has to belong to that user: uid=), or set `sidecars` to a folder elsewhere. If it "
    "is read-only for the systemd service alone: systemd/examples/shares.conf.",
    "watch_limit": "Raise fs.inotify.max_user_watches, or fs.inotify.max_user_instances if the "
    "reason says so (sysctl). Until then the share is polled; it is tried again by itself.",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One that holds: where, why, and since when (epoch seconds). It stays the same one if the
    reason changes."""

    name: Name
    place: str
    reason: str = field(compare=False)
    since: float

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.name]


class Conditions:
    """What holds at present. Thread-safe; its lock guards the tables. `wall` gives epoch seconds,
    `clock` steady ones."""

    def __init__(
        self,
        log: FilteringBoundLogger,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._wall = wall
        self._clock = clock
        self._lock = threading.Lock()
        self._active: dict[tuple[Name, str], Condition] = {}
        self._met: dict[tuple[Name, str], float] = {}
        self._inherited: set[tuple[Name, str]] = set()
        self._closed = False

    def begin(self, name: Name, place: str, why: str) -> None:
        """The condition holds; logged only if it did not before, or for another reason under the
        configuration before."""
        key = (name, place)
        with self._lock:
            if self._closed:
                return
            self._met[key] = self._clock()
            before = self._active.get(key)
            known = before is not None and (key not in self._inherited or why == before.reason)
            self._inherited.discard(key)
            if known:
                return
            since = self._wall() if before is None else before.since
            self._active[key] = Condition(name, place, why, since)
        self._log.warning(
            "condition_raised", condition=name, place=place, reason=why, remedy=REMEDIES[name]
        )

    def end(self, name: Name, place: str = "") -> None:
        """The condition does not hold; logged only if it did before."""
        if not self._active:
            return  # the usual case, asked after every file
        with self._lock:
            if self._active.pop((name, place), None) is None:
                return
            self._met.pop((name, place), None)
            self._inherited.discard((name, place))
        self._log.info("condition_cleared", condition=name, place=place)

    def holds(self, name: Name, place: str = "") -> bool:
        """Whether it holds now."""
        return (name, place) in self._active

    def end_unmet(self) -> None:
        """Ends what nobody has met for long and nobody would see the end of; asked now and then."""
        if not self._active:
            return
        oldest = self._clock() - UNMET_SECONDS
        with self._lock:
            unmet = [key for key, met in self._met.items() if met <= oldest]
        for name, place in unmet:
            if name == "sidecar_unwritable":
                self.end(name, place)

    @property
    def active(self) -> tuple[Condition, ...]:
        """Those that hold now, the oldest first."""
        with self._lock:
            return tuple(self._active.values())

    # From one configuration to the next

    def close(self) -> tuple[Condition, ...]:
        """What held. Nothing begins or ends any more: a thread that a share held until now may
        still come and tell of trouble that is nobody's."""
        with self._lock:
            self._closed = True
            held = tuple(self._active.values())
            self._active.clear()
        return held

    def inherit(self, held: Iterable[Condition]) -> None:
        """What held before holds on, with its beginning, until somebody sees its end."""
        with self._lock:
            self._active = {(each.name, each.place): each for each in held}
            self._inherited = set(self._active)
            self._met = dict.fromkeys(self._active, self._clock())
