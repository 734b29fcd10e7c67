"""How long to wait after a failure. Pure; randomness comes in as an argument."""

from collections.abc import Callable

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 3600.0


def delay(
    attempt: int,
    *,
    random: Callable[[], float],
    longest: float = LONGEST_SECONDS,
    at_least: float = 0.0,
) -> float:
    """Seconds before the next try after `attempt` failures in a row (0: the first has just failed).

    Exponential with full jitter: anything between 0 and `FIRST_SECONDS` doubled `attempt` times, at
    most `longest`; many that failed together do not come back together.
    `at_least` is what the service asked for (`Retry-After`) and is kept to, with the jitter on top.
    `random` gives numbers in [0, 1).
    """
    ceiling = min(longest, FIRST_SECONDS * 2.0 ** min(attempt, 32))
    jitter: float = random() * ceiling
    return at_least + jitter
