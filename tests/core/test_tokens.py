"""Access tokens, by a real authorization server on loopback."""

import json
import os
import stat
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.core.factories import PATIENCE, Clock, a_connection, made_read_only
from watcher.errors import ConfigurationError, LoginNeeded, ServiceTrouble
from watcher.sandbox import CLIENT_ID, Fault, OAuthRules, Sandbox, faults
from watcher.service import Access
from watcher.token_store import Stored, TokenStore
from watcher.tokens import GivenToken, RefreshedTokens

DAY = 24 * 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[False, True], ids=["same refresh token", "rotated refresh token"])
def service(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Sandbox]:
    rules = OAuthRules(rotate_refresh_tokens=request.param)
    with Sandbox(check="none", oauth=rules, clock=clock) as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def start(
    service: Sandbox, state: Path, clock: Clock
) -> Iterator[Callable[[str | None], RefreshedTokens]]:
    """Starts the daemon's side with the refresh token that the administrator gives."""
    with ExitStack() as connections:

        def begin(given: str | None) -> RefreshedTokens:
            return RefreshedTokens(
                connections.enter_context(a_connection()),
                url=service.url,
                client_id=CLIENT_ID,
                store=TokenStore(str(state)),
                given=given,
                wall=clock.wall,
            )

        yield begin


Start = Callable[[str | None], RefreshedTokens]


def stored(state: Path) -> Stored:
    found = TokenStore(str(state)).read()
    assert found is not None
    return found


def works(service: Sandbox, token: str) -> bool:
    return service._grants.admits(token)


def refreshes(service: Sandbox) -> int:
    return service.counters["POST /oauth/token 200"]


# Given, or none


def test_an_access_token_that_was_given_is_used_as_it_is() -> None:
    tokens = GivenToken("given")
    assert tokens.current().token == "given"
    with pytest.raises(LoginNeeded, match="give a new one"):
        tokens.renewed("given")
    assert "given" not in repr(tokens)


def test_without_any_token_a_login_is_needed_and_the_remedy_is_said(start: Start) -> None:
    for given in (None, ""):
        tokens = start(given)
        for ask in (tokens.current, lambda tokens=tokens: tokens.renewed("x")):
            with pytest.raises(LoginNeeded, match="AUTORETOUCH_REFRESH_TOKEN"):
                ask()


# Refresh


def test_a_token_is_got_once_and_used_until_shortly_before_its_end(
    start: Start, service: Sandbox, clock: Clock
) -> None:
    tokens = start(service.refresh_token)
    assert not service.requests  # nothing is asked before it is needed
    first = tokens.current().token
    assert works(service, first)
    clock.advance(DAY - 400)
    assert tokens.current().token == first
    assert refreshes(service) == 1
    clock.advance(200)
    second = tokens.current().token
    assert second != first
    assert works(service, second)
    assert refreshes(service) == 2


def test_a_token_that_is_refused_early_is_replaced(start: Start, service: Sandbox) -> None:
    tokens = start(service.refresh_token)
    first = tokens.current().token
    service.expire_access_tokens()
    second = tokens.renewed(first).token
    assert works(service, second)
    assert not works(service, first)
    assert tokens.current().token == second


def test_many_workers_with_a_refused_token_refresh_it_once(start: Start, service: Sandbox) -> None:
    tokens = start(service.refresh_token)
    refused = tokens.current().token
    service.expire_access_tokens()
    got: list[str] = []
    together = threading.Barrier(16, timeout=PATIENCE)

    def work() -> None:
        together.wait()
        got.append(tokens.renewed(refused).token)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(got) == 16
    assert len(set(got)) == 1
    assert refreshes(service) == 2


def test_after_a_restart_the_stored_token_is_used(
    start: Start, service: Sandbox, clock: Clock, state: Path
) -> None:
    given = service.refresh_token
    first = start(given).current().token
    assert start(given).current().token == first
    assert start(None).current().token == first  # given once is enough
    assert refreshes(service) == 1
    clock.advance(DAY)
    assert works(service, start(given).current().token)  # though `given` may be dead by rotation
    assert stored(state).refresh_token == service.refresh_token


