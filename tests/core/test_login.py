"""The device flow as RFC 8628 has it, by a real authorization server whose clock is ours."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.core.factories import Clock, a_connection
from watcher.errors import AccessDenied, LoginNeeded, ServiceTrouble
from watcher.exchange import Connection
from watcher.login import (
    Denied,
    DeviceLogin,
    Expired,
    Granted,
    Organization,
    organizations,
    revoke,
)
from watcher.sandbox import CLIENT_ID, Fault, OAuthRules, Sandbox, faults

TOKEN = "/oauth/token"
CODE = "/oauth/device/code"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["rfc", "auth0"])
def sandbox(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(check="none", oauth=OAuthRules(error_status=request.param), clock=clock) as it:
        yield it


@pytest.fixture
def connection() -> Iterator[Connection]:
    with a_connection() as connection:
        yield connection


class Person:
    """Lets the clock go on while the program waits, and does something after so many waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.waits: list[float] = []
        self._deeds: dict[int, Callable[[], object]] = {}

    def after(self, waits: int, deed: Callable[[], object]) -> None:
        self._deeds[waits] = deed

    def wait(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self.waits.append(seconds)
        self._deeds.get(len(self.waits), lambda: None)()


@pytest.fixture
def person(clock: Clock) -> Person:
    return Person(clock)


@pytest.fixture
def login(sandbox: Sandbox, connection: Connection, clock: Clock, person: Person) -> DeviceLogin:
    return DeviceLogin(
        connection,
        url=sandbox.url + "/",
        client_id=CLIENT_ID,
        wait=person.wait,
        clock=clock,
        wall=clock.wall,
    )


def saying(status: int = 200, **said: Any) -> faults.Status:
    return faults.Status(status, body=json.dumps(said).encode())


def admits(sandbox: Sandbox, outcome: object) -> bool:
    assert isinstance(outcome, Granted)
    return sandbox._grants.admits(outcome.stored.access_token)


# The invitation


def test_what_to_open_is_what_the_server_says(login: DeviceLogin, sandbox: Sandbox) -> None:
    invitation = login.begin()
    (code,) = sandbox.waiting_user_codes
    assert invitation.user_code == code
    assert invitation.page == f"{sandbox.url}/activate"
    assert invitation.page_with_code == f"{sandbox.url}/activate?user_code={code}"
    assert (invitation.interval, invitation.expires_in) == (5, 900)
    assert invitation.device_code not in repr(invitation)


FULL: dict[str, Any] = {
    "device_code": "device",
    "user_code": "USER-CODE",
    "verification_uri": "https://auth.example/activate",
}


def test_what_is_optional_may_be_missing(login: DeviceLogin, sandbox: Sandbox) -> None:
    sandbox.fault(saying(**FULL), path=CODE)
    invitation = login.begin()
    assert invitation.page_with_code == FULL["verification_uri"]
    assert (invitation.interval, invitation.expires_in) == (5, 900)


@pytest.mark.parametrize(
    ("said", "interval", "expires_in"),
    [
        ({"interval": 0, "expires_in": 0}, 0.5, 1),
        ({"interval": -5, "expires_in": -5}, 0.5, 1),
        ({"interval": 10**9, "expires_in": 10**400}, 60, 3600),
        ({"interval": "7", "expires_in": None}, 5, 900),
        ({"interval": 2.5, "expires_in": 60}, 2.5, 60),
    ],
)
def test_odd_times_are_kept_sane(
    login: DeviceLogin, sandbox: Sandbox, said: Any, interval: float, expires_in: float
) -> None:
    sandbox.fault(saying(**FULL, **said), path=CODE)
    invitation = login.begin()
    assert (invitation.interval, invitation.expires_in) == (interval, expires_in)


BAD_INVITATIONS: dict[str, Fault] = {
    **{f"no {name}": saying(**{**FULL, name: ""}) for name in FULL},
    **{f"odd {name}": saying(**{**FULL, name: 7}) for name in FULL},
    "a code that paints": saying(**{**FULL, "user_code": "\x1b[31mRED"}),
    "a page that paints": saying(**{**FULL, "verification_uri": "https://x/\x1b[31m"}),
    "a page that is none": saying(**{**FULL, "verification_uri": "javascript:alert(1)"}),
    "refused": saying(401, error="invalid_client"),
    "a page of HTML": faults.Html(),
    "down": faults.Status(503),
    "closed": faults.Close(),
}


@pytest.mark.parametrize("kind", BAD_INVITATIONS)
def test_an_invitation_that_cannot_be_shown_is_trouble(
    login: DeviceLogin, sandbox: Sandbox, kind: str
) -> None:
    sandbox.fault(BAD_INVITATIONS[kind], path=CODE)
    with pytest.raises(ServiceTrouble):
        login.begin()


# Polling


def test_somebody_agrees(login: DeviceLogin, sandbox: Sandbox, person: Person) -> None:
    invitation = login.begin()
    person.after(3, lambda: sandbox.approve(invitation.user_code))
    outcome = login.finish(invitation)
    assert admits(sandbox, outcome)
    assert person.waits == [5, 5, 5]  # it waits before the first question as well


def test_what_is_granted_can_be_kept(login: DeviceLogin, sandbox: Sandbox, clock: Clock) -> None:
    invitation = login.begin()
    sandbox.approve(invitation.user_code)
    outcome = login.finish(invitation)
    assert isinstance(outcome, Granted)
    sandbox._grants.refresh(outcome.stored.refresh_token)  # raises if it is none
    assert outcome.stored.expires_at == pytest.approx(clock.wall() + 24 * 3600 - 300, abs=1)
    for secret in (outcome.stored.refresh_token, outcome.stored.access_token):
        assert secret not in repr(outcome)


def test_somebody_declines(login: DeviceLogin, sandbox: Sandbox, person: Person) -> None:
    invitation = login.begin()
    person.after(2, lambda: sandbox.deny(invitation.user_code))
    assert login.finish(invitation) == Denied()


def test_nobody_comes_in_time(login: DeviceLogin, sandbox: Sandbox, person: Person) -> None:
    assert login.finish(login.begin()) == Expired()
    assert sum(person.waits) == pytest.approx(900, abs=5)
    assert sandbox.counters[f"POST {TOKEN}"] == 179


@pytest.mark.parametrize("code", ["expired_token", "invalid_grant"])
def test_the_server_may_end_it_sooner(login: DeviceLogin, sandbox: Sandbox, code: str) -> None:
    invitation = login.begin()
    sandbox.fault(saying(400, error=code), path=TOKEN)
    assert login.finish(invitation) == Expired()


def test_asked_to_slow_down_it_does_for_good(
    login: DeviceLogin, sandbox: Sandbox, person: Person
) -> None:
    invitation = login.begin()
    sandbox.fault(saying(429, error="slow_down"), path=TOKEN)
    sandbox.fault(saying(400, error="slow_down"), path=TOKEN)
    person.after(5, lambda: sandbox.approve(invitation.user_code))
    assert admits(sandbox, login.finish(invitation))
    assert person.waits == [5, 10, 15, 15, 15]


PASSING: dict[str, Fault] = {
    "down": faults.Status(503),
    "limited": faults.Status(429),
    "unexpected": faults.Status(500),
    "closed": faults.Close(),
    "reset": faults.Reset(),
    "garbage": faults.Garbage(),
}


@pytest.mark.parametrize("kind", PASSING)
def test_trouble_in_between_makes_it_ask_less_often_and_go_on(
    login: DeviceLogin, sandbox: Sandbox, person: Person, kind: str
) -> None:
    invitation = login.begin()
    sandbox.approve(invitation.user_code)
    sandbox.fault(PASSING[kind], path=TOKEN, times=5)
    assert admits(sandbox, login.finish(invitation))
    assert person.waits == [5, 10, 20, 40, 60, 60]


FINAL: dict[str, Fault] = {
    "unknown client": saying(401, error="invalid_client"),
    "no error": saying(400),
    "a page": faults.Html(),
    "no token": saying(access_token=""),
    "a token that is none": saying(access_token="SECRET\r\nX: y", refresh_token="SECRET"),
    "no refresh token": saying(access_token="SECRET"),
    "a redirect": faults.Redirect(),
}


@pytest.mark.parametrize("kind", FINAL)
def test_what_will_not_pass_ends_it_without_showing_a_token(
    login: DeviceLogin, sandbox: Sandbox, kind: str
) -> None:
    invitation = login.begin()
    sandbox.fault(FINAL[kind], path=TOKEN)
    with pytest.raises(ServiceTrouble) as caught:
        login.finish(invitation)
    assert "SECRET" not in str(caught.value)
    assert invitation.device_code not in str(caught.value)


# Organizations


@pytest.mark.parametrize("count", [1, 2, 50, 51, 120])
def test_all_organizations_are_listed_page_by_page(connection: Connection, count: int) -> None:
    names = {f"id-{number}": f"Studio {number}" for number in range(count)}
    with Sandbox(check="none", organizations=names) as sandbox:
        found = organizations(connection, url=sandbox.url, access_token=sandbox.access_token)
    assert {one.id: one.name for one in found} == names


ORGANIZATIONS = "/v1/organization"


def test_odd_entries_are_left_out_and_harmless(connection: Connection, sandbox: Sandbox) -> None:
    entries = [
        {"id": "a", "name": "A"},
        {"id": "b"},
        {"id": "c", "name": "\x1b[31m"},
        {"id": ""},
        {"id": 7},
        {"id": "x\ny"},
        "d",
        None,
        {"id": "a", "name": "again"},
    ]
    sandbox.fault(saying(entries=entries, total="many"), path=ORGANIZATIONS)
    found = organizations(connection, url=sandbox.url, access_token="any")
    assert found == (Organization("a", "again"), Organization("b", "b"), Organization("c", "c"))


def test_a_list_without_end_is_ended(connection: Connection, sandbox: Sandbox) -> None:
    entries = [{"id": str(number)} for number in range(50)]
    sandbox.fault(saying(entries=entries, total=10**9), path=ORGANIZATIONS, times=None)
    assert len(organizations(connection, url=sandbox.url, access_token="any")) == 50
    assert sandbox.counters[f"GET {ORGANIZATIONS}"] == 20


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Status(401), LoginNeeded),
        (faults.Status(403), AccessDenied),
        (faults.Status(503), ServiceTrouble),
        (faults.Html(), ServiceTrouble),
        (saying(entries="none"), ServiceTrouble),
        (faults.Status(200, body=b"[]"), ServiceTrouble),
        (faults.Oversized(status=200), ServiceTrouble),
    ],
    ids=repr,
)
def test_a_list_that_is_none_is_an_error(
    connection: Connection, sandbox: Sandbox, fault: Fault, error: type[Exception]
) -> None:
    sandbox.fault(fault, path=ORGANIZATIONS)
    with pytest.raises(error):
        organizations(connection, url=sandbox.url, access_token=sandbox.access_token)


# The way out


def test_a_login_is_ended_at_the_server(connection: Connection, sandbox: Sandbox) -> None:
    for _ in range(2):  # what it does not know any more is no error
        revoke(
            connection,
            url=sandbox.url,
            client_id=CLIENT_ID,
            refresh_token=sandbox.new_grant().refresh_token,
        )
    first = sandbox.refresh_token
    revoke(connection, url=sandbox.url, client_id=CLIENT_ID, refresh_token=first)
    assert sandbox.refresh_token == ""


@pytest.mark.parametrize(
    "fault", [faults.Status(503), faults.Close(), faults.Status(401)], ids=repr
)
def test_a_login_that_could_not_be_ended_is_said(
    connection: Connection, sandbox: Sandbox, fault: Fault
) -> None:
    sandbox.fault(fault, path="/oauth/revoke")
    with pytest.raises(ServiceTrouble) as caught:
        revoke(connection, url=sandbox.url, client_id=CLIENT_ID, refresh_token="SECRET")
    assert "SECRET" not in str(caught.value)
