"""Access tokens: one that was given, or ones got for a refresh token, once for all workers.

Source: the vendor's documentation (api/authentication), RFC 6749 section 6. The auth server may
give a new refresh token with each access token; the old one is then dead, so the new one is on the
disk before anything else happens.
"""

import hashlib
import json
import os
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from watcher.connection import Answer, Connection
from watcher.errors import ConfigurationError, LoginNeeded, ServiceTrouble
from watcher.service import message_in

EARLY_SECONDS = 300
"""An access token is renewed so long before it ends; a short one, halfway."""

ASSUMED_SECONDS = 3600
"""Lifetime of an access token whose answer does not say it (documented: 24 hours)."""


class GivenToken:
    """An access token from the administrator, used as it is. Any thread may ask."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        """The token."""
        return self._token

    def renewed(self, refused: str) -> str:  # noqa: ARG002 - the protocol's signature
        """There is no other: raises `LoginNeeded`."""
        raise LoginNeeded("the access token that was given is refused; give a new one")


class NoToken:
    """Nothing was given: every question raises `LoginNeeded`."""

    def current(self) -> str:
        """Raises `LoginNeeded`."""
        raise LoginNeeded("no token: set AUTORETOUCH_REFRESH_TOKEN or AUTORETOUCH_ACCESS_TOKEN")

    def renewed(self, refused: str) -> str:  # noqa: ARG002 - the protocol's signature
        """Raises `LoginNeeded`."""
        return self.current()


@dataclass(frozen=True, slots=True)
class Stored:
    """What the state directory keeps. `seed` is the SHA-256 of the refresh token that was given
    at first: while the same one is given, the stored one, which may be its successor, is used.
    `expires_at` (epoch seconds) is a little before the access token ends."""

    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    seed: str = ""


class TokenStore:
    """The file `token.json` in the state directory, mode 0600. Its user holds the lock."""

    def __init__(self, state_dir: str) -> None:
        self._folder = state_dir
        self.path = os.path.join(state_dir, "token.json")

    def read(self) -> Stored | None:
        """What is stored, None if nothing is; raises `ConfigurationError` if others can read it or
        it cannot be understood."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{self.path}: cannot be read: {error.strerror}") from error
        with open(fd, "rb") as file:
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            if mode & 0o077:
                raise ConfigurationError(
                    f"{self.path}: others can read it (mode {mode:04o}), so it is not used. Make "
                    "sure that nobody has, then: chmod 600"
                )
            text = file.read(64 << 10)
        stored = _understood(text)
        if stored is None:
            raise ConfigurationError(
                f"{self.path}: cannot be understood. Delete it and sign in again."
            )
        return stored

    def write(self, stored: Stored) -> None:
        """Replaces what is stored, whole and on the disk when it returns. Raises `OSError`."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        temporary = f"{self.path}.{secrets.token_hex(8)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                values = {name: getattr(stored, name) for name in Stored.__slots__}
                file.write(json.dumps(values).encode())
                file.flush()
                os.fsync(fd)
            os.rename(temporary, self.path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _understood(text: bytes) -> Stored | None:
    """What the store's file says. (No exception leaves: it would show the file's content.)"""
    try:
        stored = Stored(**json.loads(text))
        plain = stored.refresh_token.isascii() and _fits_a_header(stored.access_token)
        return stored if plain and isinstance(stored.expires_at, int | float) else None
    except (ValueError, TypeError, AttributeError):
        return None


class RefreshedTokens:
    """Access tokens for a refresh token, renewed before their end and when one is refused.

    Any worker may ask; the lock guards `_stored` and the connection to the auth server, so that all
    workers together ask once.
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
        self._wall = wall
        self._lock = threading.Lock()
        stored = store.read()
        seed = hashlib.sha256(given.encode()).hexdigest() if given else ""
        if given and (stored is None or stored.seed != seed):
            stored = Stored(refresh_token=given, seed=seed)
        self._stored = stored

    def current(self) -> str:
        """A token that has not ended."""
        with self._lock:
            if self._stored is None:
                return NoToken().current()
            if self._stored.access_token and self._wall() < self._stored.expires_at:
                return self._stored.access_token
            return self._refresh(self._stored)

    def renewed(self, refused: str) -> str:
        """A token other than `refused`; another worker may have got it already."""
        with self._lock:
            if self._stored is None:
                return NoToken().current()
            if self._stored.access_token not in {"", refused}:
                return self._stored.access_token
            return self._refresh(self._stored)

    def _refresh(self, stored: Stored) -> str:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": stored.refresh_token,
            "client_id": self._client_id,
        }
        answer = self._connection.exchange(
            "POST",
            self._token_url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode("ascii"),
        )
        said = _json(answer)
        token = said.get("access_token")
        if not isinstance(token, str) or not _fits_a_header(token):
            token = ""
        if answer.status != 200 or not token:
            if said.get("error") == "invalid_grant":
                raise LoginNeeded("the refresh token has ended or was revoked")
            raise ServiceTrouble(f"the auth server answered {answer.status}: {message_in(answer)}")
        lasts = said.get("expires_in")
        lasts = lasts if isinstance(lasts, int | float) and lasts > 0 else ASSUMED_SECONDS
        following = said.get("refresh_token")
        self._stored = Stored(
            refresh_token=following
            if isinstance(following, str) and following
            else stored.refresh_token,
            access_token=token,
            expires_at=self._wall() + lasts - min(EARLY_SECONDS, lasts / 2),
            seed=stored.seed,
        )
        self._store.write(self._stored)
        return token


def _fits_a_header(token: str) -> bool:
    """What does not, httpx would refuse with an error that shows it. "" is no token, but fits."""
    return token.isascii() and token.isprintable() and " " not in token


def _json(answer: Answer) -> Mapping[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
