"""From one configuration to the next: what holds on, and what is nobody's any more."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.core.factories import Clock, Log, a_share
from tests.core.test_overview import Nobody
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.conditions import Condition, Conditions, Name
from watcher.gates import Gates
from watcher.hangs import Hangs
from watcher.intake import Intake
from watcher.outcomes import Gone, Outcome
from watcher.pool import Pool
from watcher.scans import ScanLog
from watcher.share import Share
from watcher.shift import Shift
from watcher.tally import Tally


def _gone(_candidate: Candidate) -> Outcome:
    return Gone()


def a_shift(*shares: Share) -> Shift:
    """One that is never started."""
    clock, log = Clock(), Log().logger
    backlog, conditions = Backlog(clock=clock), Conditions(log, wall=clock.wall, clock=clock)
    pool = Pool(1, backlog=backlog, ways=lambda: nullcontext(_gone), verdicts=Nobody())
    scans = ScanLog(log, conditions)
    return Shift(
        intakes=tuple(
            Intake(share, backlog=backlog, report=scans.report, settle_seconds=0, clock=clock)
            for share in shares
        ),
        backlog=backlog,
        gates=Gates(backlog, clock=clock),
        conditions=conditions,
        tally=Tally(),
        scans=scans,
        pool=pool,
        hangs=Hangs(
            backlog=backlog,
            pool=pool,
            conditions=conditions,
            clock=clock,
            log=log,
            file_seconds=120.0,
        ),
        log=log,
        once=False,
        monitor=nullcontext(),
    )


def closed_for(share: Share) -> Gates:
    gates = Gates(Backlog(clock=Clock()), clock=Clock())
    gates.of(Candidate(share, "a.jpg", Priority.FRESH)).shut(probe=False)
    return gates


@pytest.mark.parametrize(
    ("name", "place", "holds_on"),
    [
        ("login_needed", "", True),
        ("service_unavailable", "", True),
        ("access_denied", "studio", True),
        ("access_denied", "", False),
        ("access_denied", "lab", False),
        ("share_gone", "{share}", True),
        ("share_gone", "{share}2", False),
        ("share_hung", "{share}", True),
        ("watch_limit", "{share}", True),
        ("watch_limit", "/elsewhere", False),
        ("sidecar_unwritable", "{share}", True),
        ("sidecar_unwritable", "{share}/a/b", True),
        ("sidecar_unwritable", "{share}2/a", False),
        ("sidecar_unwritable", "{mirrored}/a", False),
        ("sidecar_unwritable", "{mirror}/a", True),
    ],
)
def test_what_the_new_configuration_has_to_do_with_holds_on(
    tmp_path: Path, name: Name, place: str, *, holds_on: bool
) -> None:
    share = a_share(tmp_path / "share", organization="studio")
    mirrored = a_share(
        tmp_path / "mirrored", organization="studio", mirror=str(tmp_path / "mirror")
    )
    shift = a_shift(share, mirrored)
    where = place.format(share=share.root, mirrored=mirrored.root, mirror=mirrored.mirror)
    held = Condition(name, where, "because", 1.0)
    shift.take_over((held,), closed_for(share))
    assert shift.conditions.active == ((held,) if holds_on else ())
    assert shift.gates.any_closed()


def test_what_is_under_way_is_waited_for_though_no_other_file_will_get_through(
    tmp_path: Path,
) -> None:
    share = a_share(tmp_path, organization="studio")
    shift = a_shift(share)
    shift.backlog.put(share, "large.tif", Priority.BACKLOG, timeout=0)
    candidate = shift.backlog.take()
    assert candidate is not None
    shift.conditions.begin("access_denied", "studio", "403")
    assert not shift.nothing_left
    shift.backlog.hold(candidate, "studio")
    assert shift.nothing_left


def test_a_gate_that_nobody_has_to_pass_any_more_holds_nothing_up(tmp_path: Path) -> None:
    before = a_share(tmp_path / "before", organization="lab")
    shift = a_shift(a_share(tmp_path / "share", organization="studio"))
    shift.take_over((Condition("service_unavailable", "", "503", 1.0),), closed_for(before))
    assert not shift.gates.any_closed()
    assert not shift.conditions.active
