"""The daemon's life: startup, main loop, shutdown; and a new shift for a new configuration.

All of it is the main thread's; what the threads of the work are is told in `shift`.
"""

import gc
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Self

from structlog.typing import FilteringBoundLogger

from watcher import __version__
from watcher.errors import ConfigurationError
from watcher.exit_codes import OK
from watcher.overview import Overview, in_words
from watcher.progress import Display
from watcher.published import PUBLISH_SECONDS, Published
from watcher.settling import outlive_lease_breaks
from watcher.shift import Shift
from watcher.snapshot import Snapshot
from watcher.systemd import Systemd

SHUTDOWN_SECONDS = 25.0
"""What is in flight at SIGTERM has so long; the rest is found again at the next start."""

TICK_SECONDS = 0.5
"""How often the daemon looks; it costs 0.05 % of a core."""

TICK_SECONDS_ONCE = 0.02
"""The same while somebody may be watching a progress bar."""


class _Requests:
    """What signals ask for. A handler comes between any two steps of the main thread and may take
    no lock, which that thread could hold: it sets a flag, and Python writes into a pipe, at which
    the main loop waits."""

    def __init__(self) -> None:
        self.stop = False
        self.reload = False

    def __enter__(self) -> Self:
        self._reads, self._writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self._reads)
        os.close(self._writes)

    def wait(self, seconds: float) -> bool:
        """Until a signal comes, so many seconds at most; whether to stop."""
        if select.select([self._reads], [], [], seconds)[0]:
            os.read(self._reads, 4096)
        return self.stop

    def on_stop(self, number: int, _frame: FrameType | None) -> None:
        """A handler."""
        self.stop = True
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once

    def on_reload(self, _number: int, _frame: FrameType | None) -> None:
        """A handler."""
        self.reload = True


class Daemon:
    """One run of the program. Owned by the main thread; `stop` may be called from anywhere.

    `renewed` makes a shift of the configuration as it is by then; raises `ConfigurationError`.
    `published` is None in a rehearsal, of which nobody is told. `end_beside` says, once, how the
    process beside this one has ended, if it has.
    """

    def __init__(
        self,
        shift: Shift,
        *,
        renewed: Callable[[], Shift],
        overview: Overview,
        systemd: Systemd,
        published: Published | None,
        notifier: AbstractContextManager[object],
        log: FilteringBoundLogger,
        display: Display,
        end_beside: Callable[[], str],
    ) -> None:
        self._shift = shift
        self._renewed = renewed
        self._overview = overview
        self._systemd = systemd
        self._published = published
        self._notifier = notifier
        self._log = log
        self._display = display
        self._end_beside = end_beside
        self._once = shift.once
        self._requests = _Requests()
        self._next: Shift | None = None
        self._ready = False
        self._publish_due = 0.0
        self._unpublished = ""

    def run(self) -> int:
        """The whole life; returns the exit code."""
        with self._requests, self._notifier:
            self._startup()
            try:
                with self._display:
                    self._main_loop()
            finally:
                unfinished = self._shutdown()
        self._log.info("stopped", unfinished=unfinished, **self._summary())
        self._systemd.status("stopped")  # a dead file server can keep the process in the kernel
        return self._shift.exit_code if self._once else OK

    def stop(self) -> None:
        """Asks the main loop to end."""
        self._requests.stop = True

    # Startup

    def _startup(self) -> None:
        self._install_signals()
        self._log.info("started", version=__version__, shares=self._shift.roots)
        self._shift.start()

    def _install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._requests.on_stop)
        if not self._once:
            signal.signal(signal.SIGHUP, self._requests.on_reload)
        outlive_lease_breaks()

    # Main loop

    def _main_loop(self) -> None:
        seconds = TICK_SECONDS_ONCE if self._once else TICK_SECONDS
        while not self._requests.wait(seconds):
            self._shift.look()
            self._show()
            if self._once and self._shift.nothing_left:
                self._show()  # the last file may have ended since
                return
            if found := self._end_beside():
                self._log.error("failed", reason="process_ended", found=found)
            self._tell(self._overview.look(self._shift))
            if self._requests.reload:
                self._read_configuration()
            if self._next is not None and self._shift.drained:
                self._change_shifts(self._next)

    def _show(self) -> None:
        self._display.show(self._shift.tally.counts, self._shift.to_do)

    def _tell(self, now: Snapshot) -> None:
        """What systemd and `status` are to know."""
        if not self._ready and self._shift.watching:
            self._ready = True
            self._systemd.ready()
        self._systemd.status(in_words(now))
        if now.moving:
            self._systemd.alive()
        if self._published is not None and time.monotonic() >= self._publish_due:
            self._publish_due = time.monotonic() + PUBLISH_SECONDS
            self._publish(now, self._published)

    def _publish(self, now: Snapshot, published: Published) -> None:
        try:
            published.publish(now)
            self._unpublished = ""
        except OSError as error:
            # Nobody but `status` misses it, so it is said once and the images go on.
            if self._unpublished != (found := f"{published.path}: {error.strerror}"):
                self._unpublished = found
                self._log.error("failed", reason="state_unwritable", found=found)

    # A new configuration

    def _read_configuration(self) -> None:
        """A bad one leaves the old in force."""
        self._requests.reload = False
        self._systemd.reloading()
        try:
            self._next = self._renewed()
        except Exception as error:  # noqa: BLE001 - whatever it is, the images go on
            found = str(error)
            if not isinstance(error, ConfigurationError):
                found = f"{type(error).__name__}: {error}."
                self._log.debug("internal_error", exc_info=error)
            self._log.error("failed", reason="configuration", found=f"{found} Not taken up.")
            if self._next is None:  # else an earlier one still waits
                self._systemd.ready()
            return
        self._shift.drain()

    def _change_shifts(self, following: Shift) -> None:
        """All that was under way is finished, so no two shifts ever work at the same time."""
        self._shift.hand_over(following)
        self._shift, self._next, self._ready = following, None, False
        following.start()
        gc.collect()  # the one before, which would wait for long to be noticed
        self._log.info("config_reloaded", shares=following.roots)

    # Shutdown, in this order: first what brings work, then what does it.

    def _shutdown(self) -> int:
        """Ends everything within the deadline; how many workers were still busy then."""
        if self._requests.stop:
            self._log.info("stopping", in_backlog=len(self._shift.backlog))
        self._systemd.stopping()
        self._shift.stop_taking()
        unfinished = self._shift.join(SHUTDOWN_SECONDS)
        self._shift.end()
        return unfinished

    def _summary(self) -> dict[str, int]:
        counts = self._shift.tally.counts
        if self._published is None:
            return {"would_upload": counts.uploaded, "would_reject": counts.rejected}
        summary = {
            "uploaded": counts.uploaded,
            "already_known": counts.already_known,
            "rejected": counts.rejected,
            "failed": counts.failed,
            "bytes": counts.bytes,
        }
        return summary | self._shift.besides if self._once else summary