def test_a_new_refresh_token_from_the_administrator_replaces_what_is_stored(
    start: Start, service: Sandbox, state: Path
) -> None:
    old = start(service.refresh_token)
    old.current()
    service.revoke_refresh_tokens()
    service.expire_access_tokens()
    fresh = service.new_grant().refresh_token
    tokens = start(fresh)
    assert works(service, tokens.current().token)
    successor = stored(state).refresh_token
    assert start(fresh).current().token == tokens.current().token
    assert stored(state).refresh_token == successor


def test_a_refresh_token_that_was_revoked_means_login(start: Start, service: Sandbox) -> None:
    tokens = start(service.refresh_token)
    refused = tokens.current().token
    service.revoke_refresh_tokens()
    service.expire_access_tokens()
    for _ in range(2):
        with pytest.raises(LoginNeeded, match="ended or was revoked"):
            tokens.renewed(refused)


def test_a_lifetime_shorter_than_the_margin_still_serves_more_than_one_request(
    start: Start, service: Sandbox, clock: Clock
) -> None:
    answer = {"access_token": "short", "expires_in": 60, "token_type": "Bearer"}
    service.fault(answering(answer), path="/oauth/token", times=None)
    tokens = start(service.refresh_token)
    for _ in range(5):
        assert tokens.current().token == "short"
    assert service.counters["POST /oauth/token 200"] == 1
    clock.advance(60)
    tokens.current()
    assert service.counters["POST /oauth/token 200"] == 2


# Trouble


def answering(said: Any, status: int = 200) -> faults.Status:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return faults.Status(status, body=body)


TROUBLES: dict[str, Fault] = {
    "down": faults.Status(503),
    "limited": faults.Status(429),
    "unknown client": answering({"error": "invalid_client"}, 401),
    "a page": faults.Html(),
    "nothing": answering(b""),
    "a list": answering(["access_token"]),
    "a number": answering({"access_token": 7}),
    "an empty one": answering({"access_token": ""}),
    "null": answering({"access_token": None}),
    "deep": answering(b"[" * 60_000),
    "two lines": answering({"access_token": "SECRET\r\nX: y"}),
    "a blank": answering({"access_token": "SECRET x"}),
    "not ASCII": answering({"access_token": "SECRET\u00fc"}),
    "a redirect": faults.Redirect(),
    "closed": faults.Close(),
    "garbage": faults.Garbage(),
    "compressed": faults.Gzipped(),
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_an_auth_server_in_trouble_is_asked_again_and_nothing_is_lost(
    start: Start, service: Sandbox, kind: str
) -> None:
    tokens = start(service.refresh_token)
    service.fault(TROUBLES[kind], path="/oauth/token")
    with pytest.raises(ServiceTrouble) as caught:
        tokens.current()
    shown = "".join(traceback.format_exception(caught.value))
    assert "SECRET" not in shown
    assert service.refresh_token not in shown


def test_a_service_that_is_down_and_comes_back_is_used_again(
    start: Start, service: Sandbox
) -> None:
    tokens = start(service.refresh_token)
    service.stop()
    with pytest.raises(ServiceTrouble, match="cannot connect"):
        tokens.current()
    service.start()
    assert works(service, tokens.current().token)


@pytest.mark.parametrize("lasts", [None, "soon", -5, 0, True])
def test_an_odd_lifetime_does_not_matter(start: Start, service: Sandbox, lasts: Any) -> None:
    answer = {"access_token": "token", "expires_in": lasts}
    service.fault(answering(answer), path="/oauth/token")
    assert start(service.refresh_token).current().token == "token"


# The store


def test_the_store_is_for_its_owner_alone_and_whole(
    start: Start, service: Sandbox, state: Path
) -> None:
    umask = os.umask(0)
    try:
        start(service.refresh_token).current()
    finally:
        os.umask(umask)
    (file,) = state.iterdir()
    assert file.name == "token.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_no_token_is_in_a_repr(start: Start, service: Sandbox, state: Path) -> None:
    tokens = start(service.refresh_token)
    access = tokens.current().token
    for thing in (tokens, stored(state), TokenStore(str(state))):
        assert access not in repr(thing)
        assert service.refresh_token not in repr(thing)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o777])
