"""The one place that puts the parts together: from settings to a daemon that can run."""

import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import Thread
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from watcher import logs
from watcher.access import (
    connections,
    moment,
    of_one_share,
    pace_of,
    settling_of,
    shares_of,
    tokens_of,
)
from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.claims import Claims
from watcher.conditions import Conditions
from watcher.daemon import Daemon
from watcher.disposition import Disposition
from watcher.exchange import Connection
from watcher.gates import Gates
from watcher.hangs import Hangs
from watcher.intake import Intake
from watcher.journey import Journey
from watcher.notify import Notifier
from watcher.overview import Overview
from watcher.places import Places
from watcher.pool import Pool, Way
from watcher.processor import settle
from watcher.progress import Census, Display, Lines, Nothing
from watcher.published import Published
from watcher.rehearsal import Rehearsal
from watcher.scans import ScanLog
from watcher.service import Service, Tokens
from watcher.settings import Settings
from watcher.settling import Settling
from watcher.share import Share
from watcher.shift import STILL_SECONDS, Shift
from watcher.switchboard import Switchboard
from watcher.systemd import Systemd
from watcher.tally import Tally
from watcher.trouble import Trouble


def build(
    read: Callable[[], Settings],
    *,
    state_dir: str,
    environ: Mapping[str, str],
    once: bool,
    rehearsal: bool,
    board: Switchboard | None = None,
) -> Daemon:
    """A daemon for the settings that `read` gives, now and whenever they are to be taken up anew.

    With a `board` it has its connections there. Opens none and touches no share yet. Raises
    `ConfigurationError`.
    """
    settings = read()
    log = _log(settings)
    notifier = Notifier(environ=environ, host=socket.gethostname(), log=log)
    lasting = _Lasting(Tally(), Overview(), notifier)

    make = partial(
        _shift,
        lasting=lasting,
        state_dir=state_dir,
        environ=environ,
        board=board,
        log=log,
        once=once,
        rehearsal=rehearsal,
    )

    def renewed() -> Shift:
        settings = read()
        made = make(settings)
        _log(settings)
        return made

    return Daemon(
        make(settings),
        renewed=renewed,
        overview=lasting.overview,
        systemd=Systemd(environ),
        published=None if rehearsal else Published(state_dir),
        notifier=notifier,
        log=log,
        display=_display(shares_of(settings)) if once else Nothing(),
        end_beside=board.end if board else lambda: "",
    )


class _Lasting(NamedTuple):
    """What outlasts a shift."""

    tally: Tally
    overview: Overview
    notifier: Notifier


def _log(settings: Settings) -> FilteringBoundLogger:
    return logs.configure(level=settings.log.level, form=settings.log.format)


def _shift(
    settings: Settings,
    *,
    lasting: _Lasting,
    state_dir: str,
    environ: Mapping[str, str],
    board: Switchboard | None,
    log: FilteringBoundLogger,
    once: bool,
    rehearsal: bool,
) -> Shift:
    connect = connections(settings, environ, board)
    settling = settling_of(settings, rehearsal=rehearsal)
    backlog = Backlog(clock=time.monotonic, at_once=of_one_share(settings, settings.workers.count))
    gates, places = Gates(backlog), Places(settings.upload.parallel)
    conditions, tally, claims = Conditions(log), lasting.tally, Claims(time.monotonic)
    scans = ScanLog(log, conditions)
    # Until then any request has ended, however silent the service was.
    still_seconds = max(STILL_SECONDS, 3 * settings.api.timeout_seconds)
    tokens = tokens_of(settings, state_dir=state_dir, environ=environ, connect=connect)
    pool = Pool(
        settings.workers.count,
        backlog=backlog,
        ways=_ways(
            settings,
            settling=settling,
            tokens=tokens,
            connect=connect,
            gates=gates,
            claims=claims,
            places=places,
            rehearsal=rehearsal,
        ),
        verdicts=_verdicts(
            backlog,
            gates,
            log,
            conditions,
            tally,
            patient=not once,
            signed_in=lambda: not tokens.login.lacking,
        ),
    )

    def give_up(thread: Thread, candidate: Candidate) -> None:
        claims.abandon(thread)
        places.abandon(thread)
        gates.abandon(candidate)

    return Shift(
        intakes=_intakes(settings, settling, backlog, scans),
        backlog=backlog,
        gates=gates,
        conditions=conditions,
        tally=tally,
        scans=scans,
        pool=pool,
        hangs=Hangs(
            backlog=backlog,
            pool=pool,
            conditions=conditions,
            clock=time.monotonic,
            log=log,
            abandon=give_up,
            file_seconds=still_seconds * 2 / 3,  # sooner than all of it would count as stuck
        ),
        log=log,
        once=once,
        tell=lasting.notifier.look,
        take_up=_ways_to_tell(lasting.notifier, settings, connect, muted=once),
        # `run --once` may find that nothing is to be sent.
        login=(lambda: ("", None)) if once else (lambda: tokens.login),
        settle=settle,
        monitor=nullcontext() if once else _monitor(settings, lasting.overview),
        still_seconds=still_seconds,
    )


