"""The bandwidth cap, on a clock of its own."""

from hypothesis import given
from hypothesis import strategies as st

from watcher.pace import MAX_PIECE, MIN_PIECE, NoPace, Pace


class Line:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 50.0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@given(
    rate=st.floats(1_000, 1e9),
    pieces=st.lists(st.integers(1, 1 << 20), min_size=2, max_size=100),
)
def test_all_that_is_sent_takes_as_long_as_the_cap_says(rate: float, pieces: list[int]) -> None:
    line = Line()
    pace = Pace(rate, clock=line.clock, wait=line.wait)
    for length in pieces:
        pace.keep(length)
    # The last piece may go as soon as those before it are through.
    expected = sum(pieces[:-1]) / rate
    assert abs((line.now - 50.0) - expected) <= 1e-6 * (1 + expected)


def test_time_that_nobody_used_is_not_made_up_for() -> None:
    line = Line()
    pace = Pace(1000, clock=line.clock, wait=line.wait)
    pace.keep(1000)
    line.now += 100
    pace.keep(1000)
    before = line.now
    pace.keep(1000)
    assert line.now - before == 1.0


@given(st.floats(1, 1e12))
def test_pieces_are_neither_tiny_nor_huge(rate: float) -> None:
    line = Line()
    assert MIN_PIECE <= Pace(rate, clock=line.clock, wait=line.wait).piece <= MAX_PIECE


def test_without_a_cap_nothing_waits() -> None:
    pace = NoPace()
    for _ in range(1000):
        pace.keep(1 << 30)
