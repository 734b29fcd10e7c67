"""Signing in without a browser of our own: the device authorization grant, RFC 8628.

Source: the vendor's documentation (api/authentication), RFC 8628, RFC 7009 for the way out. What
can be expected is a value: somebody agreed, somebody declined, nobody came in time.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from watcher.errors import AccessDenied, LoginNeeded, ServiceTrouble
from watcher.exchange import Answer, Connection
from watcher.service import message_in, object_in
from watcher.token_store import Stored
from watcher.tokens import FORM, granted

SCOPE = "offline_access"
AUDIENCE = "https://api.autoretouch.com"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

USUAL_INTERVAL = 5.0
"""Seconds between two questions if the server does not say (RFC 8628, 3.2)."""

SLOW_DOWN = 5.0
"""Seconds that each `slow_down` adds, from then on (3.5)."""

SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.5, 60.0
USUAL_EXPIRY, LONGEST_EXPIRY = 900.0, 3600.0

PAGE = 50
MOST_PAGES = 20


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a person needs: open `page` and enter `user_code`, or open `page_with_code`. In seconds:
    ask each `interval`, for `expires_in`."""

    user_code: str
    page: str
    page_with_code: str
    expires_in: float
    interval: float
    device_code: str = field(repr=False)


class Granted(NamedTuple):
    """Somebody agreed; `stored` is what to keep of it."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Denied:
    """Somebody declined."""


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody did either in time."""


class Organization(NamedTuple):
    """One that the user belongs to."""

    id: str
    name: str


class DeviceLogin:
    """One sign-in. Owned by one thread; all calls raise `ServiceTrouble`."""

    def __init__(
        self,
        connection: Connection,
        *,
        url: str,
        client_id: str,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wait` lets so many seconds of `clock` pass; `wall` gives epoch seconds."""
        self._connection = connection
        self._url = url.rstrip("/")
        self._client_id = client_id
        self._wait = wait
        self._clock = clock
        self._wall = wall

    def begin(self) -> Invitation:
        """What to show."""
        answer = self._post("/oauth/device/code", scope=SCOPE, audience=AUDIENCE)
        said = object_in(answer)
        device_code, user_code = _text(said, "device_code"), _text(said, "user_code")
        page = _page(said, "verification_uri")
        if answer.status != 200 or not (device_code and user_code and page):
            raise _trouble(answer)
        return Invitation(
            user_code=user_code,
            page=page,
            page_with_code=_page(said, "verification_uri_complete") or page,
            expires_in=_number(said, "expires_in", USUAL_EXPIRY, 1.0, LONGEST_EXPIRY),
            interval=_number(said, "interval", USUAL_INTERVAL, SHORTEST_INTERVAL, LONGEST_INTERVAL),
            device_code=device_code,
        )

    def finish(self, invitation: Invitation) -> Granted | Denied | Expired:
        """Asks until there is an answer; trouble that passes only makes it ask less often."""
        interval = invitation.interval
        ends = self._clock() + invitation.expires_in
        while True:
            self._wait(interval)
            if self._clock() >= ends:
                return Expired()
            try:
                decided = self._ask(invitation.device_code)
            except _SlowDown:
                interval += SLOW_DOWN
            except _Passing:
                interval = min(interval * 2, LONGEST_INTERVAL)  # RFC 8628, 3.5, last paragraph
            else:
                if decided is not None:
                    return decided

    def _ask(self, device_code: str) -> Granted | Denied | Expired | None:
        """What came of it so far, None if nobody has decided."""
        try:
            answer = self._post("/oauth/token", grant_type=DEVICE_GRANT, device_code=device_code)
        except ServiceTrouble as error:
            raise _Passing from error
        if answer.status == 200:
            stored = granted(answer, now=self._wall(), before=Stored(refresh_token=""))
            if not stored.refresh_token:
                raise ServiceTrouble("the auth server gave no refresh token, so it would not last")
            return Granted(stored)
        match object_in(answer).get("error"):
            case "authorization_pending":
                return None
            case "access_denied":
                return Denied()
            case "expired_token" | "invalid_grant":  # Auth0 says either
                return Expired()
            case "slow_down":
                raise _SlowDown
        if answer.status in {408, 425, 429} or answer.status >= 500:
            raise _Passing
        raise _trouble(answer)

    def _post(self, path: str, **form: str) -> Answer:
        body = urlencode({"client_id": self._client_id, **form}).encode("ascii")
        return self._connection.exchange("POST", self._url + path, headers=FORM, body=body)


class _SlowDown(Exception):
    """The server wants to be asked less often."""


class _Passing(Exception):
    """No answer, or one that says that another will come later."""


def organizations(
    connection: Connection, *, url: str, access_token: str
) -> tuple[Organization, ...]:
    """Those of the signed-in user. Raises `ServiceTrouble`, `LoginNeeded` or `AccessDenied`."""
    found: dict[str, Organization] = {}
    for page in range(MOST_PAGES):
        query = urlencode({"limit": PAGE, "offset": page * PAGE})
        answer = connection.exchange(
            "GET",
            f"{url.rstrip('/')}/v1/organization?{query}",
            headers={"Authorization": f"Bearer {access_token}"},
        )
        entries = _entries(answer)
        found |= {one.id: one for one in map(_organization, entries) if one}
        total = object_in(answer).get("total")
        enough = isinstance(total, int) and (page + 1) * PAGE >= total
        if enough or len(entries) < PAGE:
            break
    return tuple(found.values())


def _entries(answer: Answer) -> list[object]:
    match answer.status:
        case 401:
            raise LoginNeeded("the service refuses the access token")
        case 403:
            raise AccessDenied(f"it answered 403: {message_in(answer)}")
    entries = object_in(answer).get("entries")
    if answer.status != 200 or not isinstance(entries, list):
        raise ServiceTrouble(f"it answered {answer.status}: {message_in(answer)}")
    return entries


def _organization(entry: object) -> Organization | None:
    if not isinstance(entry, dict):
        return None
    known = _text(entry, "id")
    return Organization(known, _text(entry, "name") or known) if known else None


def revoke(connection: Connection, *, url: str, client_id: str, refresh_token: str) -> None:
    """Ends a login at the auth server (RFC 7009: also one that it does not know any more).

    Raises `ServiceTrouble`.
    """
    answer = connection.exchange(
        "POST",
        url.rstrip("/") + "/oauth/revoke",
        headers={"Content-Type": "application/json"},
        body=json.dumps({"client_id": client_id, "token": refresh_token}).encode(),
    )
    if answer.status not in {200, 204}:
        raise _trouble(answer)


def _trouble(answer: Answer) -> ServiceTrouble:
    return ServiceTrouble(f"the auth server answered {answer.status}: {message_in(answer)}")


def _text(said: Mapping[str, object], name: str) -> str:
    """A text that can be shown on a terminal and does nothing there; "" if there is none."""
    text = said.get(name)
    return text if isinstance(text, str) and text.isprintable() else ""


def _page(said: Mapping[str, object], name: str) -> str:
    page = _text(said, name)
    return page if page.isascii() and urlsplit(page).scheme in {"https", "http"} else ""


def _number(
    said: Mapping[str, object], name: str, usual: float, least: float, most: float
) -> float:
    number = said.get(name)
    return float(min(max(number, least), most)) if isinstance(number, int | float) else usual
