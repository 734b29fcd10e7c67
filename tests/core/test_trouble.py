"""What failures mean: whose they are, what is said, and when the file is tried again."""

import itertools
from collections.abc import Callable

import pytest
import structlog
from structlog.testing import LogCapture

from tests.core.factories import promote
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.conditions import Conditions
from watcher.disposition import Disposition
from watcher.errors import (
    AccessDenied,
    CertificateRefused,
    FileUnreadable,
    LoginNeeded,
    RecordsGone,
    RecordUnwritable,
    ServiceTrouble,
    ShareGone,
)
from watcher.gate import LONGEST_PROBE_SECONDS
from watcher.gates import Gates
from watcher.inspection import Image
from watcher.outcomes import AlreadyKnown, Gone, Held, NotSettled, Outcome, Rejected, Uploaded
from watcher.share import Share
from watcher.tally import Tally
from watcher.trouble import STUCK_SECONDS, Trouble

UPLOADED = Uploaded(Image("jpeg", 10, 10), "0" * 64, 1000)
DOWN = ServiceTrouble("it answered 503")


class Desk:
    """A disposition with all that is around it, on a clock that the test moves."""

    def __init__(self, *, patient: bool = True) -> None:
        self.now = 100.0
        self.log = LogCapture()
        logger = structlog.wrap_logger(None, processors=[self.log])
        self.share = Share("/srv/photos", organization="o")
        self.backlog = Backlog(clock=self.clock)
        self.gates = Gates(self.backlog, clock=self.clock, chance=lambda: 0.5)
        self.conditions = Conditions(logger)
        self.tally = Tally()
        self.disposition = Disposition(
            backlog=self.backlog,
            gates=self.gates,
            log=logger,
            conditions=self.conditions,
            tally=self.tally,
            trouble=Trouble(
                backlog=self.backlog,
                gates=self.gates,
                log=logger,
                conditions=self.conditions,
                tally=self.tally,
                patient=patient,
                chance=lambda: 0.5,
                clock=self.clock,
            ),
        )
        self.names = (f"{number}.jpg" for number in itertools.count())

    def clock(self) -> float:
        return self.now

    def take(self) -> Candidate:
        """A candidate as a worker has it."""
        self.backlog.put(self.share, next(self.names), Priority.BACKLOG, timeout=0)
        candidate = self.backlog.take()
        assert candidate is not None
        return candidate

    def take_admitted(self) -> Candidate:
        """One that got past the gate."""
        candidate = self.take()
        assert self.gates.admits(candidate)
        return candidate

    def fail(self, error: Exception) -> Candidate:
        candidate = self.take_admitted()
        self.disposition.failure(candidate, error)
        return candidate

    def end(self, candidate: Candidate, outcome: Outcome) -> None:
        self.disposition.outcome(candidate, outcome, 0.1)

    def said(self, event: str) -> list[str]:
        return [
            entry.get("condition") or entry.get("reason") or ""
            for entry in self.log.entries
            if entry["event"] == event
        ]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_one_failure_is_the_files_own_wait_and_no_condition(desk: Desk) -> None:
    candidate = desk.fail(DOWN)
    assert candidate.due == desk.now + 0.5
    assert desk.said("deferred") == ["service_trouble"]
    assert not desk.said("condition_raised")


def test_several_in_a_row_are_one_condition_and_hold_the_rest(desk: Desk) -> None:
    for _ in range(3):
        desk.fail(DOWN)
    assert desk.said("condition_raised") == ["service_unavailable"]
    late = desk.take()
    assert not desk.gates.admits(late)
    desk.end(late, Held())
    desk.gates.let_through()
    assert late.held is False
    assert desk.said("deferred") == ["service_trouble"] * 2


def test_a_probe_that_gets_through_ends_the_condition_and_frees_the_held(desk: Desk) -> None:
    for _ in range(3):
        desk.fail(DOWN)
    held = [desk.take() for _ in range(5)]
    for candidate in held:
        desk.end(candidate, Held())
    desk.now += LONGEST_PROBE_SECONDS
    freed: set[str] = set()
    while len(freed) < 5:
        desk.gates.let_through()
        probe = desk.backlog.take()
        assert probe is not None
        assert desk.gates.admits(probe)
        desk.end(probe, UPLOADED)
        freed.add(probe.path)
    assert desk.said("condition_cleared") == ["service_unavailable"]


@pytest.mark.parametrize(
    ("error", "condition"),
    [
        (LoginNeeded("ended"), "login_needed"),
        (AccessDenied("403"), "access_denied"),
        (CertificateRefused("self-signed"), "service_unavailable"),
    ],
)
def test_a_missing_token_right_or_trust_holds_everything_at_once(
    desk: Desk, error: Exception, condition: str
) -> None:
    desk.fail(error)
    assert desk.said("condition_raised") == [condition]
    assert not desk.gates.admits(desk.take())
    desk.now += LONGEST_PROBE_SECONDS
    probe = desk.take_admitted()
    desk.end(probe, UPLOADED)
    assert desk.said("condition_cleared") == [condition]
    assert not desk.said("failed")


def test_a_file_that_fails_while_others_pass_waits_ever_longer_for_itself(desk: Desk) -> None:
    poison = desk.take_admitted()
    waits = []
    for _ in range(16):
        desk.disposition.failure(poison, DOWN)
        assert poison.due is not None
        waits.append(poison.due - desk.now)
        desk.end(desk.take_admitted(), UPLOADED)
    assert waits[:4] == [0.5, 1, 2, 4]
    assert waits[-1] == 1800  # half of an hour: the chance is 0.5
    assert not desk.said("condition_raised")


