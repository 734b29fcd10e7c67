"""What a daemon may be like at one moment."""

from dataclasses import replace
from typing import Any, get_args

from hypothesis import strategies as st

from watcher.conditions import Condition, Name
from watcher.snapshot import Flight, ShareState, Snapshot
from watcher.tally import Counts, LastUpload

NAMES: tuple[Name, ...] = get_args(Name)

QUIET = Snapshot(
    version="1.2.3",
    pid=42,
    started=1_700_000_000.0,
    at=1_700_000_100.0,
    counts=Counts(),
    waiting=0,
    flights=(),
    shares=(),
    conditions=(),
    files_per_second=0.0,
    bytes_per_second=0.0,
    last_upload=None,
    moving=True,
)

BUSY = replace(
    QUIET,
    counts=Counts(uploaded=7, already_known=3, rejected=2, failed=1, bytes=12_345),
    waiting=5,
    flights=(
        Flight("/srv/a", "x/one.jpg", "sending", 100, 1_000, 2.0),
        Flight("/srv/a", "two\n.jpg", "looking", 0, 500, 61.4),
    ),
    shares=(
        ShareState("/srv/a", "events"),
        ShareState("/srv/b", "polling"),
        ShareState("/srv/c", "polling"),
        ShareState("/srv/d", "not yet"),
    ),
    conditions=(
        Condition("sidecar_unwritable", "/srv/a/x", "No space left on device", 1_700_000_050.0),
        Condition("sidecar_unwritable", "/srv/a/y", "No space left on device", 1_700_000_060.0),
        Condition("login_needed", "", "there is no token", 1_700_000_070.0),
    ),
    last_upload=LastUpload("/srv/a", "x/zero.jpg", 1_700_000_099.5),
)


def quiet(**changes: Any) -> Snapshot:
    return replace(QUIET, **changes)


_MANY = st.integers(0, 2**60)
_TIMES = st.floats(0, 4e9)
_WORDS = st.text(max_size=30)

CONDITIONS = st.lists(
    st.builds(Condition, st.sampled_from(NAMES), _WORDS, _WORDS, _TIMES), max_size=6
).map(tuple)

SNAPSHOTS = st.builds(
    Snapshot,
    version=_WORDS,
    pid=_MANY,
    started=_TIMES,
    at=_TIMES,
    counts=st.builds(Counts, _MANY, _MANY, _MANY, _MANY, _MANY, _MANY, _MANY),
    waiting=_MANY,
    flights=st.lists(
        st.builds(
            Flight, _WORDS, _WORDS, st.sampled_from(["looking", "sending"]), _MANY, _MANY, _TIMES
        ),
        max_size=12,
    ).map(tuple),
    shares=st.lists(
        st.builds(ShareState, _WORDS, st.sampled_from(["events", "polling", "not yet", "gone"])),
        max_size=3,
    ).map(tuple),
    conditions=CONDITIONS,
    files_per_second=_TIMES,
    bytes_per_second=_TIMES,
    last_upload=st.none() | st.builds(LastUpload, _WORDS, _WORDS, _TIMES),
    moving=st.booleans(),
)
