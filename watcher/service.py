"""The AutoRetouch service as one worker sees it: does it know a hash, and take this file.

Source: the vendor's documentation (docs.autoretouch.com: images, errors). What is not documented is
sent conservatively, accepted liberally, and never loses a file.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from watcher.errors import AccessDenied, LoginNeeded, ServiceTrouble
from watcher.exchange import NOTHING, Answer, Connection
from watcher.form import FileBody

UPLOAD, HEALTH = "/upload", "/health"


class Accepted(NamedTuple):
    """The service took it; `sha256` is the hash of what arrived there, lower-case hex."""

    sha256: str


class Refused(NamedTuple):
    """The service will not take this file; `message` is its own, cleaned and cut."""

    message: str


@dataclass(frozen=True, slots=True)
class Access:
    """A token, and the organization that was chosen with it, "" if none was: together, because a
    token must never be used for what belongs to another login."""

    token: str = field(repr=False)
    organization: str = ""


class Tokens(Protocol):
    """Where access tokens come from; shared by all workers."""

    def current(self) -> Access:
        """What to use now; raises `LoginNeeded` or `ServiceTrouble`."""
        ...

    def renewed(self, refused: str) -> Access:
        """Another token than the one that was `refused`; raises like `current`."""
        ...

    @property
    def organization(self) -> str:
        """What `current` would say of it, as far as that is known here; asks nobody."""
        ...


class Service:
    """Owned by one worker, like its connection."""

    def __init__(self, connection: Connection, *, url: str, tokens: Tokens) -> None:
        self._connection = connection
        self._url = url.rstrip("/")
        self._tokens = tokens

    def whose(self, organization: str) -> str:
        """The organization that gets what is sent to `organization`; "" if the service decides."""
        return organization or self._tokens.organization

    def knows(self, sha256: str, *, organization: str) -> bool | None:
        """Whether the service has this content (HEAD); None if what came was a page for people,
        some gateway's: it does not tell, sending does.

        Raises `ServiceTrouble`, `LoginNeeded` or `AccessDenied`.
        """
        return self._is_known(_insisting(partial(self._asked, sha256, organization)))

    def _asked(self, sha256: str, organization: str) -> Answer:
        return self._authorized("HEAD", organization, query={"contentHash": sha256})

    def _is_known(self, answer: Answer) -> bool | None:
        match answer.status:
            case 200:
                return None if _is_page(answer) else True
            case 404:
                return False
            case _:
                raise self._trouble(answer)

    def confirm_up(self) -> None:
        """Raises `ServiceTrouble` if it does not say that it is up (GET /health, as the vendor's
        client asks): something else may answer in its place, which knows no content at all."""
        answer = self._connection.exchange("GET", self._url + HEALTH, headers={})
        if answer.status != 200 or _is_page(answer):
            raise ServiceTrouble(f"it does not say that it is up: {HEALTH} gave {answer.status}")

    def upload(self, file: FileBody, *, organization: str) -> Accepted | Refused:
        """Sends one file (POST).

        Raises `ServiceTrouble`, `LoginNeeded`, `AccessDenied`, and what reading the file raises.
        After `ServiceTrouble` the outcome is not known: ask with `knows` before sending again. (So
        it does itself after a 500. After a second one, which followed upon "not known", it sends
        without: a service of which every second answer is a 500 would never get the file.)
        """
        headers = {"Content-Type": f"multipart/form-data; boundary={file.boundary}"}
        send = partial(self._authorized, "POST", organization, headers=headers, body=file)
        answer = send()
        if answer.status == 500:  # it may have taken the file all the same
            file.on_sent(0)  # all begins anew
            if self._is_known(self._asked(file.sha256, organization)):
                return Accepted(file.sha256)
            answer = _insisting(send)
        match answer.status:
            case 200 | 201:
                returned = hash_in(answer.body)
                if returned is None:
                    raise ServiceTrouble(f"it answered {answer.status}, but not with a hash")
                return Accepted(returned)
            case 400 | 413 | 415 | 422:
                return Refused(message_in(answer))
            case 404:
                raise AccessDenied(f"it answered 404 to an upload: {message_in(answer)}")
            case _:
                raise self._trouble(answer)

    def _authorized(
        self,
        method: str,
        organization: str,
        *,
        query: Mapping[str, str] = NOTHING,
        headers: Mapping[str, str] = NOTHING,
        body: FileBody | bytes = b"",
    ) -> Answer:
        """One request with a token; if that is refused, once more with another."""

        def ask(access: Access) -> Answer:
            chosen = organization or access.organization
            asked = {**query, "organization": chosen} if chosen else query
            authorized = {**headers, "Authorization": f"Bearer {access.token}"}
            return self._connection.exchange(
                method, self._url + UPLOAD, query=asked, headers=authorized, body=body
            )

        access = self._tokens.current()
        answer = ask(access)
        if answer.status == 401:
            access = self._tokens.renewed(access.token)
            answer = ask(access)
        if answer.status == 401:
            raise LoginNeeded("the service refuses the access token, a new one too")
        if answer.status == 403:
            raise AccessDenied(f"it answered 403: {message_in(answer)}")
        return answer

    def _trouble(self, answer: Answer) -> ServiceTrouble:
        return ServiceTrouble(
            f"it answered {answer.status}: {message_in(answer)}",
            retry_after=retry_after(answer.headers.get("retry-after"), now=time.time()),
        )


def _is_page(answer: Answer) -> bool:
    """Whether it is for people, and so some gateway's or a portal's."""
    return answer.headers.get("content-type", "").startswith("text/html")


def _insisting(ask: Callable[[], Answer]) -> Answer:
    """Asks once more after a 500: "unexpected" (documented), and a single one says nothing yet."""
    answer = ask()
    return ask() if answer.status == 500 else answer


def hash_in(body: bytes) -> str | None:
    """The SHA-256 that an answer holds, as lower-case hex: hex in either case or Base64, with
    white space or quotes around it; None if there is none."""
    text = body.strip().strip(b"\"'").strip()
    if re.fullmatch(rb"[0-9a-fA-F]{64}", text):
        return text.decode("ascii").lower()
    if re.fullmatch(rb"[A-Za-z0-9+/_-]{43}=?", text):
        return base64.b64decode(text.rstrip(b"=") + b"=", altchars=b"-_").hex()
    return None


def message_in(answer: Answer) -> str:
    """The service's own words from an error's JSON body, as one printable line of at most 200
    characters; else just the status."""
    message = object_in(answer).get("message")
    if not isinstance(message, str) or not message.strip():
        return f"status {answer.status}"
    line = " ".join(message.split())[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def object_in(answer: Answer) -> Mapping[str, Any]:
    """The JSON object that an answer holds, empty if it holds none."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


MAX_RETRY_AFTER = 3600.0
"""Seconds; a service that says "in a year" is asked again after an hour."""


def retry_after(value: str | None, *, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3: seconds or a date), between
    0 and `MAX_RETRY_AFTER`; None if there is none or it cannot be read. `now`: epoch seconds."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,18}\s*", value):
        return min(float(value), MAX_RETRY_AFTER)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - a rare form, much to load

    try:
        seconds = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
