"""How long to wait after a failure: bounded, and never all at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PROPERTY
from watcher.backoff import FIRST_SECONDS, LONGEST_SECONDS, delay

CHANCE = st.floats(0, 1, exclude_max=True)


@given(
    attempt=st.integers(0, 10_000),
    chance=CHANCE,
    longest=st.floats(0.1, 10_000),
    at_least=st.floats(0, 3600),
)
@PROPERTY
def test_a_wait_is_between_what_was_asked_for_and_that_and_the_longest(
    attempt: int, chance: float, longest: float, at_least: float
) -> None:
    seconds = delay(attempt, random=lambda: chance, longest=longest, at_least=at_least)
    assert at_least <= seconds <= at_least + longest
    assert seconds <= at_least + FIRST_SECONDS * 2.0 ** min(attempt, 1000)


@given(attempt=st.integers(0, 100), chance=CHANCE)
@PROPERTY
def test_it_does_not_become_shorter_from_one_failure_to_the_next(
    attempt: int, chance: float
) -> None:
    def seconds(number: int) -> float:
        return delay(number, random=lambda: chance)

    assert seconds(attempt) <= seconds(attempt + 1)


@given(attempt=st.integers(0, 20), one=CHANCE, other=CHANCE)
@PROPERTY
def test_those_that_failed_together_are_spread_over_the_whole_time(
    attempt: int, one: float, other: float
) -> None:
    ceiling = min(LONGEST_SECONDS, 2.0**attempt)
    apart = delay(attempt, random=lambda: one) - delay(attempt, random=lambda: other)
    assert apart == pytest.approx((one - other) * ceiling, abs=1e-6)
