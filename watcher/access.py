"""What the settings say about shares, connections and tokens, for all commands alike."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from watcher.errors import ConfigurationError
from watcher.exchange import Connection, Terms
from watcher.ignores import Ignores
from watcher.pace import NoPace, Pace
from watcher.places import Places
from watcher.settings import Settings
from watcher.settling import Moment, Settling
from watcher.share import Share
from watcher.switchboard import Switchboard
from watcher.token_store import TokenStore
from watcher.tokens import GivenToken, RefreshedTokens

if TYPE_CHECKING:
    from watcher.sign_in import Account

MIN_BYTES_PER_SECOND = 16_000.0
"""The deadline of an exchange allows for this (128 kbit/s); what is slower does not arrive."""


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
            uploads=Places(of_one_share(settings, settings.upload.parallel)),
        )
        for share in settings.share
    )


def of_one_share(settings: Settings, count: int) -> int:
    """How many of `count` the files of one share may have: where there are others, not all."""
    return count if len(settings.share) == 1 else max(1, count * 3 // 4)


def tokens_of(
    settings: Settings,
    *,
    state_dir: str,
    environ: Mapping[str, str],
    connect: Callable[[], Connection],
) -> GivenToken | RefreshedTokens:
    """Where tokens come from: an access token that is given goes before all else."""
    access = given("access_token", environ)
    if access:
        return GivenToken(access)
    return RefreshedTokens(
        connect(),
        url=settings.auth.url,
        client_id=settings.auth.client_id,
        store=TokenStore(state_dir),
        given=given("refresh_token", environ),
        wall=time.time,
    )


def account_of(settings: Settings, *, state_dir: str, environ: Mapping[str, str]) -> "Account":
    """What `login` and `logout` need. Raises `ConfigurationError`."""
    from watcher.sign_in import Account  # noqa: PLC0415 - the daemon signs nobody in

    every = {share.organization for share in settings.share}
    return Account(
        connect=connections(settings, environ),
        api_url=settings.api.url,
        auth_url=settings.auth.url,
        client_id=settings.auth.client_id,
        store=TokenStore(state_dir),
        organization=settings.api.organization or ("" if "" in every else ", ".join(sorted(every))),
        given=given("refresh_token", environ),
    )


def given(name: str, environ: Mapping[str, str]) -> str:
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


def connections(
    settings: Settings, environ: Mapping[str, str], board: Switchboard | None = None
) -> Callable[[], Connection]:
    """Makes connections, all with the same trust; with a `board`, lines to it. Raises
    `ConfigurationError`."""
    terms = terms_of(settings)

    @cache
    def direct() -> Callable[[], Connection]:
        from watcher import connection  # noqa: PLC0415 - who has lines need not load httpx

        return connection.connections(terms, environ)

    if board is None:
        return direct()
    if terms.ca_file or terms.proxy:
        direct()  # whether they can be used is to be known at once

    def otherwise() -> Connection:
        return direct()()

    return board.lines(terms, otherwise)


def terms_of(settings: Settings) -> Terms:
    """What connections have to know."""
    slowest = MIN_BYTES_PER_SECOND
    if settings.upload.max_mbit_per_second:
        # Under a cap, an upload takes as long as its share of the line makes it.
        share = _cap(settings) / min(settings.upload.parallel, settings.workers.count)
        slowest = min(slowest, share / 2)
    return Terms(
        timeout_seconds=settings.api.timeout_seconds,
        slowest=slowest,
        ca_file=settings.api.ca_file,
        proxy=settings.api.proxy,
    )


def settling_of(settings: Settings, *, rehearsal: bool = False) -> Settling:
    """When a file counts as at rest. A rehearsal does not wait for an end that is missing: it says
    what would become of the file if none came."""
    patience = 0.0 if rehearsal else settings.readiness.incomplete_after_seconds
    return Settling(
        settle_seconds=settings.readiness.settle_seconds, incomplete_after_seconds=patience
    )


def pace_of(settings: Settings) -> Pace | NoPace:
    """The bandwidth cap, one for all uploads together."""
    limit = _cap(settings)
    return Pace(limit, clock=time.monotonic, wait=threading.Event().wait) if limit else NoPace()


def moment() -> Moment:
    """Now, on both clocks."""
    return Moment(time.monotonic(), time.time_ns())


def _cap(settings: Settings) -> float:
    """Bytes a second that all uploads together may take; 0 for no cap."""
    return settings.upload.max_mbit_per_second * 1e6 / 8
