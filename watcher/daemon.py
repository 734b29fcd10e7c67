"""The daemon's life: startup, main loop, shutdown.

Threads, and what each owns:

    main          starts and stops everything; looks now and then whether all is well
    clock         moves candidates on when their time comes (`Backlog.keep_time`)
    intake-N      scans one share each (`Intake.run`); a share that hangs, hangs its own alone
    watchdog's    turn the kernel's events into hints for the intakes (`observer`)
    worker-N      take one candidate at a time on its journey; each owns one connection
"""

import errno
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from watcher import __version__
from watcher.backlog import Backlog
from watcher.conditions import Conditions
from watcher.gates import Gates
from watcher.intake import Intake
from watcher.mounts import mount_of
from watcher.observer import Observer
from watcher.pool import Pool
from watcher.progress import Display
from watcher.scans import ScanLog
from watcher.share import Share
from watcher.tally import Tally
from watcher.trouble import STUCK_SECONDS

SHUTDOWN_SECONDS = 25.0
"""What is in flight at SIGTERM has so long; the rest is found again at the next start."""

TICK_SECONDS = 0.5
"""How often the daemon looks; it costs 0.05 % of a core."""

TICK_SECONDS_ONCE = 0.1
"""The same while somebody may be watching a progress bar."""

OK, SOME_FAILED, LOGIN_NEEDED = 0, 1, 77


class NewIntake(Protocol):
    """Makes the intake of one share."""

    def __call__(self, share: Share, *, polled: bool) -> Intake:
        """`polled`: by scans alone, every `poll_seconds`."""
        ...


class Daemon:
    """One run of the program. Owned by the main thread; `stop` may be called from anywhere."""

    def __init__(
        self,
        *,
        shares: tuple[Share, ...],
        backlog: Backlog,
        gates: Gates,
        conditions: Conditions,
        tally: Tally,
        scans: ScanLog,
        pool: Pool,
        new_intake: NewIntake,
        log: FilteringBoundLogger,
        display: Display,
        once: bool,
    ) -> None:
        self._shares = shares
        self._backlog = backlog
        self._gates = gates
        self._conditions = conditions
        self._tally = tally
        self._scans = scans
        self._pool = pool
        self._new_intake = new_intake
        self._log = log
        self._display = display
        self._once = once
        self._stop = threading.Event()
        self._observers: dict[Intake, Observer] = {}
        self._intakes: list[Intake] = []
        self._scanning: list[threading.Thread] = []

    def run(self) -> int:
        """The whole life; returns the exit code."""
        self._startup()
        try:
            with self._display:
                self._main_loop()
        finally:
            unfinished = self._shutdown()
        code = self._exit_code()
        self._log.info("stopped", unfinished=unfinished, **self._summary())
        return code

    def stop(self) -> None:
        """Asks the main loop to end."""
        self._stop.set()

    # Startup

    def _startup(self) -> None:
        self._install_signals()
        self._log.info(
            "started", version=__version__, shares=[share.root for share in self._shares]
        )
        self._pool.start()
        _thread("clock", self._backlog.keep_time)
        if self._once:
            for share in self._shares:
                intake = self._new_intake(share, polled=True)
                self._begin(intake, intake.run_once)
        else:
            for share in self._shares:
                # First the events, then the scan: what comes in between is seen twice, not never.
                intake = self._watched(share) or self._new_intake(share, polled=True)
                self._begin(intake, intake.run)

    def _install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        # The kernel tells a lease's holder of a writer that waits (see `settling.writers`); the
        # default action would end the process.
        signal.signal(signal.SIGIO, signal.SIG_IGN)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once

    def _watched(self, share: Share) -> Intake | None:
        """The share's intake if the kernel announces its changes to us."""
        if share.watch == "poll" or (share.watch == "auto" and not _announced(share.root)):
            return None
        intake = self._new_intake(share, polled=False)
        try:
            self._observe(intake)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EMFILE}:
                self._conditions.begin("watch_limit", share.root, str(error))
            return None  # if it is absent, the scan says so
        return intake

    def _observe(self, intake: Intake) -> None:
        observer = Observer(intake.share.root, intake)
        self._observers[intake] = observer
        observer.start()

    def _begin(self, intake: Intake, work: Callable[[], None]) -> None:
        self._intakes.append(intake)
        self._scanning.append(_thread(f"intake-{len(self._intakes)}", work))

    # Main loop

    def _main_loop(self) -> None:
        while not self._stop.wait(TICK_SECONDS_ONCE if self._once else TICK_SECONDS):
            self._gates.let_through()
            self._show()
            if self._once and self._nothing_left():
                self._show()  # the last file may have ended since
                return
            for intake, observer in tuple(self._observers.items()):
                if not observer.alive():
                    del self._observers[intake]
                    _thread("observe-again", partial(self._observe_again, intake, observer))

    def _show(self) -> None:
        self._display.show(self._tally.counts, self._scans.to_do(len(self._shares)))

    def _observe_again(self, intake: Intake, dead: Observer) -> None:
        """Puts a new observer in the place of one whose threads ended, for whatever reason. In a
        thread of its own, because the share may be gone, or hang."""
        dead.stop(1.0)
        intake.overflowed()  # what has happened since was announced to nobody
        while not self._stop.wait(intake.share.poll_seconds):
            try:
                self._observe(intake)
            except OSError:
                self._observers.pop(intake, None)
            else:
                intake.overflowed()
                return

    def _nothing_left(self) -> bool:
        if self._held() or self._gates.closed_seconds() > STUCK_SECONDS:
            return True
        return not any(thread.is_alive() for thread in self._scanning) and not len(self._backlog)

    def _held(self) -> bool:
        """Whether a condition holds that no file will get past, so that `--once` need not wait."""
        return self._conditions.holds("login_needed") or any(
            self._conditions.holds("access_denied", share.organization) for share in self._shares
        )

    # Shutdown, in this order: first what brings work, then what does it.

    def _shutdown(self) -> int:
        """Ends everything within the deadline; how many workers were still busy then."""
        if self._stop.is_set():
            self._log.info("stopping", in_backlog=len(self._backlog))
        for intake in self._intakes:
            intake.stop()
        for observer in tuple(self._observers.values()):
            observer.stop(1.0)
        self._backlog.close()
        return self._pool.join(SHUTDOWN_SECONDS)

    def _exit_code(self) -> int:
        if not self._once:
            return OK
        if self._conditions.holds("login_needed"):
            return LOGIN_NEEDED
        well = self._tally.counts.all_well and self._scans.all_well and not len(self._backlog)
        return OK if well else SOME_FAILED

    def _summary(self) -> dict[str, int]:
        counts = self._tally.counts
        summary = {
            "uploaded": counts.uploaded,
            "already_known": counts.already_known,
            "rejected": counts.rejected,
            "failed": counts.failed,
            "bytes": counts.bytes,
        }
        if self._once:
            summary |= {
                "recorded_before": self._scans.recorded,
                "rejected_before": self._scans.rejected,
            }
        return summary


def _announced(root: str) -> bool:
    mount = mount_of(root)
    return mount is not None and mount.announced


def _thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """A daemon thread: a file server that hangs must not hold up the exit."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
