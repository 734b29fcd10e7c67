"""What `login` and `logout` say and ask: the device flow and the token's file, with a person."""

import io
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import click

from watcher.errors import AccessDenied, ConfigurationError, ServiceError, ServiceTrouble
from watcher.exchange import Connection
from watcher.exit_codes import AMISS, OK
from watcher.login import (
    Denied,
    DeviceLogin,
    Expired,
    Granted,
    Invitation,
    Organization,
    organizations,
    revoke,
)
from watcher.token_store import Stored, TokenStore
from watcher.tokens import seed_of


@dataclass(frozen=True, slots=True)
class Account:
    """Where one signs in, and where the token is kept.

    `organization` is the configured one, `given` the refresh token that the environment gives, ""
    if there is none.
    """

    connect: Callable[[], Connection]
    api_url: str
    auth_url: str
    client_id: str
    store: TokenStore
    organization: str = ""
    given: str = field(default="", repr=False)


# In


def sign_in(account: Account, *, organization: str) -> int:
    """Shows what to open, waits for the person, keeps the token. `organization` is the one asked
    for, "" for none. Returns the exit code; raises `ServiceError` and `ConfigurationError`."""
    with account.connect() as connection:
        login = DeviceLogin(connection, url=account.auth_url, client_id=account.client_id)
        invitation = login.begin()
        _show(invitation)
        match login.finish(invitation):
            case Denied():
                click.echo("The sign-in was declined. Nothing has changed.", err=True)
                return AMISS
            case Expired():
                click.echo("Nobody signed in before the code ended. Start again.", err=True)
                return AMISS
            case Granted(stored):
                return _keep(account, connection, stored, organization)


def _show(invitation: Invitation) -> None:
    click.echo(f"To sign in, open this page on any device:\n\n    {invitation.page_with_code}\n")
    picture = _qr_code(invitation.page_with_code)
    if picture:
        click.echo(picture)
    click.echo(f"or open {invitation.page} and enter the code\n\n    {invitation.user_code}\n")
    minutes = max(1, round(invitation.expires_in / 60))
    click.echo(f"Waiting; the code ends in {minutes} min, Ctrl-C gives up ...")
    sys.stdout.flush()


def _qr_code(page: str) -> str:
    """For a telephone, where a terminal can show it; else ""."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if not sys.stdout.isatty() or encoding != "utf8":
        return ""
    import segno  # noqa: PLC0415 - no other command need wait for it

    code = segno.make(page, error="l", micro=False)
    columns, lines = shutil.get_terminal_size()
    width, height = code.symbol_size(border=2)
    if width > columns or height / 2 > lines:
        return ""
    drawn = io.StringIO()
    code.terminal(out=drawn, border=2, compact=True)
    return drawn.getvalue()


def _keep(account: Account, connection: Connection, stored: Stored, asked: str) -> int:
    """The token is kept only together with the organization: the daemon begins to send as soon as
    it is there, and what was sent to the wrong one cannot be called back."""
    try:
        chosen = _chosen(account, connection, stored, asked)
        if chosen is None:
            _forget(account, connection, stored)
            return AMISS
        _store(account, replace(stored, organization=chosen))
    except BaseException:
        _forget(account, connection, stored)
        raise
    click.echo(f"Signed in. The token is in {account.store.path}; a running daemon takes it up.")
    if account.organization:
        click.echo(f"Images go to the configured organization, {account.organization}.")
    return OK


def _chosen(account: Account, connection: Connection, stored: Stored, asked: str) -> str | None:
    """The id of the organization to keep; None if it is not clear which, which has been said."""
    if account.organization and not asked:
        return ""
    found = organizations(connection, url=account.api_url, access_token=stored.access_token)
    if asked:
        if asked not in {one.id for one in found}:
            _list("The signed-in user does not belong to that organization, but to:", found)
            return None
        return asked
    if not found:
        raise AccessDenied("the signed-in user belongs to no organization")
    if len(found) == 1:
        click.echo(f"Images go to {found[0].name} ({found[0].id}).")
        return found[0].id
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        _list(
            "You belong to several organizations. Choose one and start again with "
            "--organization ID:",
            found,
        )
        return None
    return _answered(found)


def _answered(found: Sequence[Organization]) -> str:
    click.echo("Where do the images go?\n")
    for number, one in enumerate(found, 1):
        click.echo(f"  {number:3}  {one.name} ({one.id})")
    number = click.prompt("\nNumber", type=click.IntRange(1, len(found)))
    return found[number - 1].id


def _list(why: str, found: Sequence[Organization]) -> None:
    click.echo(why, err=True)
    for one in found:
        click.echo(f"  {one.id}  {one.name}", err=True)
    click.echo("Nothing has changed.", err=True)


def _store(account: Account, stored: Stored) -> None:
    """Remembers as well which token the administrator has given, so that the newer login is used
    in its place."""
    store = account.store
    with store.held():
        try:
            before = store.read()
        except ConfigurationError:
            before = None  # others may have read it, or it is damaged: this replaces it
        seed = seed_of(account.given) or (before.seed if before else "")
        try:
            store.write(replace(stored, seed=seed))
        except OSError as error:
            raise ConfigurationError(
                f"{store.path}: cannot be written: {error.strerror}. Name another place with "
                "--state-dir, the same as the daemon's."
            ) from error


def _forget(account: Account, connection: Connection, stored: Stored) -> None:
    """A login that is not kept is ended, if that can be done now."""
    with suppress(ServiceError):
        revoke(
            connection,
            url=account.auth_url,
            client_id=account.client_id,
            refresh_token=stored.refresh_token,
        )


# Out


def sign_out(account: Account, *, only_here: bool) -> int:
    """Ends the login at the service and removes the token; with `only_here`, just the latter.

    If the service cannot be asked the token stays: without it nobody could end the login any more.
    Returns the exit code; raises `ConfigurationError` and `ServiceTrouble`.
    """
    store = account.store
    with store.held():
        stored = None if only_here else store.read()
        if stored is None and store.version() is None:
            click.echo(f"Nobody is signed in: there is no {store.path}.")
            return OK
        if stored is not None and not _ended(account, stored):
            return AMISS
        try:
            store.remove()
        except OSError as error:
            raise ConfigurationError(
                f"{store.path}: cannot be removed: {error.strerror}"
            ) from error
    if only_here:
        click.echo("The token is removed here. The login itself may live on at the service.")
    else:
        click.echo("Signed out: the login is ended at the service and the token removed.")
    if account.given:
        click.echo("A refresh token is given by the environment; a daemon with it goes on.")
    return OK


def _ended(account: Account, stored: Stored) -> bool:
    try:
        with account.connect() as connection:
            revoke(
                connection,
                url=account.auth_url,
                client_id=account.client_id,
                refresh_token=stored.refresh_token,
            )
    except ServiceTrouble as error:
        click.echo(
            f"Not signed out: {error}.\nThe token is kept, so that you can try again. "
            "`logout --only-here` removes it, but then the login may live on at the service.",
            err=True,
        )
        return False
    return True
