"""Access tokens: one that was given, or ones got for a refresh token, once for all workers.

Source: the vendor's documentation (api/authentication), RFC 6749 section 6. The auth server may
give a new refresh token with each access token; the old one is then dead, so the new one is on the
disk before anything else happens.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlencode

from watcher.errors import ConfigurationError, LoginNeeded, ServiceError, ServiceTrouble
from watcher.exchange import Answer, Connection
from watcher.service import Access, message_in, object_in
from watcher.token_store import Stored, TokenStore, Version, fits_a_header

EARLY_SECONDS = 300
"""An access token is renewed so long before it ends; a short one, halfway."""

LONGEST_SECONDS = 366 * 86400

ASSUMED_SECONDS = 3600
"""Lifetime of an access token whose answer does not say it (documented: 24 hours)."""

REFUSED_SECONDS = 60
"""A refresh token that the auth server called invalid is not shown to it again for so long."""

SIGN_IN = (
    "no token: sign in with `autoretouch-watcher login`, or set AUTORETOUCH_REFRESH_TOKEN or "
    "AUTORETOUCH_ACCESS_TOKEN"
)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Login(NamedTuple):
    """What is `lacking` for want of a login, in words, or ""; the `version` of what is stored,
    which changes with each login and each new token; the `organization` that was chosen with it."""

    lacking: str
    version: Version | None
    organization: str = ""


class GivenToken:
    """An access token from the administrator, used as it is. Any thread may ask."""

    def __init__(self, token: str) -> None:
        self._access = Access(token)

    def current(self) -> Access:
        """The token."""
        return self._access

    def renewed(self, refused: str) -> Access:  # noqa: ARG002 - the protocol's signature
        """There is no other: raises `LoginNeeded`."""
        raise LoginNeeded("the access token that was given is refused; give a new one")

    @property
    def login(self) -> Login:
        """There is one, and it stays the same."""
        return Login("", None)

    organization = ""
    """None was chosen with it."""


class RefreshedTokens:
    """Access tokens for a refresh token, renewed before their end and when one is refused.

    Any worker may ask; the lock guards the connection to the auth server and all that changes but
    `login`, so that all workers together ask once. What another process stores (`login`, `logout`)
    is noticed with the next question.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        url: str,
        client_id: str,
        store: TokenStore,
        given: str | None,
        wall: Callable[[], float],
    ) -> None:
        """`given` is a refresh token from the administrator. Raises `ConfigurationError`."""
        self._connection = connection
        self._token_url = url.rstrip("/") + "/oauth/token"
        self._client_id = client_id
        self._store = store
        self._seed = seed_of(given)
        self._given = Stored(refresh_token=given, seed=self._seed) if given else None
        self._wall = wall
        self._lock = threading.Lock()
        self._failures = 0
        self._failure: ServiceError | None = None
        self._refused: tuple[str, float] | None = None
        self._unwritten = False
        self._login = Login("", None)
        self._version: Version | None = store.version()
        self._stored = store.read()
        self._seeding = bool(given) and (self._stored is None or self._stored.seed != self._seed)
        if self._seeding:
            self._stored = self._given

    def current(self) -> Access:
        """A token that has not ended."""
        return self._asked(refused="")

    def renewed(self, refused: str) -> Access:
        """A token other than `refused`; another worker may have got it already."""
        return self._asked(refused=refused)

    @property
    def login(self) -> Login:
        """Whether anybody has signed in, as of now; asks nobody."""
        version, login = self._store.version(), self._login
        if version != login.version or version is None:
            login = self._login = self._known(version)
        return login

    @property
    def organization(self) -> str:
        """The one that was chosen at the login, as of now; asks nobody."""
        return self.login.organization

    def _known(self, version: Version | None) -> Login:
        if version is None:
            return Login("" if self._given else SIGN_IN, version)
        try:
            stored = self._store.read()
        except ConfigurationError as error:
            return Login("" if self._given else str(error), version)
        return Login("", version, stored.organization if stored else "")

    def _asked(self, *, refused: str) -> Access:
        failures = self._failures
        with self._lock:
            if self._failure is not None and self._failures != failures:
                raise _again(self._failure)  # it failed while this worker stood in line
            try:
                stored = self._as_it_is(refused) or self._from_store_or_server(refused)
            except ServiceError as error:
                self._failures += 1
                self._failure = error
                raise
            self._failure = None
            return Access(stored.access_token, stored.organization)

    # Under the lock.

    def _as_it_is(self, refused: str) -> Stored | None:
        """What is in memory, None if something is to be done first."""
        news = self._unwritten or self._store.version() != self._version
        return None if news else self._usable(refused)

    def _usable(self, refused: str) -> Stored | None:
        """What is in memory, if its access token is of use."""
        stored = self._stored
        if stored is None or stored.access_token in {"", refused}:
            return None
        return stored if self._wall() < stored.expires_at else None

    def _from_store_or_server(self, refused: str) -> Stored:
        with self._store.held():
            self._look()
            if self._stored is None:
                raise LoginNeeded(SIGN_IN)
            if self._unwritten:
                self._keep(self._stored)
            if self._seeding:
                self._seeding = False
                with suppress(ServiceTrouble):  # told when something would be lost by it
                    self._keep(self._stored)
            return self._usable(refused) or self._refresh(self._stored)

    def _look(self) -> None:
        """Takes over what another process has stored or removed: it is newer than what we have, and
        than what was given at the start."""
        version = self._store.version()
        if version == self._version:
            return
        try:
            found = self._store.read()
        except ConfigurationError as error:
            raise LoginNeeded(str(error)) from error
        self._stored = replace(found, seed=self._seed or found.seed) if found else self._given
        self._seeding = self._stored != found
        self._version = version
        self._unwritten = False
        self._refused = None

    def _refresh(self, stored: Stored) -> Stored:
        now = self._wall()
        if self._refused and self._refused[0] == stored.refresh_token:
            if 0 <= now - self._refused[1] < REFUSED_SECONDS:
                raise _ended()
            self._refused = None
        if self._version is not None:
            with self._kept():  # a successor that finds no room would be lost with this process
                self._store.try_to_write(stored)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": stored.refresh_token,
            "client_id": self._client_id,
        }
        answer = self._connection.exchange(
            "POST", self._token_url, headers=FORM, body=urlencode(form).encode("ascii")
        )
        if answer.status != 200 and object_in(answer).get("error") == "invalid_grant":
            self._refused = stored.refresh_token, now
            raise _ended()
        following = granted(answer, now=now, before=stored)
        self._stored = following
        self._unwritten = following.refresh_token != stored.refresh_token
        with nullcontext() if self._unwritten else suppress(ServiceTrouble):
            self._keep(following)
        return following

    def _keep(self, stored: Stored) -> None:
        """Nothing is done with a token whose loss would end the login before it is on the disk."""
        with self._kept():
            self._store.write(stored)
        self._version = self._store.version()
        self._unwritten = False

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ServiceTrouble(
                f"{self._store.path}: the token cannot be stored: {error.strerror}"
            ) from error


