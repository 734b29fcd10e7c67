"""What the service does at each of its addresses."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import quote

from watcher.sandbox.answers import Answer, Refused, as_json, text
from watcher.sandbox.exchange import Exchange, Request
from watcher.sandbox.grants import Grants
from watcher.sandbox.oauth import OAuth
from watcher.sandbox.record import Record
from watcher.sandbox.uploads import Check, receive

_HASH = re.compile(r"[0-9a-f]{64}")
_COUNT = re.compile(r"[0-9]{1,9}")
_PAGE_SIZE = 50
_MAX_PAGE_SIZE = 100

Endpoint = Callable[[Exchange], Answer]


class Endpoints:
    """The addresses and what they do. Immutable, called by all connections' threads."""

    def __init__(
        self,
        *,
        record: Record,
        grants: Grants,
        organizations: Mapping[str, str],
        check: Check,
        base_url: Callable[[], str],
    ) -> None:
        self._record = record
        self._grants = grants
        self._organizations = organizations
        self._default_organization = next(iter(organizations))
        self._check = check
        oauth = OAuth(grants, base_url)
        self._routes: Mapping[str, Mapping[str, Endpoint]] = {
            "/upload": {"HEAD": self._is_known, "POST": self._upload},
            "/health": {"GET": self._health},
            "/v1/organization": {"GET": self._list_organizations},
            "/oauth/device/code": {"POST": oauth.device_code},
            "/oauth/token": {"POST": oauth.token},
            "/oauth/revoke": {"POST": oauth.revoke},
            "/activate": {"GET": oauth.activate},
        }

    def respond(self, exchange: Exchange) -> Answer:
        """The ordinary answer to a request, with its effects, when its body has been read."""
        try:
            answer = self._endpoint(exchange.request)(exchange)
        except Refused as refusal:
            answer = refusal.answer(exchange.request.path)
        exchange.body.drain()
        return answer

    def kind(self, request: Request) -> str:
        """Method and path for counting; one word for all that the service does not offer."""
        known = request.method in self._routes.get(request.path, {})
        return f"{request.method} {request.path}" if known else "other"

    def _endpoint(self, request: Request) -> Endpoint:
        methods = self._routes.get(request.path)
        if methods is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"No endpoint {request.path}")
        if request.method not in methods:
            message = f"Request method '{request.method}' is not supported"
            raise Refused(
                HTTPStatus.METHOD_NOT_ALLOWED, message, headers={"Allow": ", ".join(methods)}
            )
        return methods[request.method]

    def _is_known(self, exchange: Exchange) -> Answer:
        self._authorize(exchange.request)
        content_hash = exchange.request.strict_query().get("contentHash", "")
        if not _HASH.fullmatch(content_hash):
            raise Refused(HTTPStatus.BAD_REQUEST, "contentHash must be 64 lower-case hex digits")
        exchange.content_hash = content_hash
        if self._record.has(content_hash, self._organization(exchange.request)):
            return Answer(HTTPStatus.OK)
        raise Refused(HTTPStatus.NOT_FOUND, "No such content")

    def _upload(self, exchange: Exchange) -> Answer:
        self._authorize(exchange.request)
        organization = self._organization(exchange.request)
        content_type = exchange.request.headers.get("content-type", "")
        received = receive(exchange.body, content_type, check=self._check)
        exchange.content_hash = received.sha256
        self._record.store(received, organization)
        return text(received.sha256, status=HTTPStatus.CREATED)

    def _health(self, _: Exchange) -> Answer:
        return as_json({"status": "UP"})

    def _list_organizations(self, exchange: Exchange) -> Answer:
        self._authorize(exchange.request)
        limit = _count(exchange.request, "limit", _PAGE_SIZE)
        offset = _count(exchange.request, "offset", 0)
        if not 1 <= limit <= _MAX_PAGE_SIZE:
            raise Refused(HTTPStatus.BAD_REQUEST, f"limit must be 1 to {_MAX_PAGE_SIZE}")
        entries = [{"id": id_, "name": name} for id_, name in self._organizations.items()]
        return as_json({"entries": entries[offset : offset + limit], "total": len(entries)})

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self._grants.admits(token):
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "Missing, invalid or expired access token",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _organization(self, request: Request) -> str:
        """The one asked for, or the user's first: the parameter is only recommended."""
        asked = request.strict_query().get("organization", self._default_organization)
        if asked not in self._organizations:
            raise Refused(HTTPStatus.FORBIDDEN, f"No permission for organization {quote(asked)}")
        return asked


def _count(request: Request, name: str, default: int) -> int:
    said = request.strict_query().get(name, str(default))
    if not _COUNT.fullmatch(said):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{name} must be a number")
    return int(said)
