"""Trouble of the whole is said once when it begins and once when it ends."""

import threading
from typing import get_args

import pytest

from tests.core.factories import PATIENCE, Log
from watcher.conditions import REMEDIES, Conditions, Name


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def conditions(log: Log) -> Conditions:
    return Conditions(log.logger)


def test_it_is_said_once_however_often_it_is_met(conditions: Conditions, log: Log) -> None:
    for _ in range(5):
        conditions.begin("share_gone", "/srv/photos", "cannot enter /srv/photos")
    (entry,) = log.entries
    assert entry["event"] == "condition_raised"
    assert entry["log_level"] == "warning"
    assert (entry["condition"], entry["place"]) == ("share_gone", "/srv/photos")
    assert entry["reason"] == "cannot enter /srv/photos"
    assert entry["remedy"] == REMEDIES["share_gone"]


def test_its_end_is_said_once_and_only_if_it_began(conditions: Conditions, log: Log) -> None:
    conditions.end("share_gone", "/srv/photos")
    conditions.begin("service_unavailable", "", "it answered 503")
    conditions.end("share_gone", "/srv/photos")
    for _ in range(3):
        conditions.end("service_unavailable")
    assert log.events == ["condition_raised", "condition_cleared"]
    assert log.entries[-1]["condition"] == "service_unavailable"


def test_it_can_begin_again(conditions: Conditions, log: Log) -> None:
    for _ in range(2):
        conditions.begin("login_needed", "", "no token")
        conditions.end("login_needed")
    assert log.events == ["condition_raised", "condition_cleared"] * 2


def test_each_place_has_its_own(conditions: Conditions, log: Log) -> None:
    conditions.begin("share_gone", "/one", "x")
    conditions.begin("share_gone", "/two", "x")
    conditions.end("share_gone", "/one")
    assert conditions.holds("share_gone", "/two")
    assert not conditions.holds("share_gone", "/one")
    assert not conditions.holds("share_gone")
    assert not conditions.holds("watch_limit", "/two")
    assert len(log.entries) == 3


def test_every_condition_has_a_remedy_in_plain_words() -> None:
    assert set(REMEDIES) == set(get_args(Name))
    assert all(remedy.endswith(".") for remedy in REMEDIES.values())


def test_of_many_threads_that_meet_it_one_says_so(conditions: Conditions, log: Log) -> None:
    together = threading.Barrier(8, timeout=PATIENCE)

    def meet() -> None:
        together.wait()
        conditions.begin("service_unavailable", "", "x")
        together.wait()
        conditions.end("service_unavailable")

    threads = [threading.Thread(target=meet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert log.events == ["condition_raised", "condition_cleared"]


def test_after_its_end_none_begins(conditions: Conditions, log: Log) -> None:
    conditions.begin("share_gone", "/srv/photos", "cannot enter /srv/photos")
    conditions.close()
    conditions.begin("share_gone", "/srv/other", "a thread that came late")
    assert log.events == ["condition_raised", "condition_cleared"]
    assert conditions.active == ()