def test_what_the_service_asks_for_is_kept_to(desk: Desk) -> None:
    candidate = desk.fail(ServiceTrouble("429", retry_after=77))
    assert candidate.due == desk.now + 77.5


@pytest.mark.parametrize("error", [ShareGone("stale"), RecordsGone("down")])
def test_a_share_that_is_gone_loses_its_candidates_to_the_next_scan(
    desk: Desk, error: Exception
) -> None:
    desk.fail(error)
    assert desk.said("condition_raised") == ["share_gone"]
    assert len(desk.backlog) == 0


def test_where_there_is_no_next_scan_a_file_of_a_share_that_is_gone_has_failed() -> None:
    desk = Desk(patient=False)
    desk.fail(ShareGone("stale"))
    assert desk.said("condition_raised") == desk.said("failed") == ["share_gone"]
    assert (len(desk.backlog), desk.tally.counts.failed) == (0, 1)


def test_a_file_that_cannot_be_sent_though_it_is_asked_for_is_no_outage(desk: Desk) -> None:
    candidate = desk.take_admitted()
    for _ in range(20):
        candidate.sent = 100
        desk.disposition.failure(candidate, DOWN)
        desk.now += 60
        promote(desk.backlog)
        assert desk.backlog.take() is candidate
    assert not desk.said("condition_raised")


def test_a_lone_file_that_cannot_even_be_asked_for_is_an_outage_after_a_minute(desk: Desk) -> None:
    candidate = desk.take_admitted()
    for _ in range(3):
        desk.disposition.failure(candidate, DOWN)
        desk.now += 30
        promote(desk.backlog)
        assert desk.backlog.take() is candidate
    assert not desk.said("condition_raised")
    desk.disposition.failure(candidate, DOWN)
    assert desk.said("condition_raised") == ["service_unavailable"]


@pytest.mark.parametrize(
    ("mirror", "error"), [(None, RecordUnwritable("full")), ("/srv/sums", RecordsGone("down"))]
)
def test_a_record_that_cannot_be_written_is_the_folders_condition(
    desk: Desk, mirror: str | None, error: Exception
) -> None:
    desk.share = Share("/srv/photos", mirror=mirror)
    candidate = desk.fail(error)
    desk.fail(error)
    assert desk.said("condition_raised") == ["sidecar_unwritable"]
    assert candidate.due is not None
    desk.end(desk.take_admitted(), UPLOADED)
    assert desk.said("condition_cleared") == ["sidecar_unwritable"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(FileUnreadable("EIO"), "unreadable"), (ZeroDivisionError("bug"), "internal_error")],
)
def test_a_file_that_cannot_be_read_is_said_once_and_tried_again(
    desk: Desk, error: Exception, reason: str
) -> None:
    candidate = desk.fail(error)
    for _ in range(5):
        desk.disposition.failure(candidate, error)
    assert desk.said("failed") == [reason]
    assert len(desk.backlog) == 1


@pytest.mark.parametrize("error", [RecordUnwritable("full"), FileUnreadable("EIO"), OSError("?")])
def test_once_gives_up_after_three_attempts(error: Exception) -> None:
    desk = Desk(patient=False)
    candidate = desk.fail(error)
    for _ in range(2):
        desk.disposition.failure(candidate, error)
    assert (desk.tally.counts.failed, len(desk.backlog)) == (1, 0)
    assert len(desk.said("failed")) == 1


def test_once_waits_for_the_service_as_long_as_anything_gets_through() -> None:
    desk = Desk(patient=False)
    candidate = desk.fail(DOWN)
    for _ in range(20):
        desk.now += STUCK_SECONDS - 1
        desk.end(desk.take_admitted(), UPLOADED)
        desk.disposition.failure(candidate, DOWN)
    assert desk.tally.counts.failed == 0
    desk.now += STUCK_SECONDS + 1
    desk.disposition.failure(candidate, DOWN)
    assert desk.tally.counts.failed == 1


@pytest.mark.parametrize(
    "end",
    [
        lambda desk, probe: desk.end(probe, Gone()),
        lambda desk, probe: desk.end(probe, NotSettled("quiet_time", 1)),
        lambda desk, probe: desk.disposition.failure(probe, FileUnreadable("EIO")),
    ],
)
def test_a_probe_that_never_asked_leaves_its_place(
    desk: Desk, end: Callable[[Desk, Candidate], None]
) -> None:
    desk.fail(LoginNeeded("ended"))
    desk.now += LONGEST_PROBE_SECONDS
    end(desk, desk.take_admitted())
    assert desk.gates.admits(desk.take())


def test_a_refusal_proves_that_the_service_is_there(desk: Desk) -> None:
    for _ in range(3):
        desk.fail(DOWN)
    desk.now += LONGEST_PROBE_SECONDS
    desk.end(desk.take_admitted(), Rejected("refused_by_service", "no"))
    assert desk.said("condition_cleared") == ["service_unavailable"]


@pytest.mark.parametrize("how", ["renamed", "equal_content"])
def test_what_was_not_asked_proves_nothing_about_the_service(desk: Desk, how: str) -> None:
    for _ in range(3):
        desk.fail(DOWN)
    known = AlreadyKnown(Image("jpeg", 1, 1), "0" * 64, 1, how=how)  # type: ignore[arg-type]
    desk.end(desk.take(), known)
    assert not desk.said("condition_cleared")
    assert how in desk.said("already_known")
