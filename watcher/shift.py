"""The work under one configuration: its threads, from their start to their end.

Threads, and what each owns:

    main          starts and ends a shift; looks now and then whether all is well
    clock         moves candidates on when their time comes (`Backlog.keep_time`)
    intake of X   watches and scans one share each (`Intake.run`); one that hangs, hangs alone
    InotifyFD     watchdog's: turn one share's events into hints for its intake (`observer`)
    worker        take one candidate at a time on its journey; each owns one connection
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from structlog.typing import FilteringBoundLogger

from watcher.backlog import Backlog
from watcher.conditions import Condition, Conditions
from watcher.errors import ConfigurationError
from watcher.exit_codes import AMISS, LOGIN_NEEDED, OK
from watcher.gates import Gates
from watcher.hangs import Hangs
from watcher.intake import Intake
from watcher.logs import internal_error
from watcher.pool import Pool
from watcher.scans import ScanLog
from watcher.tally import Tally
from watcher.trouble import STUCK_SECONDS

ANEW_SECONDS = 10.0
"""How soon a share's thread that ended is begun anew: what ended it will mostly end it again."""

STILL_SECONDS = 180.0
"""Three times the longest silence that the service is allowed by default, after which any request
has ended."""

CATCH_UP_SECONDS = 2.0
"""What was announced before a new configuration has so long to be heard; only a share that hangs
needs it."""


