"""What becomes of a file after each outcome: one event, one count, and its next place."""

from typing import Any

import pytest

from tests.core.factories import HASH
from tests.core.test_trouble import Desk
from watcher.disposition import LAST_RESORT_SECONDS
from watcher.errors import RecordUnwritable
from watcher.inspection import Image
from watcher.outcomes import (
    AlreadyKnown,
    Changed,
    Gone,
    Held,
    NotSettled,
    Outcome,
    Rehearsed,
    Rejected,
    Standing,
    Uploaded,
)
from watcher.tally import Counts
from watcher.trouble import Trouble

SMALL = Image("jpeg", 640, 480)
LARGE = Image("tiff", 5000, 300)
RAW = Rejected("raw", "a Nikon RAW file (NEF)")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def entries(desk: Desk) -> list[dict[str, Any]]:
    """What was said of files."""
    return [dict(entry) for entry in desk.log.entries if "condition" not in entry["event"]]


ENDS: list[tuple[Outcome, Counts, dict[str, Any] | None]] = [
    (
        Uploaded(SMALL, HASH, 1000),
        Counts(uploaded=1, bytes=1000),
        {"event": "uploaded", "sha256": HASH, "bytes": 1000, "format": "jpeg", "width": 640,
         "height": 480, "seconds": 0.1},
    ),
    (
        Uploaded(LARGE, HASH, 7),
        Counts(uploaded=1, bytes=7),
        {"event": "uploaded", "sha256": HASH, "bytes": 7, "format": "tiff", "width": 5000,
         "height": 300, "will_be_scaled_down": True, "seconds": 0.1},
    ),
    (
        AlreadyKnown(SMALL, HASH, 5),
        Counts(already_known=1, bytes=5),
        {"event": "already_known", "sha256": HASH, "bytes": 5, "format": "jpeg", "width": 640,
         "height": 480, "seconds": 0.1},
    ),
    (
        AlreadyKnown(SMALL, HASH, 5, how="renamed"),
        Counts(already_known=1, bytes=5),
        {"event": "already_known", "sha256": HASH, "bytes": 5, "format": "jpeg", "width": 640,
         "height": 480, "seconds": 0.1, "reason": "renamed"},
    ),
    (
        RAW,
        Counts(rejected=1),
        {"event": "rejected", "reason": "raw", "found": "a Nikon RAW file (NEF)"},
    ),
    (Standing(rejected=False), Counts(standing=1), None),
    (Standing(rejected=True), Counts(standing_rejected=1), None),
    (Gone(), Counts(), None),
    (
        Rehearsed(SMALL, 9),
        Counts(uploaded=1, bytes=9),
        {"event": "would_upload", "bytes": 9, "format": "jpeg", "width": 640, "height": 480},
    ),
    (
        Rehearsed(RAW, 9),
        Counts(rejected=1),
        {"event": "would_reject", "reason": "raw", "found": "a Nikon RAW file (NEF)"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("outcome", "counts", "said"), ENDS, ids=lambda each: type(each).__name__)
def test_an_end_is_one_event_and_one_count_and_the_backlog_is_done_with_it(
    desk: Desk, outcome: Outcome, counts: Counts, said: dict[str, Any] | None
) -> None:
    candidate = desk.take_admitted()
    desk.end(candidate, outcome)
    assert desk.tally.counts == counts
    assert len(desk.backlog) == 0
    if said is None:
        assert not entries(desk)
        return
    (entry,) = entries(desk)
    del entry["log_level"]
    assert entry == {"share": "/srv/photos", "path": candidate.path, **said}


@pytest.mark.parametrize("reason", ["quiet_time", "equal_content_under_way"])
def test_a_short_wait_is_the_normal_course_and_is_not_said(desk: Desk, reason: str) -> None:
    candidate = desk.take()
    desk.end(candidate, NotSettled(reason, 2.5))
    assert candidate.due == desk.now + 2.5
    assert candidate.attempts == 0
    assert not entries(desk)


def test_a_wait_that_may_last_is_said_once_for_each_reason(desk: Desk) -> None:
    candidate = desk.take()
    for reason in ("being_written", "being_written", "incomplete", "incomplete"):
        desk.end(candidate, NotSettled(reason, 1))
        desk.now += 1
        with desk.backlog._lock:
            desk.backlog._promote_due()
        assert desk.backlog.take() is candidate
    assert desk.said("deferred") == ["being_written", "incomplete"]
    assert desk.tally.counts == Counts()


def test_a_file_that_changed_starts_over_at_once(desk: Desk) -> None:
    candidate = desk.take()
    desk.end(candidate, Changed())
    assert candidate.due == desk.now
    assert not entries(desk)


def test_one_that_is_held_waits_in_the_backlog_for_its_organization(desk: Desk) -> None:
    desk.end(desk.take(), Held())
    assert len(desk.backlog) == 1
    assert not entries(desk)
    assert desk.backlog.release("another") == 0
    assert desk.backlog.release("o") == 1


def test_a_record_that_can_be_written_again_ends_the_folders_condition(desk: Desk) -> None:
    desk.fail(RecordUnwritable("cannot write 'a.jpg.sha256': No space left on device"))
    assert desk.conditions.holds("sidecar_unwritable", "/srv/photos")
    desk.end(desk.take_admitted(), Uploaded(SMALL, HASH, 1))
    assert not desk.conditions.holds("sidecar_unwritable", "/srv/photos")


def test_a_failure_that_cannot_be_judged_is_said_and_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_has_thought_of_it(*_: object) -> bool:
        raise KeyError("a.jpg")

    monkeypatch.setattr(Trouble, "is_final", nobody_has_thought_of_it)
    candidate = desk.take()
    desk.disposition.failure(candidate, RecordUnwritable("no matter why"))
    said, trace = entries(desk)
    assert (said["event"], said["reason"]) == ("failed", "internal_error")
    assert (said["path"], said["found"]) == (candidate.path, "KeyError: 'a.jpg'")
    assert trace["log_level"] == "debug"
    assert candidate.due == desk.now + LAST_RESORT_SECONDS
