"""Trouble of the whole is said once when it begins and once when it ends."""

import threading
from typing import get_args

import pytest

from tests.core.factories import PATIENCE, Clock, Log
from watcher.conditions import REMEDIES, UNMET_SECONDS, Conditions, Name


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


def test_what_held_holds_on_under_a_new_configuration_and_ends_when_it_is_seen_to(
    conditions: Conditions, log: Log
) -> None:
    conditions.begin("share_gone", "/srv/photos", "it is not there")
    held = conditions.close()
    following = Conditions(log.logger)
    following.inherit(held)
    assert following.active == held
    following.begin("share_gone", "/srv/photos", "it is not there")
    assert log.events == ["condition_raised"]
    following.end("share_gone", "/srv/photos")
    assert log.events == ["condition_raised", "condition_cleared"]
    assert not following.active


def test_a_record_that_nobody_has_to_write_any_more_is_no_trouble(log: Log) -> None:
    clock = Clock()
    conditions = Conditions(log.logger, wall=clock.wall, clock=clock)
    for name in ("a", "b"):
        conditions.begin("sidecar_unwritable", f"/srv/photos/{name}", "no space left on device")
    conditions.begin("service_unavailable", "", "it answered 503")
    clock.advance(UNMET_SECONDS - 1)
    conditions.begin("sidecar_unwritable", "/srv/photos/b", "no space left on device")
    conditions.end_unmet()
    assert len(conditions.active) == 3
    clock.advance(1)
    for _ in range(3):
        conditions.end_unmet()
    assert [each.place for each in conditions.active] == ["/srv/photos/b", ""]
    assert [(entry["event"], entry["place"]) for entry in log.entries[3:]] == [
        ("condition_cleared", "/srv/photos/a")
    ]


def test_a_new_reason_under_a_new_configuration_is_said_and_is_the_same_condition(log: Log) -> None:
    clock = Clock()
    before, after = (Conditions(log.logger, wall=clock.wall, clock=clock) for _ in range(2))
    before.begin("service_unavailable", "", "the certificate is not trusted")
    (held,) = before.close()
    after.inherit((held,))
    clock.advance(5)
    for _ in range(2):
        after.begin("service_unavailable", "", "it answered 503")
    (now,) = after.active
    assert (now.reason, now.since) == ("it answered 503", held.since)
    assert now == held
    assert [entry["reason"] for entry in log.entries] == [
        "the certificate is not trusted",
        "it answered 503",
    ]


def test_whoever_comes_late_from_the_configuration_before_changes_nothing(
    conditions: Conditions, log: Log
) -> None:
    conditions.begin("share_hung", "/srv/photos", "no answer")
    conditions.close()
    conditions.begin("share_gone", "/srv/photos", "it is not there")
    conditions.end("share_hung", "/srv/photos")
    assert not conditions.active
    assert log.events == ["condition_raised"]
