"""The one place that puts the parts together: from settings to a daemon that can run."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from structlog.typing import FilteringBoundLogger

from watcher import __version__
from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.claims import Claims
from watcher.conditions import Conditions
from watcher.connection import MIN_BYTES_PER_SECOND, Connection, WireTransport, trust
from watcher.daemon import Daemon
from watcher.disposition import Disposition
from watcher.errors import ConfigurationError
from watcher.gates import Gates
from watcher.hangs import Hangs
from watcher.ignores import Ignores
from watcher.intake import Intake
from watcher.journey import Journey
from watcher.pace import NoPace, Pace
from watcher.places import Places
from watcher.pool import Pool, Way
from watcher.progress import Bar, Census, Display, Lines, Nothing
from watcher.proxies import proxies
from watcher.scans import ScanLog
from watcher.service import Service, Tokens
from watcher.settings import Settings
from watcher.settling import Moment, Settling
from watcher.share import Share
from watcher.sign_in import Account
from watcher.tally import Tally
from watcher.token_store import TokenStore
from watcher.tokens import GivenToken, RefreshedTokens
from watcher.trouble import Trouble

USER_AGENT = f"autoretouch-watcher/{__version__}"


def build(
    settings: Settings,
    *,
    state_dir: str,
    environ: Mapping[str, str],
    log: FilteringBoundLogger,
    once: bool,
    rehearsal: bool,
) -> Daemon:
    """A daemon for these settings. Opens no connection and touches no share yet.

    Raises `ConfigurationError`.
    """
    shares = shares_of(settings)
    new_connection = _connections(settings, environ)
    tokens = tokens_of(settings, state_dir=state_dir, environ=environ, connect=new_connection)
    settling = Settling(
        settle_seconds=settings.readiness.settle_seconds,
        incomplete_after_seconds=settings.readiness.incomplete_after_seconds,
    )
    backlog = Backlog(clock=time.monotonic)
    gates = Gates(backlog)
    conditions, tally = Conditions(log), Tally()
    scans = ScanLog(log, conditions)
    claims, places = Claims(time.monotonic), Places(settings.upload.parallel)

    pool = Pool(
        settings.workers.count,
        backlog=backlog,
        ways=_ways(
            settings,
            settling=settling,
            tokens=tokens,
            connect=new_connection,
            gates=gates,
            claims=claims,
            places=places,
            rehearsal=rehearsal,
        ),
        verdicts=Disposition(
            backlog=backlog,
            gates=gates,
            log=log,
            conditions=conditions,
            tally=tally,
            trouble=Trouble(
                backlog=backlog,
                gates=gates,
                log=log,
                conditions=conditions,
                patient=not once,
            ),
        ),
    )

    def give_up(thread: int, candidate: Candidate) -> None:
        claims.abandon(thread)
        places.abandon(thread)
        gates.abandon(candidate)

    return Daemon(
        intakes=tuple(
            Intake(
                share,
                backlog=backlog,
                report=scans.report,
                settle_seconds=settling.settle_seconds,
                clock=time.monotonic,
            )
            for share in shares
        ),
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
            abandon=give_up,
        ),
        log=log,
        display=_display(shares) if once else Nothing(),
        once=once,
    )


def shares_of(settings: Settings) -> tuple[Share, ...]:
    """The shares as configured; raises `ConfigurationError` if there is none."""
    if not settings.share:
        raise ConfigurationError(
            "no share is configured. Name one in the configuration file:\n\n"
            '    [[share]]\n    path = "/srv/photos"'
        )
    return tuple(
        Share(
            root=share.path,
            organization=share.organization or settings.api.organization,
            mirror=None if share.sidecars == "beside" else share.sidecars,
            watch=share.watch,
            poll_seconds=share.poll_seconds,
            rescan_seconds=share.rescan_seconds,
            require_mount=share.require_mount,
            ignores=Ignores(share.ignore),
        )
        for share in settings.share
    )


def tokens_of(
    settings: Settings,
    *,
    state_dir: str,
    environ: Mapping[str, str],
    connect: Callable[[], Connection],
) -> Tokens:
    """Where tokens come from: an access token that is given goes before all else."""
    access = _given("access_token", environ)
    if access:
        return GivenToken(access)
    return RefreshedTokens(
        connect(),
        url=settings.auth.url,
        client_id=settings.auth.client_id,
        store=TokenStore(state_dir),
        given=_given("refresh_token", environ),
        wall=time.time,
    )


def account_of(settings: Settings, *, state_dir: str, environ: Mapping[str, str]) -> Account:
    """What `login` and `logout` need. Raises `ConfigurationError`."""
    every = {share.organization for share in settings.share}
    return Account(
        connect=_connections(settings, environ),
        api_url=settings.api.url,
        auth_url=settings.auth.url,
        client_id=settings.auth.client_id,
        store=TokenStore(state_dir),
        organization=settings.api.organization or ("" if "" in every else ", ".join(sorted(every))),
        given=_given("refresh_token", environ),
    )


def _given(name: str, environ: Mapping[str, str]) -> str:
    """A token from a systemd credential (`LoadCredential=`), else from the environment."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(folder, name) if folder else ""
    variable = f"AUTORETOUCH_{name.upper()}"
    if path and os.path.exists(path):
        try:
            with open(path, encoding="ascii") as file:
                token = file.read(64 << 10)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the credential {name} cannot be read: {path}") from error
        variable = f"the credential {name}"
    else:
        token = environ.get(variable, "")
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{variable} is not a token: it holds blanks or odd characters")
    return token


def _connections(settings: Settings, environ: Mapping[str, str]) -> Callable[[], Connection]:
    """Makes connections, all with the same trust. Raises `ConfigurationError`."""
    believed = trust(settings.api.ca_file)
    proxy_for = proxies(settings.api.proxy, environ)
    slowest = MIN_BYTES_PER_SECOND
    if settings.upload.max_mbit_per_second:
        # Under a cap, an upload takes as long as its share of the line makes it.
        share = _cap(settings) / min(settings.upload.parallel, settings.workers.count)
        slowest = min(slowest, share / 2)

    def connect() -> Connection:
        silence = settings.api.timeout_seconds
        return Connection(
            WireTransport(ssl_context=believed, silence=silence, proxy_for=proxy_for),
            timeout_seconds=silence,
            user_agent=USER_AGENT,
            slowest=slowest,
        )

    return connect


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
    cap = _cap(settings)
    pace = Pace(cap, clock=time.monotonic, wait=threading.Event().wait) if cap else NoPace()

    @contextmanager
    def way() -> Iterator[Way]:
        with connect() as connection:
            journey = Journey(
                service=Service(connection, url=settings.api.url, tokens=tokens),
                settling=settling,
                claims=claims,
                uploads=places,
                pace=pace,
                admits=gates.admits,
                now=lambda: Moment(time.monotonic(), time.time_ns()),
            )
            yield journey.rehearse if rehearsal else journey.take

    return way


def _cap(settings: Settings) -> float:
    """Bytes a second that all uploads together may take; 0 for no cap."""
    return settings.upload.max_mbit_per_second * 1e6 / 8


def _display(shares: tuple[Share, ...]) -> Display:
    census = Census(shares)
    return Bar(census) if sys.stderr.isatty() else Lines(census)
