"""The gate: an outage costs the service little, recovery does not run it over."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.factories import Clock, a_candidate, a_share
from watcher.backlog import Backlog
from watcher.gate import (
    ALONE,
    ALONE_SECONDS,
    FORGOTTEN_SECONDS,
    IN_A_ROW,
    LONGEST_PROBE_SECONDS,
    Gate,
)
from watcher.gates import Gates


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def gate_at(time: Time, chance: float = 0.5) -> Gate:
    return Gate(clock=time, chance=lambda: chance)


def closed_gate(time: Time, chance: float = 0.5) -> Gate:
    gate = gate_at(time, chance)
    for who in range(IN_A_ROW):
        gate.failed(who, probe=False)
    return gate


def test_one_file_that_fails_again_and_again_within_a_minute_does_not_close_it() -> None:
    gate = gate_at(Time())
    for _ in range(50):
        gate.failed("the same", probe=False)
        assert gate.admits() == "everybody"


def test_one_file_that_fails_for_a_minute_while_nothing_passes_closes_it() -> None:
    time = Time()
    gate = gate_at(time)
    for _ in range(ALONE - 1):
        gate.failed("the same", probe=False)
        time.now += ALONE_SECONDS
    assert gate.admits() == "everybody"  # too few
    gate.failed("the same", probe=False)
    assert gate.admits() == "nobody"


def test_failures_long_ago_are_none_in_a_row() -> None:
    time = Time()
    gate = gate_at(time)
    for _ in range(2 * ALONE):
        gate.failed("the same", probe=False)
        time.now += FORGOTTEN_SECONDS + 1
    assert gate.state == "open"


def test_what_fails_while_it_is_sent_says_nothing_of_the_service() -> None:
    time = Time()
    gate = gate_at(time)
    for _ in range(2 * ALONE):
        gate.failed("the same", probe=False, sending=True)
        time.now += ALONE_SECONDS
    assert gate.state == "open"


def test_a_file_that_keeps_failing_while_others_pass_does_not_close_it() -> None:
    time = Time()
    gate = gate_at(time)
    for _ in range(50):
        gate.failed("the same", probe=False)
        time.now += ALONE_SECONDS
        gate.passed(probe=False)
    assert gate.state == "open"


def test_different_files_that_fail_in_a_row_close_it() -> None:
    assert closed_gate(Time()).admits() == "nobody"


def test_a_success_in_between_keeps_it_open() -> None:
    gate = gate_at(Time())
    for who in range(30):
        gate.failed(who, probe=False)
        gate.failed(who + 100, probe=False)
        gate.passed(probe=False)
    assert gate.state == "open"


def test_a_missing_token_shuts_it_at_once() -> None:
    gate = gate_at(Time())
    gate.shut(probe=False)
    assert gate.admits() == "nobody"


def test_one_probe_at_a_time_while_it_is_closed() -> None:
    time = Time()
    gate = closed_gate(time)
    time.now += LONGEST_PROBE_SECONDS
    assert [gate.admits() for _ in range(5)] == ["probe", *["nobody"] * 4]


def test_a_probe_that_was_not_used_leaves_its_place_to_another() -> None:
    time = Time()
    gate = closed_gate(time)
    time.now += LONGEST_PROBE_SECONDS
    assert gate.admits() == "probe"
    gate.unused()
    assert gate.admits() == "probe"


def test_what_the_service_asks_for_is_kept_to() -> None:
    time = Time()
    gate = closed_gate(time)
    time.now += LONGEST_PROBE_SECONDS
    assert gate.admits() == "probe"
    gate.failed("probe", probe=True, at_least=3600.0)
    time.now += 3600.0 - 1
    assert gate.admits() == "nobody"
    time.now += 1
    assert gate.admits() == "probe"


def test_recovery_opens_step_by_step() -> None:
    time = Time()
    gate = closed_gate(time)
    time.now += LONGEST_PROBE_SECONDS
    assert gate.admits() == "probe"
    gate.passed(probe=True)
    assert (gate.state, gate.places()) == ("recovering", 2)
    assert [gate.admits() for _ in range(3)] == ["probe", "probe", "nobody"]
    gate.passed(probe=True)
    assert gate.places() == 2
    gate.nobody_is_held()
    assert (gate.state, gate.closed_seconds) == ("open", 0.0)


@settings(max_examples=10)  # each is 36,000 questions
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=200))
def test_an_hour_of_outage_costs_a_few_probes_a_minute(chances: list[float]) -> None:
    time = Time()
    draw = iter(chances * 1000)
    gate = Gate(clock=time, chance=lambda: next(draw))
    for who in range(IN_A_ROW):
        gate.failed(who, probe=False)
    probes = 0
    for _ in range(36_000):
        time.now += 0.1
        if gate.admits() == "probe":
            probes += 1
            gate.failed(f"probe {probes}", probe=True)
    assert probes <= 6 + 3600 / (LONGEST_PROBE_SECONDS / 2)
    assert probes >= 3600 / LONGEST_PROBE_SECONDS - 1


class Outage(RuleBasedStateMachine):
    """Files come and go while the service is up or down; the gate never wedges."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.gate = gate_at(self.time)
        self.up = True
        self.asking: list[tuple[int, bool]] = []
        self.number = 0

    @rule(seconds=st.floats(0.01, 60))
    def time_passes(self, seconds: float) -> None:
        self.time.now += seconds

    @rule(up=st.booleans())
    def service_changes(self, up: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        self.up = up

    @rule()
    def a_file_wants_to_ask(self) -> None:
        answer = self.gate.admits()
        if answer != "nobody":
            self.number += 1
            self.asking.append((self.number, answer == "probe"))

    @precondition(lambda self: self.asking)
    @rule(used=st.booleans())
    def a_file_is_answered(self, used: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        who, probe = self.asking.pop(0)
        if probe and not used:
            self.gate.unused()
        elif self.up:
            self.gate.passed(probe=probe)
        else:
            self.gate.failed(who, probe=probe)

    @rule()
    def nobody_is_held(self) -> None:
        self.gate.nobody_is_held()

    @invariant()
    def only_one_probe_in_a_closed_gate(self) -> None:
        if self.gate.state == "closed":
            assert self.gate.places() <= 1

    def teardown(self) -> None:
        """Whatever happened, when the service is back everybody gets through in the end."""
        self.up = True
        for who, probe in self.asking:
            self.gate.failed(who, probe=probe)
        for _ in range(100):
            self.time.now += LONGEST_PROBE_SECONDS
            answer = self.gate.admits()
            if answer != "nobody":
                self.gate.passed(probe=answer == "probe")
        assert self.gate.admits() != "nobody"
        self.gate.nobody_is_held()
        assert self.gate.state == "open"


TestOutage = Outage.TestCase


def test_a_probe_that_a_dead_file_server_holds_is_given_up_once(tmp_path: Path) -> None:
    backlog = Backlog(clock=Clock())
    clock = Clock()
    gates = Gates(backlog, clock=clock, chance=lambda: 0.0)
    candidate = a_candidate(backlog, a_share(tmp_path / "share"))
    gate = gates.of(candidate)
    gate.shut(probe=False)
    clock.advance(3600)
    assert gates.admits(candidate)
    assert not gate.places()
    gates.abandon(candidate)
    assert gate.places() == 1
    gate.unused()  # the worker was just coming back
    assert gate.places() == 1
