"""Of what was put in, the newest is here."""

from hypothesis import given
from hypothesis import strategies as st

from watcher.recent import Recent


@given(
    at_most=st.integers(1, 4),
    put=st.lists(st.tuples(st.integers(0, 6), st.integers())),
)
def test_the_newest_are_here_and_no_others(at_most: int, put: list[tuple[int, int]]) -> None:
    recent = Recent[int, int](at_most)
    model: dict[int, int] = {}
    for key, value in put:
        newest = list(model)[-at_most:]
        assert recent.put(key, value) == (model.pop(key) if key in newest else None)
        model.pop(key, None)
        model[key] = value
    for key in range(7):
        assert recent.get(key) == (model[key] if key in list(model)[-at_most:] else None)