def seed_of(given: str | None) -> str:
    """How a refresh token that was given is remembered; "" for none."""
    return hashlib.sha256(given.encode()).hexdigest() if given else ""


def granted(answer: Answer, *, now: float, before: Stored) -> Stored:
    """What is to be stored after an answer of the auth server with tokens (RFC 6749, 5.1).

    Where it gives no new refresh token, the one `before` stays. Raises `ServiceTrouble`.
    """
    said = object_in(answer)
    token = said.get("access_token")
    if answer.status != 200 or not isinstance(token, str) or not token or not fits_a_header(token):
        raise ServiceTrouble(f"the auth server answered {answer.status}: {message_in(answer)}")
    told = said.get("expires_in")
    lasts = float(ASSUMED_SECONDS)
    if isinstance(told, int | float) and told > 0:
        lasts = float(min(told, LONGEST_SECONDS))
    following = said.get("refresh_token")
    usable = isinstance(following, str) and following.isascii() and following
    return replace(
        before,
        refresh_token=usable or before.refresh_token,
        access_token=token,
        expires_at=now + lasts - min(EARLY_SECONDS, lasts / 2),
    )


def _ended() -> LoginNeeded:
    return LoginNeeded("the refresh token has ended or was revoked; sign in again")


def _again(failure: ServiceError) -> ServiceError:
    """The same failure for another thread: an exception belongs to the one that raised it."""
    if isinstance(failure, ServiceTrouble):
        return type(failure)(str(failure), retry_after=failure.retry_after)
    return type(failure)(str(failure))
