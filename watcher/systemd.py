"""What systemd is told, by sd_notify(3): one datagram for each piece of news.

The protocol is stable and small enough that the manual page itself suggests to write it anew rather
than to link a library.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping


class Systemd:
    """Owned by the main thread. Tells nobody if the process was not started by systemd."""

    def __init__(
        self, environ: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._status = ""
        self._every = _watchdog_seconds(environ) / 3
        self._due = 0.0

    def ready(self) -> None:
        """All that was asked for at the start or at a reload is in place."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        # CLOCK_MONOTONIC, which is what Python's steady clock reads on Linux.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end begins."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people; told only if it is another one than before."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={text}")

    def alive(self) -> None:
        """Work moves, or there is none. If this stays away, systemd restarts the daemon."""
        now = self._clock()
        if self._every and now >= self._due:
            self._due = now + self._every
            self._tell("WATCHDOG=1")

    def _tell(self, news: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # the abstract namespace
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.settimeout(1)
                notify.sendto(news.encode(), address)
        except OSError:
            # Nobody listens any more: then nobody waits for this either, and images go on.
            return


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """How often systemd wants a sign of life from this process; 0: it does not."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() else 0.0
