import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.sandbox.client import Reply, ask, post
from watcher.sandbox import AUDIENCE, CLIENT_ID, SCOPE, OAuthRules, Sandbox

DEVICE = {"client_id": CLIENT_ID, "scope": SCOPE, "audience": AUDIENCE}
POLL = {"client_id": CLIENT_ID, "grant_type": "urn:ietf:params:oauth:grant-type:device_code"}
REFRESH = {"client_id": CLIENT_ID, "grant_type": "refresh_token"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(check="none", clock=clock) as running:
        yield running


def device_code(service: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = post(service, "/oauth/device/code", DEVICE).json
    return found


def poll(service: Sandbox, code: str) -> Reply:
    return post(service, "/oauth/token", {**POLL, "device_code": code})


def refresh(service: Sandbox, token: str) -> Reply:
    return post(service, "/oauth/token", {**REFRESH, "refresh_token": token})


def refusal(reply: Reply) -> tuple[int, str]:
    assert set(reply.json) == {"error", "error_description"}
    return reply.status, reply.json["error"]


def organizations(service: Sandbox, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return ask(service, "GET", "/v1/organization", headers=headers, authorized=False).status


def test_the_device_flow_as_documented(service: Sandbox, clock: Clock) -> None:
    started = device_code(service)
    assert (started["expires_in"], started["interval"]) == (900, 5)
    assert started["verification_uri"] == f"{service.url}/activate"
    assert service.waiting_user_codes == (started["user_code"],)
    assert refusal(poll(service, started["device_code"])) == (400, "authorization_pending")

    service.approve(started["user_code"])
    clock.now += 5
    tokens = poll(service, started["device_code"])

    assert tokens.status == 200
    assert tokens.headers["cache-control"] == "no-store"
    assert (tokens.json["token_type"], tokens.json["expires_in"]) == ("Bearer", 86400)
    assert tokens.json["access_token"].count(".") == 2
    assert organizations(service, tokens.json["access_token"]) == 200
    assert refresh(service, tokens.json["refresh_token"]).status == 200
    assert len(service.waiting_user_codes) == 0
    assert refusal(poll(service, started["device_code"])) == (400, "invalid_grant")


def test_a_person_approves_on_the_page(service: Sandbox) -> None:
    started = device_code(service)
    page = ask(service, "GET", "/activate", authorized=False)
    assert (page.status, b'name="user_code"' in page.body) == (200, True)

    complete = urlsplit(started["verification_uri_complete"])
    assert parse_qs(complete.query)["user_code"] == [started["user_code"]]
    target = f"{complete.path}?{complete.query}".lower()
    page = ask(service, "GET", target.replace("user_code=", "user_code=+"), authorized=False)

    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert poll(service, started["device_code"]).status == 200


def test_the_page_knows_no_other_codes(service: Sandbox) -> None:
    page = ask(service, "GET", "/activate?user_code=%3Cscript%3E", authorized=False)
    assert page.status == 404
    assert b"<script>" not in page.body.lower()


def test_a_sign_in_can_be_denied(service: Sandbox) -> None:
    started = device_code(service)
    service.deny(started["user_code"])
    assert refusal(poll(service, started["device_code"])) == (400, "access_denied")


def test_a_device_code_expires(service: Sandbox, clock: Clock) -> None:
    started = device_code(service)
    clock.now += 900
    assert refusal(poll(service, started["device_code"])) == (400, "expired_token")
    with pytest.raises(LookupError):
        service.approve(started["user_code"])


def test_polling_too_fast_is_slowed_down_for_good(service: Sandbox, clock: Clock) -> None:
    code = device_code(service)["device_code"]
    assert refusal(poll(service, code))[1] == "authorization_pending"
    clock.now += 4.9
    assert refusal(poll(service, code)) == (400, "slow_down")
    clock.now += 9.9
    assert refusal(poll(service, code))[1] == "slow_down"
    clock.now += 15
    assert refusal(poll(service, code))[1] == "authorization_pending"


def test_errors_can_have_the_statuses_of_auth0(clock: Clock) -> None:
    rules = OAuthRules(error_status="auth0")
    with Sandbox(check="none", clock=clock, oauth=rules) as service:
        code = device_code(service)["device_code"]
        assert refusal(poll(service, code)) == (403, "authorization_pending")
        assert refusal(poll(service, code)) == (429, "slow_down")
        assert refusal(refresh(service, "unknown")) == (403, "invalid_grant")


@pytest.mark.parametrize(
    ("target", "form", "status", "error"),
    [
        ("/oauth/device/code", {**DEVICE, "client_id": "other"}, 401, "invalid_client"),
        ("/oauth/device/code", {**DEVICE, "scope": "openid"}, 400, "invalid_scope"),
        ("/oauth/device/code", {**DEVICE, "audience": "https://x"}, 400, "access_denied"),
        ("/oauth/device/code", {**DEVICE, "audience": ""}, 400, "invalid_request"),
        ("/oauth/device/code", {}, 400, "invalid_request"),
        ("/oauth/token", {"client_id": CLIENT_ID}, 400, "invalid_request"),
        ("/oauth/token", {**POLL}, 400, "invalid_request"),
        ("/oauth/token", {**POLL, "device_code": "unknown"}, 400, "invalid_grant"),
        ("/oauth/token", {**REFRESH}, 400, "invalid_request"),
        ("/oauth/token", {**REFRESH, "refresh_token": "unknown"}, 400, "invalid_grant"),
        ("/oauth/token", {**POLL, "grant_type": "password"}, 400, "unsupported_grant_type"),
        ("/oauth/token", {**REFRESH, "client_id": "other"}, 401, "invalid_client"),
    ],
)
def test_wrong_forms_are_refused_in_the_documented_shape(
    service: Sandbox, target: str, form: dict[str, str], status: int, error: str
) -> None:
    assert refusal(post(service, target, form)) == (status, error)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"client_id=1&client_id=2", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"nonsense", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 400),
        (b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_is_refused(
    service: Sandbox, body: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type}
    assert ask(service, "POST", "/oauth/token", body=body, headers=headers).status == status


def test_a_refresh_token_stays_without_rotation(service: Sandbox) -> None:
    token = service.refresh_token
    for _ in range(2):
        reply = refresh(service, token)
        assert "refresh_token" not in reply.json
        assert organizations(service, reply.json["access_token"]) == 200
    assert service.refresh_token == token


def test_a_rotated_refresh_token_replaces_the_old_one_whose_use_ends_the_grant() -> None:
    rules = OAuthRules(rotate_refresh_tokens=True)
    with Sandbox(check="none", oauth=rules) as service:
        first = service.refresh_token
        second = refresh(service, first).json["refresh_token"]
        assert first != second == service.refresh_token
        third = refresh(service, second).json["refresh_token"]
        assert refusal(refresh(service, second)) == (400, "invalid_grant")
        assert refusal(refresh(service, third)) == (400, "invalid_grant")
        assert service.refresh_token == ""


def test_access_tokens_expire_by_the_clock(clock: Clock) -> None:
    rules = OAuthRules(access_token_seconds=60)
    with Sandbox(check="none", oauth=rules, clock=clock) as service:
        clock.now += 59.9
        assert organizations(service, service.access_token) == 200
        clock.now += 0.1
        assert organizations(service, service.access_token) == 401
        reply = refresh(service, service.refresh_token)
        assert reply.json["expires_in"] == 60
        assert organizations(service, reply.json["access_token"]) == 200


def test_tokens_can_be_taken_back(service: Sandbox) -> None:
    other = service.new_grant()
    service.expire_access_tokens()
    assert organizations(service, service.access_token) == 401
    assert organizations(service, other.access_token) == 401
    service.revoke_refresh_tokens()
    assert refusal(refresh(service, other.refresh_token)) == (400, "invalid_grant")


def revoke(service: Sandbox, content: object, content_type: str = "application/json") -> Reply:
    body = json.dumps(content).encode()
    headers = {"Content-Type": content_type}
    return ask(service, "POST", "/oauth/revoke", body=body, headers=headers, authorized=False)


def test_a_logged_out_token_is_of_no_more_use(service: Sandbox) -> None:
    token = service.refresh_token
    assert revoke(service, {"client_id": CLIENT_ID, "token": token}).status == 200
    assert refusal(refresh(service, token)) == (400, "invalid_grant")
    assert revoke(service, {"client_id": CLIENT_ID, "token": "unknown"}).status == 200


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        ({"client_id": CLIENT_ID}, 400, "invalid_request"),
        ({"client_id": "other", "token": "x"}, 401, "invalid_client"),
        ({"client_id": CLIENT_ID, "token": 1}, 400, "invalid_request"),
        ([], 400, "invalid_request"),
    ],
)
def test_wrong_revocations_are_refused(
    service: Sandbox, content: object, status: int, error: str
) -> None:
    assert refusal(revoke(service, content)) == (status, error)
    wanted = {"client_id": CLIENT_ID, "token": "x"}
    assert refusal(revoke(service, wanted, "text/plain")) == (400, "invalid_request")


def test_what_is_no_json_cannot_be_revoked(service: Sandbox) -> None:
    headers = {"Content-Type": "application/json"}
    reply = ask(service, "POST", "/oauth/revoke", body=b"[" * 60_000, headers=headers)
    assert refusal(reply) == (400, "invalid_request")
