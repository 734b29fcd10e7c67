"""Equal content in flight: one sends it, whoever else comes by that knows."""

import threading
from functools import partial

import pytest

from tests.core.factories import HASH, OTHER_HASH, PATIENCE, Clock, ended, in_thread, wait_until
from watcher.claims import LATEST_SECONDS, REMEMBERED_SECONDS, SOONEST_SECONDS, Claims


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def claims(clock: Clock) -> Claims:
    return Claims(clock)


def test_one_may_send_and_the_others_are_told_until_he_is_through(claims: Claims) -> None:
    with claims.claim(HASH, "studio") as first:
        assert first == "mine"
        for _ in range(2):
            with claims.claim(HASH, "studio") as second:
                assert second == "taken"
    with claims.claim(HASH, "studio") as third:
        assert third == "mine"


def test_other_content_and_other_organizations_do_not_matter(claims: Claims) -> None:
    with (
        claims.claim(HASH, "studio"),
        claims.claim(HASH, "other") as by_organization,
        claims.claim(OTHER_HASH, "studio") as by_content,
    ):
        assert (by_organization, by_content) == ("mine", "mine")


def test_a_claim_ends_with_a_failure(claims: Claims) -> None:
    with pytest.raises(RuntimeError), claims.claim(HASH, ""):
        raise RuntimeError
    with claims.claim(HASH, "") as again:
        assert again == "mine"


def test_what_the_service_just_confirmed_need_not_be_asked_for_a_while(
    claims: Claims, clock: Clock
) -> None:
    with claims.claim(HASH, ""):
        claims.done(HASH, "")
    clock.advance(REMEMBERED_SECONDS / 2)
    claims.done(OTHER_HASH, "")
    with claims.claim(HASH, "") as soon, claims.claim(HASH, "other") as elsewhere:
        assert (soon, elsewhere) == ("done", "mine")
    clock.advance(REMEMBERED_SECONDS / 2)
    with claims.claim(HASH, "") as late, claims.claim(OTHER_HASH, "") as other:
        assert (late, other) == ("mine", "done")


def test_a_confirmation_is_as_old_as_the_last_one(claims: Claims, clock: Clock) -> None:
    claims.done(HASH, "")
    claims.done(OTHER_HASH, "")
    clock.advance(REMEMBERED_SECONDS - 1)
    claims.done(HASH, "")
    clock.advance(2)
    with claims.claim(OTHER_HASH, "") as other, claims.claim(HASH, "") as renewed:
        assert (other, renewed) == ("mine", "done")


def test_of_many_threads_exactly_one_may_send(claims: Claims) -> None:
    got: list[str] = []
    together = threading.Barrier(8, timeout=PATIENCE)

    def ask() -> None:
        together.wait()
        with claims.claim(HASH, "") as claim:
            got.append(claim)
            together.wait()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(got) == ["mine"] + ["taken"] * 7


@pytest.fixture
def patient(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> Claims:
    monkeypatch.setattr("watcher.claims.WAIT_SECONDS", PATIENCE)
    return claims


def ask(claims: Claims, got: list[str]) -> None:
    with claims.claim(HASH, "") as claim:
        got.append(claim)


def one_that_waits(claims: Claims, got: list[str]) -> threading.Thread:
    waiting = in_thread(partial(ask, claims, got))
    wait_until(lambda: bool(claims._awaited))
    return waiting


def test_the_first_who_comes_meanwhile_waits_a_moment_and_need_not_come_again(
    patient: Claims,
) -> None:
    got: list[str] = []
    with patient.claim(HASH, ""):
        first = one_that_waits(patient, got)
        ask(patient, got)  # at once: one waits already
        assert got == ["taken"]
        patient.done(HASH, "")
    assert ended(first)
    assert got == ["taken", "done"]


def test_who_waits_for_one_that_is_abandoned_may_send_itself_and_that_one_nothing_more(
    patient: Claims,
) -> None:
    got: list[str] = []
    with patient.claim(HASH, ""):
        waiting = one_that_waits(patient, got)
        patient.abandon(threading.current_thread())
        assert ended(waiting)
        ask(patient, got)
    ask(patient, got)
    assert got == ["mine", "taken", "taken"]


def test_content_that_is_sent_for_long_is_come_back_for_ever_more_seldom(
    claims: Claims, clock: Clock
) -> None:
    with claims.claim(HASH, "studio"):
        waits = []
        for _ in range(12):
            waits.append(claims.patience(HASH, "studio"))
            clock.advance(waits[-1])
        assert waits == sorted(waits)
        assert (waits[0], waits[-1]) == (SOONEST_SECONDS, LATEST_SECONDS)
    assert claims.patience(HASH, "studio") == SOONEST_SECONDS
