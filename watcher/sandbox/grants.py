"""Who may do what: device codes, grants, refresh and access tokens, all throw-away."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

CLIENT_ID = "V8EkfbxtBi93cAySTVWAecEum4d6pt4J"
SCOPE = "offline_access"
AUDIENCE = "https://api.autoretouch.com"
DEVICE_CODE_SECONDS = 900

_USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_SLOW_DOWN_SECONDS = 5  # RFC 8628, section 3.5
_JWT_HEADER = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"


@dataclass(frozen=True)
class OAuthRules:
    """How the authorization server is set up.

    `error_status` is the HTTP status of OAuth errors, which the service does not document: what
    RFC 6749 and RFC 8628 say, or what Auth0 does (403 and, for `slow_down`, 429).
    """

    access_token_seconds: int = 24 * 60 * 60
    rotate_refresh_tokens: bool = False
    poll_interval_seconds: int = 5
    error_status: Literal["rfc", "auth0"] = "rfc"


class OAuthRefused(Exception):
    """An OAuth error: `code` is the `error` of the answer."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


@dataclass
class _Grant:
    """One permission that a person gave: its newest refresh token, none once it is revoked."""

    refresh_token: str


@dataclass
class _Device:
    """One sign-in under way. `approved` is None until the person has decided."""

    user_code: str
    expires_at: float
    interval: float
    polled_at: float | None = None
    approved: bool | None = None


@dataclass(frozen=True)
class TokenPair:
    """What a grant hands out; `refresh_token` is empty if the old one stays in force."""

    access_token: str
    refresh_token: str


@dataclass(frozen=True)
class DeviceCode:
    """What a device gets to show to a person, and to poll with."""

    device_code: str
    user_code: str


class Grants:
    """All codes and tokens, shared by all connections and guarded by one lock.

    `clock` gives seconds from any fixed point.
    """

    def __init__(self, rules: OAuthRules, clock: Callable[[], float]) -> None:
        self.rules = rules
        self._clock = clock
        self._lock = Lock()
        self._access_tokens: dict[str, float] = {}
        self._refresh_tokens: dict[str, _Grant] = {}
        self._devices: dict[str, _Device] = {}

    def start_device(self) -> DeviceCode:
        """Begin a sign-in."""
        half = ["".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(4)) for _ in range(2)]
        code = DeviceCode(secrets.token_urlsafe(24), "-".join(half))
        with self._lock:
            self._devices[code.device_code] = _Device(
                user_code=code.user_code,
                expires_at=self._clock() + DEVICE_CODE_SECONDS,
                interval=self.rules.poll_interval_seconds,
            )
        return code

    @property
    def waiting_user_codes(self) -> tuple[str, ...]:
        """The codes of sign-ins that nobody has decided on."""
        with self._lock:
            return tuple(d.user_code for d in self._devices.values() if d.approved is None)

    def decide(self, user_code: str, *, approved: bool) -> None:
        """What the person says to a sign-in; raises `LookupError` for an unknown or old code."""
        with self._lock:
            for device in self._devices.values():
                if device.user_code == user_code and self._clock() < device.expires_at:
                    device.approved = approved
                    return
        raise LookupError(f"no sign-in under way has the code {user_code}")

    def poll_device(self, device_code: str) -> TokenPair:
        """Tokens for a sign-in that was approved, once; else `OAuthRefused` says what it is at."""
        with self._lock:
            device = self._devices.get(device_code)
            if device is None:
                raise OAuthRefused("invalid_grant", "Invalid or used device code")
            self._refuse_waiting(device)
            del self._devices[device_code]
            if not device.approved:
                raise OAuthRefused("access_denied", "The user denied the sign-in")
            return self._grant()

    def _refuse_waiting(self, device: _Device) -> None:
        now = self._clock()
        if now >= device.expires_at:
            raise OAuthRefused("expired_token", "The device code has expired")
        polled_at, device.polled_at = device.polled_at, now
        if polled_at is not None and now - polled_at < device.interval:
            device.interval += _SLOW_DOWN_SECONDS
            raise OAuthRefused("slow_down", f"Poll every {device.interval} seconds")
        if device.approved is None:
            raise OAuthRefused("authorization_pending", "The user has not decided yet")

    def refresh(self, refresh_token: str) -> TokenPair:
        """A new access token, and with rotation a new refresh token.

        An old one that is used again is taken for stolen and ends the grant, as Auth0 does.
        """
        with self._lock:
            grant = self._refresh_tokens.get(refresh_token)
            if grant is None or grant.refresh_token != refresh_token:
                self._revoke(grant)
                raise OAuthRefused("invalid_grant", "Unknown, expired or revoked refresh token")
            if not self.rules.rotate_refresh_tokens:
                return TokenPair(self._new_access_token(), "")
            grant.refresh_token = self._new_refresh_token(grant)
            return TokenPair(self._new_access_token(), grant.refresh_token)

    def revoke(self, refresh_token: str) -> None:
        """End the grant that the token belongs to, if there is one."""
        with self._lock:
            self._revoke(self._refresh_tokens.get(refresh_token))

    def revoke_all(self) -> None:
        """End all grants: nobody can refresh any more."""
        with self._lock:
            for grant in self._refresh_tokens.values():
                self._revoke(grant)

    def grant(self) -> TokenPair:
        """Tokens as if somebody had just signed in."""
        with self._lock:
            return self._grant()

    def newest_refresh_token(self, refresh_token: str) -> str:
        """What has become of a token by rotation; empty if its grant was revoked."""
        with self._lock:
            return self._refresh_tokens[refresh_token].refresh_token

    def admits(self, access_token: str) -> bool:
        """Whether the token is one of ours and has not expired."""
        with self._lock:
            return self._clock() < self._access_tokens.get(access_token, float("-inf"))

    def expire_access_tokens(self) -> None:
        """All access tokens handed out so far are refused from now on."""
        with self._lock:
            self._access_tokens.clear()

    def _grant(self) -> TokenPair:
        grant = _Grant("")
        grant.refresh_token = self._new_refresh_token(grant)
        return TokenPair(self._new_access_token(), grant.refresh_token)

    def _new_refresh_token(self, grant: _Grant) -> str:
        token = f"v1.{secrets.token_urlsafe(33)}"
        self._refresh_tokens[token] = grant
        return token

    def _new_access_token(self) -> str:
        parts = (_JWT_HEADER, secrets.token_urlsafe(96), secrets.token_urlsafe(64))
        token = ".".join(parts)
        self._access_tokens[token] = self._clock() + self.rules.access_token_seconds
        return token

    def _revoke(self, grant: _Grant | None) -> None:
        if grant:
            grant.refresh_token = ""
