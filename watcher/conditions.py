"""Trouble of the whole, each said once when it begins and once when it ends.

A condition has a name (fixed; the README lists them) and a place: a share, a folder, or
"" for the daemon. No file is blamed for one.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from structlog.typing import FilteringBoundLogger

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
    "share_gone": "Mount the share again or correct its path. (The systemd service sees /srv, /mnt "
    "and /media; one elsewhere needs systemd/examples/shares.conf.) Nothing is concluded from its "
    "absence.",
    "share_hung": "Look after the file server: it does not answer. The other shares go on; this "
    "one goes on by itself when it answers again.",
    "sidecar_unwritable": "Make room, or give the daemon's user the right to write there, or set "
    "`sidecars` to a folder elsewhere. If it is read-only for the systemd service "
    "alone: systemd/examples/shares.conf.",
    "watch_limit": "Raise fs.inotify.max_user_watches, or fs.inotify.max_user_instances if the "
    "reason says so (sysctl). Until then the share is polled; it is tried again by itself.",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One that holds: where, why, and since when (epoch seconds)."""

    name: Name
    place: str
    reason: str
    since: float

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.name]


class Conditions:
    """What holds at present. Thread-safe; its lock guards the table."""

    def __init__(self, log: FilteringBoundLogger, *, wall: Callable[[], float] = time.time) -> None:
        self._log = log
        self._wall = wall
        self._lock = threading.Lock()
        self._active: dict[tuple[Name, str], Condition] = {}
        self._closed = False

    def begin(self, name: Name, place: str, why: str) -> None:
        """The condition holds; logged only if it did not before."""
        with self._lock:
            if (name, place) in self._active or self._closed:
                return
            self._active[name, place] = Condition(name, place, why, self._wall())
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
        self._log.info("condition_cleared", condition=name, place=place)

    def holds(self, name: Name, place: str = "") -> bool:
        """Whether it holds now."""
        return (name, place) in self._active

    def close(self) -> None:
        """All end, and none begins any more: a thread that a share held until now may still come
        and tell of trouble that is nobody's."""
        with self._lock:
            self._closed = True
        for condition in self.active:
            self.end(condition.name, condition.place)

    @property
    def active(self) -> tuple[Condition, ...]:
        """Those that hold now, the oldest first."""
        with self._lock:
            return tuple(self._active.values())