def _intakes(
    settings: Settings, settling: Settling, backlog: Backlog, scans: ScanLog
) -> tuple[Intake, ...]:
    return tuple(
        Intake(
            share,
            backlog=backlog,
            report=scans.report,
            settle_seconds=settling.settle_seconds,
            clock=time.monotonic,
        )
        for share in shares_of(settings)
    )


def _ways_to_tell(
    notifier: Notifier, settings: Settings, connect: Callable[[], Connection], *, muted: bool
) -> Callable[[], None]:
    return partial(
        notifier.take_up,
        command=() if muted else settings.notify.command,
        webhook="" if muted else settings.notify.webhook,
        after_seconds=settings.notify.after_seconds,
        connect=connect,
    )


def _verdicts(
    backlog: Backlog,
    gates: Gates,
    log: FilteringBoundLogger,
    conditions: Conditions,
    tally: Tally,
    *,
    patient: bool,
    signed_in: Callable[[], bool],
) -> Disposition:
    trouble = Trouble(
        backlog=backlog,
        gates=gates,
        log=log,
        conditions=conditions,
        tally=tally,
        patient=patient,
        signed_in=signed_in,
    )
    return Disposition(
        backlog=backlog,
        gates=gates,
        log=log,
        conditions=conditions,
        tally=tally,
        trouble=trouble,
    )


def _monitor(settings: Settings, overview: Overview) -> AbstractContextManager[object]:
    if not settings.monitor.listen:
        return nullcontext()
    from watcher.monitor import Monitor  # noqa: PLC0415 - with all that it loads, for who wants it

    return Monitor(settings.monitor.listen, snapshot=lambda: overview.latest)


def _ways(
    settings: Settings,
    *,
    settling: Settling,
    tokens: Tokens,
    connect: Callable[[], Connection],
    gates: Gates,
    claims: Claims,
    places: Places,
    rehearsal: bool,
) -> Callable[[], AbstractContextManager[Way]]:
    """What makes one worker's way: its connection is opened and closed in the worker's thread."""
    pace = pace_of(settings)

    @contextmanager
    def way() -> Iterator[Way]:
        with connect() as connection:
            journey = (Rehearsal if rehearsal else Journey)(
                service=Service(connection, url=settings.api.url, tokens=tokens),
                settling=settling,
                claims=claims,
                uploads=places,
                pace=pace,
                admits=gates.admits,
                now=moment,
            )
            yield journey.take

    return way


def _display(shares: tuple[Share, ...]) -> Display:
    census = Census(shares)
    if not sys.stderr.isatty():
        return Lines(census)
    from watcher.bar import Bar  # noqa: PLC0415 - the daemon draws nothing

    return Bar(census)
