"""The daemon's life: startup, main loop, shutdown.

Threads, and what each owns:

    main          starts and stops everything; looks now and then whether all is well
    clock         moves candidates on when their time comes (`Backlog.keep_time`)
    intake of X   watches and scans one share each (`Intake.run`); one that hangs, hangs alone
    InotifyFD     watchdog's: turn one share's events into hints for its intake (`observer`)
    worker        take one candidate at a time on its journey; each owns one connection
"""

import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType

from structlog.typing import FilteringBoundLogger

from watcher import __version__
from watcher.backlog import Backlog
from watcher.conditions import Conditions
from watcher.gates import Gates
from watcher.hangs import Hangs
from watcher.intake import Intake
from watcher.pool import Pool
from watcher.progress import Display
from watcher.scans import ScanLog
from watcher.tally import Tally
from watcher.trouble import STUCK_SECONDS

SHUTDOWN_SECONDS = 25.0
"""What is in flight at SIGTERM has so long; the rest is found again at the next start."""

TICK_SECONDS = 0.5
"""How often the daemon looks; it costs 0.05 % of a core."""

TICK_SECONDS_ONCE = 0.1
"""The same while somebody may be watching a progress bar."""

OK, SOME_FAILED, LOGIN_NEEDED = 0, 1, 77


class Daemon:
    """One run of the program. Owned by the main thread; `stop` may be called from anywhere."""

    def __init__(
        self,
        *,
        intakes: tuple[Intake, ...],
        backlog: Backlog,
        gates: Gates,
        conditions: Conditions,
        tally: Tally,
        scans: ScanLog,
        pool: Pool,
        hangs: Hangs,
        log: FilteringBoundLogger,
        display: Display,
        once: bool,
    ) -> None:
        self._intakes = intakes
        self._backlog = backlog
        self._gates = gates
        self._conditions = conditions
        self._tally = tally
        self._scans = scans
        self._pool = pool
        self._hangs = hangs
        self._log = log
        self._display = display
        self._once = once
        self._stop = threading.Event()
        self._threads: dict[Intake, threading.Thread] = {}

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
            "started",
            version=__version__,
            shares=[intake.share.root for intake in self._intakes],
        )
        self._pool.start()
        self._start_clock()
        for intake in self._intakes:
            self._begin(intake)

    def _install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        # The kernel tells a lease's holder of a writer that waits (see `settling.writers`); the
        # default action would end the process.
        signal.signal(signal.SIGIO, signal.SIG_IGN)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once

    def _start_clock(self) -> None:
        self._clock = _thread("clock", partial(self._told, self._backlog.keep_time))

    def _begin(self, intake: Intake) -> None:
        work = intake.run_once if self._once else intake.run
        self._threads[intake] = _thread(f"intake of {intake.share.root}", partial(self._told, work))

    def _told(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it is logged, and the thread is replaced
            self._log.error(
                "failed", reason="internal_error", found=f"{type(error).__name__}: {error}"
            )
            self._log.debug("internal_error", exc_info=error)

    # Main loop

    def _main_loop(self) -> None:
        while not self._stop.wait(TICK_SECONDS_ONCE if self._once else TICK_SECONDS):
            self._gates.let_through()
            self._show()
            if self._once and self._nothing_left():
                self._show()  # the last file may have ended since
                return
            if not self._clock.is_alive():
                self._start_clock()
            for intake, thread in tuple(self._threads.items()):
                if thread.is_alive():
                    self._hangs.look(intake)
                elif not self._once:  # whatever ended it
                    self._begin(intake)

    def _show(self) -> None:
        self._display.show(self._tally.counts, self._scans.to_do(len(self._intakes)))

    def _nothing_left(self) -> bool:
        if self._held() or self._gates.closed_seconds() > STUCK_SECONDS:
            return True
        scanning = any(
            thread.is_alive() and not self._hangs.hung(intake)
            for intake, thread in self._threads.items()
        )
        return not scanning and not len(self._backlog)

    def _held(self) -> bool:
        """Whether a condition holds that no file will get past, so that `--once` need not wait."""
        return self._conditions.holds("login_needed") or any(
            self._conditions.holds("access_denied", intake.share.organization)
            for intake in self._intakes
        )

    # Shutdown, in this order: first what brings work, then what does it.

    def _shutdown(self) -> int:
        """Ends everything within the deadline; how many workers were still busy then."""
        if self._stop.is_set():
            self._log.info("stopping", in_backlog=len(self._backlog))
        for intake in self._intakes:
            intake.stop()
        self._backlog.close()
        return self._pool.join(SHUTDOWN_SECONDS)

    def _exit_code(self) -> int:
        if not self._once:
            return OK
        if self._conditions.holds("login_needed"):
            return LOGIN_NEEDED
        hung = any(self._hangs.hung(intake) for intake in self._intakes)
        well = self._tally.counts.all_well and self._scans.all_well and not len(self._backlog)
        return OK if well and not hung else SOME_FAILED

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


def _thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """A daemon thread: a file server that hangs must not hold up the exit."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
