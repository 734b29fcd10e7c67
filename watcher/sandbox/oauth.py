"""The authorization server's side: device flow (RFC 8628), refresh, revocation, and its page."""

import html
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import quote

from watcher.sandbox.answers import Answer, Refused, as_json, text
from watcher.sandbox.exchange import Exchange, pairs
from watcher.sandbox.grants import (
    AUDIENCE,
    CLIENT_ID,
    DEVICE_CODE_SECONDS,
    SCOPE,
    Grants,
    OAuthRefused,
    OAuthRules,
    TokenPair,
)

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

_MAX_FORM = 1 << 16
_FORM = "application/x-www-form-urlencoded"
_RFC_STATUS: Mapping[str, int] = {"invalid_client": 401}
_AUTH0_STATUS: Mapping[str, int] = {
    "invalid_client": 401,
    "invalid_request": 400,
    "invalid_scope": 400,
    "unsupported_grant_type": 400,
    "slow_down": 429,
}
_NO_STORE = {"Cache-Control": "no-store"}


class OAuth:
    """The endpoints below `/oauth`, and `/activate`. Stateless but for `grants`: any thread."""

    def __init__(self, grants: Grants, base_url: Callable[[], str]) -> None:
        self._grants = grants
        self._base_url = base_url

    def device_code(self, exchange: Exchange) -> Answer:
        """`POST /oauth/device/code`."""
        try:
            form = self._form(exchange, required=("client_id", "scope", "audience"))
            _check_wish(form)
        except OAuthRefused as refusal:
            return self._refusal(refusal)
        started = self._grants.start_device()
        page = f"{self._base_url()}/activate"
        return as_json(
            {
                "device_code": started.device_code,
                "user_code": started.user_code,
                "verification_uri": page,
                "verification_uri_complete": f"{page}?user_code={quote(started.user_code)}",
                "expires_in": DEVICE_CODE_SECONDS,
                "interval": self._grants.rules.poll_interval_seconds,
            },
            headers=_NO_STORE,
        )

    def token(self, exchange: Exchange) -> Answer:
        """`POST /oauth/token`, for a device code or a refresh token."""
        try:
            form = self._form(exchange, required=("client_id", "grant_type"))
            return self._tokens(self._redeem(form))
        except OAuthRefused as refusal:
            return self._refusal(refusal)

    def revoke(self, exchange: Exchange) -> Answer:
        """`POST /oauth/revoke` (JSON). An unknown token is not an error (RFC 7009)."""
        try:
            content = _json_object(exchange)
            self._check(content, required=("client_id", "token"))
        except OAuthRefused as refusal:
            return self._refusal(refusal)
        self._grants.revoke(content["token"])
        return Answer(HTTPStatus.OK)

    def activate(self, exchange: Exchange) -> Answer:
        """`GET /activate?user_code=..`: the person's click, which approves."""
        user_code = exchange.request.strict_query().get("user_code", "").strip().upper()
        if not user_code:
            return text(_PAGE.format(_ASK), kind="html")
        try:
            self._grants.decide(user_code, approved=True)
        except LookupError as unknown:
            page = _PAGE.format(html.escape(str(unknown.args[0])))
            return text(page, status=HTTPStatus.NOT_FOUND, kind="html")
        return text(_PAGE.format("Signed in. You can close this page."), kind="html")

    def _form(self, exchange: Exchange, *, required: tuple[str, ...]) -> Mapping[str, str]:
        kind = exchange.request.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != _FORM:
            raise OAuthRefused("invalid_request", f"Content-Type must be {_FORM}")
        encoded = exchange.body.read_all(_MAX_FORM)
        try:
            form = pairs(encoded.decode("ascii"))
        except (UnicodeDecodeError, Refused) as problem:
            raise OAuthRefused("invalid_request", str(problem)) from problem
        self._check(form, required=required)
        return form

    def _check(self, form: Mapping[str, str], *, required: tuple[str, ...]) -> None:
        missing = [name for name in required if not form.get(name)]
        if missing:
            raise OAuthRefused("invalid_request", f"missing: {', '.join(missing)}")
        if form["client_id"] != CLIENT_ID:
            raise OAuthRefused("invalid_client", "Unknown client")

    def _redeem(self, form: Mapping[str, str]) -> TokenPair:
        match form["grant_type"]:
            case "refresh_token":
                self._check(form, required=("client_id", "refresh_token"))
                return self._grants.refresh(form["refresh_token"])
            case kind if kind == DEVICE_GRANT:
                self._check(form, required=("client_id", "device_code"))
                return self._grants.poll_device(form["device_code"])
            case other:
                raise OAuthRefused("unsupported_grant_type", f"unknown grant_type {other}")

    def _tokens(self, pair: TokenPair) -> Answer:
        content: dict[str, str | int] = {
            "access_token": pair.access_token,
            "expires_in": self._grants.rules.access_token_seconds,
            "token_type": "Bearer",
            "scope": SCOPE,
        }
        if pair.refresh_token:
            content["refresh_token"] = pair.refresh_token
        return as_json(content, headers=_NO_STORE)

    def _refusal(self, refusal: OAuthRefused) -> Answer:
        return as_json(
            {"error": refusal.code, "error_description": refusal.description},
            status=_status_of(refusal.code, self._grants.rules),
            headers=_NO_STORE,
        )


def _check_wish(form: Mapping[str, str]) -> None:
    if SCOPE not in form["scope"].split():
        raise OAuthRefused("invalid_scope", f"scope must contain {SCOPE}")
    if form["audience"] != AUDIENCE:
        raise OAuthRefused("access_denied", f"Service not found: {form['audience']}")


def _json_object(exchange: Exchange) -> Mapping[str, str]:
    kind = exchange.request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise OAuthRefused("invalid_request", "Content-Type must be application/json")
    encoded = exchange.body.read_all(_MAX_FORM)
    try:
        content = json.loads(encoded)
    except (ValueError, RecursionError) as problem:
        raise OAuthRefused("invalid_request", str(problem)) from problem
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise OAuthRefused("invalid_request", "expected a JSON object of strings")
    return content


def _status_of(code: str, rules: OAuthRules) -> int:
    """The HTTP status that goes with an OAuth error."""
    if rules.error_status == "auth0":
        return _AUTH0_STATUS.get(code, 403)
    return _RFC_STATUS.get(code, 400)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>AutoRetouch sandbox</title>
<body><h1>AutoRetouch sandbox</h1><p>{}</p></body></html>
"""
_ASK = """</p><form><label>Code: <input name="user_code" autofocus></label>
<button>Approve</button></form><p>"""