@dataclass(eq=False)
class Shift:
    """Owned by the main thread. `once`: until all that is there is done, instead of for ever."""

    intakes: tuple[Intake, ...]
    backlog: Backlog
    gates: Gates
    conditions: Conditions
    tally: Tally
    scans: ScanLog
    pool: Pool
    hangs: Hangs
    log: FilteringBoundLogger
    once: bool
    monitor: AbstractContextManager[object]
    tell: Callable[[tuple[Condition, ...], float], None] = lambda _, __: None
    """Is told again and again what holds at which epoch time."""
    take_up: Callable[[], None] = lambda: None
    """Has what outlasts this shift go by its configuration."""
    login: Callable[[], tuple[str, *tuple[object, ...]]] = lambda: ("", None)
    """What there is to say for want of a login, or ""; and what differs with each new one."""
    settle: Callable[[], None] = lambda: None
    """Makes the calling thread, and those that it starts, share one processor."""
    still_seconds: float = STILL_SECONDS
    """After so long without any progress, work is stuck."""
    _login: tuple[str, *tuple[object, ...]] | None = None
    _hopeful: bool = False
    _threads: dict[Intake, threading.Thread] = field(default_factory=dict)
    _begun: dict[Intake, float] = field(default_factory=dict)
    _faulty: bool = False
    _open: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Starts all threads."""
        self.settle()
        self.pool.start()
        self._start_clock()
        for intake in self.intakes:
            self._begin(intake)
        self.take_up()
        try:
            self._open.enter_context(self.monitor)
        except (ConfigurationError, OSError) as error:  # no reason to keep images from going on
            self.log.error("failed", reason="monitor", found=str(error))  # noqa: TRY400 - no trace

    def _start_clock(self) -> None:
        self._clock = _thread("clock", partial(self._told, self.backlog.keep_time))

    def _begin(self, intake: Intake) -> None:
        work = intake.run_once if self.once else intake.run
        self._begun[intake] = time.monotonic()
        self._threads[intake] = _thread(f"intake of {intake.share.root}", partial(self._told, work))

    def _told(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it is logged, and the thread begun anew
            self._faulty = True
            internal_error(self.log, error)

    # While it lasts

    def look(self) -> None:
        """Lets through what may be sent, replaces threads that ended, notices shares that hang."""
        self.gates.let_through()
        self._look_after_login()
        self._look_whether_any_is_left()
        self.conditions.end_unmet()
        self.tell(self.conditions.active, time.time())
        if not self._clock.is_alive():
            self._start_clock()
        for intake, thread in tuple(self._threads.items()):
            if thread.is_alive() or self.once:
                self.hangs.look(intake, beats=thread.is_alive())
            elif time.monotonic() - self._begun[intake] >= ANEW_SECONDS:
                self._begin(intake)  # whatever ended it
        self.hangs.look_at_files()

    def _look_after_login(self) -> None:
        """That it is missing should be known before the first file waits, and that it is there by
        those that wait."""
        before, self._login = self._login, self.login()
        if lacking := self._login[0]:
            self.conditions.begin("login_needed", "", lacking)
            self._hopeful = False
        elif self._login != before:
            self.gates.hurry()
            self._hopeful = True
        if self._hopeful and not self.gates.any_closed():  # else those that wait find out
            self.conditions.end("login_needed")
            self._hopeful = False

    def _look_whether_any_is_left(self) -> None:
        """Where no file is left to ask with, nobody would find out that the service answers."""
        if self.gates.any_closed() and self.to_do is not None and not len(self.backlog):
            self.gates.open_all()
            self.conditions.end("service_unavailable")
            for organization in self._organizations:
                self.conditions.end("access_denied", organization)

    @property
    def _organizations(self) -> set[str]:
        return {intake.share.organization for intake in self.intakes}

    @property
    def roots(self) -> list[str]:
        """The paths of its shares."""
        return [intake.share.root for intake in self.intakes]

    @property
    def to_do(self) -> tuple[int, int] | None:
        """Files and bytes that the first scans found to do; None until all shares are scanned."""
        return self.scans.to_do(len(self.intakes))

    @property
    def watching(self) -> bool:
        """Whether each share is watched, or it is known why not."""
        return all(
            (intake.watch.seen and not intake.watch.unplanted) or self.hangs.hung(intake)
            for intake in self.intakes
        )

    @property
    def nothing_left(self) -> bool:
        """Whether all is done, or nothing more can be done now."""
        hopeless = {each for each in self._organizations if self._is_hopeless(each)}
        if hopeless == self._organizations:
            return not self.backlog.under_way()  # what is being sent may well get through
        scanning = any(
            thread.is_alive() and not self.hangs.hung(intake)
            for intake, thread in self._threads.items()
        )
        kept_back = sum(self.backlog.kept_back(each) for each in hopeless)
        return not scanning and len(self.backlog) <= self.hangs.held + kept_back

    def _is_hopeless(self, organization: str) -> bool:
        """Whether no file of it will get through, so that `--once` need not wait."""
        return (
            self.conditions.holds("login_needed")
            or self.conditions.holds("access_denied", organization)
            or self.gates.closed_seconds(organization) > STUCK_SECONDS
        )

    # Its end, in this order: first what brings work, then what does it.

    def drain(self) -> None:
        """No file is begun any more; events are still taken in."""
        self.backlog.pause()

    @property
    def drained(self) -> bool:
        """Whether all that was begun is done, but for what a share holds that does not answer."""
        return not self.backlog.under_way() and not self.pool.flights()

    def stop_taking(self) -> None:
        """Nothing new is begun from now on."""
        for intake in self.intakes:
            intake.stop()
        self.backlog.close()

    def join(self, seconds: float) -> int:
        """Waits for what is under way, `seconds` at most; how many workers are still busy then."""
        return self.pool.join(seconds)

    def hand_over(self, successor: Self) -> None:
        """The end for the sake of a new configuration, once `drained`."""
        self.stop_taking()
        ends = time.monotonic() + CATCH_UP_SECONDS
        for thread in self._threads.values():  # at its end each has told what was announced to it
            thread.join(max(0.0, ends - time.monotonic()))
        for share, path in self.backlog.observed():
            successor.was_seen_to_go(share.root, path)
        successor.take_over(self.conditions.close(), self.gates)
        self._open.close()

    def take_over(self, held: Iterable[Condition], gates: Gates) -> None:
        """What held under the configuration before holds on, if this one has to do with it."""
        self.gates.inherit(gates, self._organizations)
        self.conditions.inherit(held)
        for condition in self.conditions.active:
            if not self._has_to_do_with(condition):
                self.conditions.end(condition.name, condition.place)
        for intake in self.intakes:
            if self.conditions.holds("share_hung", intake.share.root):
                self.hangs.inherit(intake)

    def _has_to_do_with(self, condition: Condition) -> bool:
        shares, place = [intake.share for intake in self.intakes], condition.place
        match condition.name:
            case "service_unavailable":
                return self.gates.any_closed()
            case "login_needed":
                return True
            case "access_denied":
                return place in self._organizations
            case "sidecar_unwritable":
                folders = [share.mirror or share.root for share in shares]
                return any(f"{place}/".startswith(f"{folder}/") for folder in folders)
            case "share_gone" | "share_hung" | "watch_limit":
                return place in self.roots

    def was_seen_to_go(self, root: str, path: str) -> None:
        """The shift before saw a file go, and had not come to take its record away."""
        for intake in self.intakes:
            if intake.share.root == root:
                intake.vanished(path)

    def end(self) -> None:
        """Nobody is told anything any more."""
        self._open.close()

    @property
    def besides(self) -> dict[str, int]:
        """How many files had a record already, and how many are left, for the summary."""
        return {
            "recorded_before": self.scans.recorded,
            "rejected_before": self.scans.rejected,
            "in_backlog": len(self.backlog),
        }

    @property
    def exit_code(self) -> int:
        """What `run --once` exits with."""
        if self.conditions.holds("login_needed"):
            return LOGIN_NEEDED
        hung = any(self.hangs.hung(intake) for intake in self.intakes)
        well = self.tally.counts.all_well and self.scans.all_well and not len(self.backlog)
        return OK if well and not hung and not self._faulty else AMISS


def _thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """A daemon thread: a file server that hangs must not hold up the exit."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