def test_a_store_that_others_can_read_is_refused(start: Start, state: Path, mode: int) -> None:
    TokenStore(str(state)).write(Stored("refresh"))
    (state / "token.json").chmod(mode)
    with pytest.raises(ConfigurationError, match=r"others can read it .*chmod 600"):
        start(None)


CORRUPT = {
    "empty": b"",
    "cut": b'{"refresh_token": "SECR',
    "no JSON": b"SECRET",
    "not UTF-8": b'{"refresh_token": "SECRET\xff"}',
    "a list": b'["SECRET"]',
    "a text": b'"SECRET"',
    "too little": b'{"access_token": "SECRET"}',
    "too much": b'{"refresh_token": "SECRET", "other": 1}',
    "a number": b'{"refresh_token": 5}',
    "null": b'{"refresh_token": null}',
    "odd end": b'{"refresh_token": "SECRET", "expires_at": "SECRET"}',
    "odd access token": b'{"refresh_token": "SECRET", "access_token": "SECRET\\r\\n"}',
    "no access token": b'{"refresh_token": "SECRET", "access_token": 5}',
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_a_store_that_cannot_be_understood_is_said_so_without_showing_it(
    start: Start, state: Path, kind: str
) -> None:
    TokenStore(str(state)).write(Stored("refresh"))
    (state / "token.json").write_bytes(CORRUPT[kind])
    with pytest.raises(ConfigurationError, match="Delete it and sign in again") as caught:
        start(None)
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert "SECRET" not in shown


def test_a_store_is_never_read_through_a_link(start: Start, state: Path, tmp_path: Path) -> None:
    TokenStore(str(tmp_path / "other")).write(Stored("refresh"))
    state.mkdir()
    (state / "token.json").symlink_to(tmp_path / "other" / "token.json")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        start(None)


def test_a_write_that_fails_leaves_the_old_store_and_nothing_else(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TokenStore(str(state))
    store.write(Stored("old"))

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        store.write(Stored("new"))
    assert stored(state).refresh_token == "old"
    assert [path.name for path in state.iterdir()] == ["token.json"]


def test_a_state_directory_that_cannot_be_written_to_holds_only_what_could_be_lost(
    service: Sandbox, tmp_path: Path, clock: Clock
) -> None:
    rotated = service._grants.rules.rotate_refresh_tokens
    with (
        made_read_only(tmp_path / "state", lambda _: None) as state,
        a_connection() as connection,
    ):
        tokens = RefreshedTokens(
            connection,
            url=service.url,
            client_id=CLIENT_ID,
            store=TokenStore(str(state)),
            given=service.refresh_token,
            wall=clock.wall,
        )
        for _ in range(2):
            if rotated:  # the old one is dead, so the new one has to be safe before it is used
                with pytest.raises(ServiceTrouble, match="cannot be stored"):
                    tokens.current()
            else:
                assert works(service, tokens.current().token)
        assert refreshes(service) == 1


def test_a_refresh_token_is_not_spent_while_there_is_no_room_for_its_successor(
    start: Start, service: Sandbox, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held in memory alone, it would be lost with the process, and the login with it."""
    tokens = start(service.refresh_token)
    token, asked = tokens.current().token, refreshes(service)

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail)
        for _ in range(2):
            with pytest.raises(ServiceTrouble, match=r"cannot be stored: No space left"):
                tokens.renewed(token)
    assert refreshes(service) == asked
    assert [path.name for path in state.iterdir()] == ["token.json"]
    after_restart = start(service.refresh_token)
    assert works(service, after_restart.renewed(token).token)


# Another process: login, logout, another daemon


def sign_in(service: Sandbox, state: Path, clock: Clock, **more: Any) -> str:
    """What `login` leaves; the access token."""
    pair = service.new_grant()
    store = TokenStore(str(state))
    before = store.read()
    seed = before.seed if before else ""
    store.write(
        Stored(pair.refresh_token, pair.access_token, clock.wall() + DAY, seed=seed, **more)
    )
    return pair.access_token


def test_a_login_is_noticed_while_running(
    start: Start, service: Sandbox, state: Path, clock: Clock
) -> None:
    tokens = start(None)
    with pytest.raises(LoginNeeded):
        tokens.current()
    token = sign_in(service, state, clock, organization="chosen")
    assert tokens.current() == Access(token, "chosen")
    another = sign_in(service, state, clock, organization="other")
    assert tokens.organization == "other"
    assert tokens.current() == Access(another, "other")  # though the first was still good
    assert not service.requests


def test_a_login_mends_a_refresh_token_that_was_revoked(
    start: Start, service: Sandbox, state: Path, clock: Clock
) -> None:
    given = service.refresh_token
    tokens = start(given)
    service.revoke_refresh_tokens()
    with pytest.raises(LoginNeeded):
        tokens.current()
    token = sign_in(service, state, clock)
    assert tokens.current().token == token
    assert start(given).current().token == token  # the one given, seen before, does not come back


def test_a_token_that_is_given_later_replaces_a_login(
    start: Start, service: Sandbox, state: Path, clock: Clock
) -> None:
    old = sign_in(service, state, clock, organization="chosen")
    access = start(service.refresh_token).current()
    assert access.token != old
    assert access.organization == ""


def test_the_organization_stays_with_a_login_that_is_renewed(
    start: Start, service: Sandbox, state: Path, clock: Clock
) -> None:
    first = sign_in(service, state, clock, organization="chosen")
    clock.advance(DAY)
    tokens = start(None)
    assert tokens.current().organization == "chosen"
    assert tokens.current().token != first
    assert stored(state).organization == "chosen"


def test_a_logout_is_noticed_while_running(
    start: Start, service: Sandbox, state: Path, clock: Clock
) -> None:
    sign_in(service, state, clock)
    tokens = start(None)
    tokens.current()
    TokenStore(str(state)).remove()
    with pytest.raises(LoginNeeded, match="sign in with `autoretouch-watcher login`"):
        tokens.current()


@pytest.mark.parametrize("damage", ["chmod", "garbage"])
def test_a_store_that_spoils_while_running_needs_a_login_until_it_is_mended(
    start: Start, service: Sandbox, state: Path, clock: Clock, damage: str
) -> None:
    token = sign_in(service, state, clock)
    tokens = start(None)
    tokens.current()
    file = state / "token.json"
    good = file.read_bytes()
    if damage == "chmod":
        file.chmod(0o644)
    else:
        file.write_bytes(b"garbage")
    for _ in range(2):
        with pytest.raises(LoginNeeded, match=r"token\.json: "):
            tokens.current()
    file.chmod(0o600)
    file.write_bytes(good)
    assert tokens.current().token == token


def test_two_processes_renew_once_between_them(
    start: Start, service: Sandbox, clock: Clock
) -> None:
    """With rotation, the second to show the same refresh token would end the login of both."""
    given = service.refresh_token
    ours, theirs = start(given), start(given)
    ours.current()
    theirs.current()
    for _ in range(3):
        clock.advance(DAY)
        assert ours.current() == theirs.current()
    assert refreshes(service) == 4


def all_at_once(asks: list[Callable[[], Access]]) -> list[Access]:
    with ThreadPoolExecutor(len(asks)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(ask) for ask in asks]]


def test_processes_that_renew_at_the_same_moment_do_not_fight(
    start: Start, service: Sandbox, clock: Clock
) -> None:
    given = service.refresh_token
    daemons = [start(given) for _ in range(6)]
    for _ in range(3):
        clock.advance(DAY)
        got = all_at_once([one.current for one in daemons])
        assert len(got) == 6
        assert len(set(got)) == 1
    assert refreshes(service) == 3


def test_a_process_that_keeps_the_lock_is_trouble_and_not_the_end(
    service: Sandbox, state: Path, clock: Clock
) -> None:
    waited: list[float] = []
    store = TokenStore(str(state), wait=waited.append)
    with a_connection() as connection, TokenStore(str(state)).held():
        tokens = RefreshedTokens(
            connection,
            url=service.url,
            client_id=CLIENT_ID,
            store=store,
            given=service.refresh_token,
            wall=clock.wall,
        )
        with pytest.raises(ServiceTrouble, match="another process is busy"):
            tokens.current()
        assert 10 <= sum(waited) <= 60
    assert not service.requests


# Once for all workers, in trouble too


class CountedLock:
    """A lock that tells how many came to it."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._told = told

    def __enter__(self) -> None:
        self._told()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_workers_that_stand_in_line_share_a_failure(start: Start, service: Sandbox) -> None:
    """Else a server that takes a minute to fail would keep 32 workers for half an hour."""
    tokens = start(service.refresh_token)
    came = threading.Semaphore(0)
    tokens._lock = CountedLock(came.release)  # type: ignore[assignment]
    all_here = threading.Event()

    def fail_when_all_stand_in_line(exchange: Any) -> None:
        all_here.wait(PATIENCE)
        faults.Status(503, headers={"Retry-After": "7"})(exchange)

    service.fault(fail_when_all_stand_in_line, path="/oauth/token", times=None)
    caught: list[ServiceTrouble] = []

    def work() -> None:
        try:
            tokens.current()
        except ServiceTrouble as error:
            caught.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert came.acquire(timeout=PATIENCE)
    all_here.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(caught) == len(set(map(id, caught))) == 8
    assert service.counters["POST /oauth/token"] == 1


def test_a_refresh_token_that_was_refused_is_shown_again_only_after_a_minute(
    start: Start, service: Sandbox, clock: Clock
) -> None:
    tokens = start(service.refresh_token)
    refused = faults.Status(403, body=b'{"error": "invalid_grant"}')
    service.fault(refused, path="/oauth/token")
    for _ in range(5):
        with pytest.raises(LoginNeeded):
            tokens.current()
        clock.advance(10)
    assert service.counters["POST /oauth/token"] == 1
    clock.advance(10)
    assert works(service, tokens.current().token)  # the server had been wrong


@pytest.mark.parametrize("seconds", [-3 * 365 * DAY, 3 * 365 * DAY])
def test_a_clock_that_jumps_costs_a_refresh_at_most(
    start: Start, service: Sandbox, clock: Clock, seconds: float
) -> None:
    tokens = start(service.refresh_token)
    first = tokens.current().token
    clock.wall_ns += int(seconds * 1e9)
    service.expire_access_tokens()
    assert works(service, tokens.renewed(first).token)
    assert refreshes(service) == 2


# On the disk before it is used


def test_a_rotated_refresh_token_is_on_the_disk_before_its_access_token_is_used(
    start: Start, service: Sandbox, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = start(service.refresh_token)
    tokens.current()
    before = service.refresh_token
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noting_fsync(fd: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        steps.append(f"fsync {kind}")
        fsync(fd)

    def noting_rename(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "rename", noting_rename)
    token = tokens.renewed(tokens.current().token).token
    tried, *written = steps  # first that there is room for it
    assert tried == "fsync file"
    assert written == ["fsync file", "rename", "fsync folder"]
    assert stored(state).access_token == token
    assert stored(state).refresh_token == service.refresh_token
    assert (before != service.refresh_token) is service._grants.rules.rotate_refresh_tokens


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_login_by_root_can_be_read_by_the_services_user(state: Path) -> None:
    state.mkdir()
    os.chown(state, 1234, 2345)
    TokenStore(str(state)).write(Stored("refresh"))
    status = (state / "token.json").stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)
    assert stat.S_IMODE(status.st_mode) == 0o600
