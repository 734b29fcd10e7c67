"""Whether anybody may still be writing: the decision on any history, and the kernel's witness."""

import mmap
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PROPERTY, ROOT, Clock
from watcher import settling
from watcher.outcomes import Stamp
from watcher.settling import (
    HOLED,
    MAX_LOOK_SECONDS,
    TWICE,
    Moment,
    Observation,
    Settling,
    observe,
    writers,
)

NEARLY = 1e-3
"""Seconds by which floats and nanoseconds may differ."""


@dataclass(frozen=True)
class Step:
    """Time passes, the file may change, more time passes, and then somebody looks at it."""

    before: float
    changes: bool
    after: float


SECONDS = st.sampled_from([0.0, 0.1, 1.0, 1.9, 2.0, 2.1, 4.0, 10.0]) | st.floats(0, 30)
HISTORIES = st.lists(st.builds(Step, SECONDS, st.booleans(), SECONDS), min_size=1, max_size=12)
SETTLING = st.builds(
    Settling,
    settle_seconds=st.sampled_from([0.1, 2.0, 7.5]),
    incomplete_after_seconds=st.sampled_from([1.0, 60.0, 600.0]),
)
TIMES = st.sampled_from([1, TWICE, HOLED])


@dataclass
class Watched:
    """A file that is looked at now and then; `changed` is when it really last changed."""

    clock: Clock
    changed: float
    stamp: Stamp
    seen: Observation | None = None

    def go_through(self, history: list[Step]) -> Observation:
        for step in history:
            self.clock.advance(step.before)
            if step.changes:
                self.change()
            self.clock.advance(step.after)
            self.seen = observe(self.seen, self.stamp, self.clock.now)
        assert self.seen is not None
        return self.seen

    def change(self) -> None:
        self.changed = self.clock.steady
        self.stamp = self.stamp._replace(
            size=self.stamp.size + 1, ctime_ns=self.clock.wall_ns, mtime_ns=self.clock.wall_ns
        )

    @property
    def quiet_for(self) -> float:
        return self.clock.steady - self.changed


def a_file(age: float = 0.0) -> Watched:
    """A file that last changed `age` seconds ago."""
    clock = Clock()
    changed_ns = clock.wall_ns - int(age * 1e9)
    return Watched(clock, clock.steady - age, Stamp(1, 2, 3, changed_ns, changed_ns))


@given(history=HISTORIES, settling=SETTLING, times=TIMES, trust=st.booleans(), age=SECONDS)
@PROPERTY
def test_a_file_is_never_settled_while_its_last_change_is_younger_than_the_quiet_time(
    *, history: list[Step], settling: Settling, times: int, trust: bool, age: float
) -> None:
    file = a_file(age)
    seen = file.go_through(history)
    if settling.wait(seen, file.clock.now, times=times, trust_times=trust) == 0:
        assert file.quiet_for >= settling.settle_seconds * times - NEARLY


@given(history=HISTORIES, settling=SETTLING, times=TIMES, age=st.floats(0, 1e6))
@PROPERTY
def test_without_trust_in_its_times_only_what_was_watched_counts(
    history: list[Step], settling: Settling, times: int, age: float
) -> None:
    file = a_file(age)
    seen = file.go_through(history)
    wait = settling.wait(seen, file.clock.now, times=times, trust_times=False)
    watched = file.clock.steady - seen.since
    assert wait == pytest.approx(max(0.0, settling.settle_seconds * times - watched), abs=NEARLY)


@given(
    history=HISTORIES,
    settling=SETTLING,
    times=TIMES,
    trust=st.booleans(),
    age=SECONDS,
    later=SECONDS,
)
@PROPERTY
def test_an_unchanged_file_comes_nearer_to_rest_by_the_time_that_passes(
    *,
    history: list[Step],
    settling: Settling,
    times: int,
    trust: bool,
    age: float,
    later: float,
) -> None:
    file = a_file(age)
    seen = file.go_through(history)
    first = settling.wait(seen, file.clock.now, times=times, trust_times=trust)
    file.clock.advance(later)
    assert observe(seen, file.stamp, file.clock.now) is seen
    second = settling.wait(seen, file.clock.now, times=times, trust_times=trust)
    assert second == pytest.approx(max(0.0, first - later), abs=NEARLY)
    file.clock.advance(second + NEARLY)
    assert settling.wait(seen, file.clock.now, times=times, trust_times=trust) == 0


@given(history=HISTORIES, settling=SETTLING, trust=st.booleans(), age=SECONDS)
@PROPERTY
def test_doubts_and_mistrust_only_lengthen_the_wait(
    *, history: list[Step], settling: Settling, trust: bool, age: float
) -> None:
    file = a_file(age)
    seen, now = file.go_through(history), file.clock.now
    waits = [settling.wait(seen, now, times=n, trust_times=trust) for n in (1, TWICE, HOLED)]
    assert waits == sorted(waits)
    assert waits[0] <= settling.wait(seen, now, trust_times=False)


@given(history=HISTORIES, settling=SETTLING, trust=st.booleans(), age=SECONDS)
@PROPERTY
def test_a_missing_end_is_final_only_when_the_file_was_unchanged_long_enough(
    *, history: list[Step], settling: Settling, trust: bool, age: float
) -> None:
    file = a_file(age)
    seen = file.go_through(history)
    wait = settling.wait_for_end(seen, file.clock.now, trust_times=trust)
    if wait == 0:
        assert file.quiet_for >= settling.incomplete_after_seconds - NEARLY
        return
    assert wait <= settling.incomplete_after_seconds
    assert wait <= max(settling.settle_seconds, MAX_LOOK_SECONDS)
    if not trust:
        assert file.clock.steady - seen.since + wait <= settling.incomplete_after_seconds + NEARLY


@given(settling=SETTLING)
@PROPERTY
def test_waiting_for_an_end_comes_to_an_end(settling: Settling) -> None:
    file = a_file()
    seen = file.go_through([Step(0, changes=True, after=0)])
    looks = 0
    while wait := settling.wait_for_end(seen, file.clock.now, trust_times=False):
        file.clock.advance(wait)
        looks += 1
        assert looks < 100_000
    assert file.quiet_for >= settling.incomplete_after_seconds - NEARLY


def test_an_old_file_need_not_be_watched_at_all_if_its_times_can_be_trusted() -> None:
    settling = Settling(settle_seconds=2, incomplete_after_seconds=600)
    file = a_file(age=3600)
    seen = file.go_through([Step(0, changes=False, after=0)])
    assert settling.wait(seen, file.clock.now) == 0
    assert settling.wait(seen, file.clock.now, trust_times=False) == 2
    assert settling.wait_for_end(seen, file.clock.now, trust_times=True) == 0


def test_a_change_time_in_the_future_proves_nothing() -> None:
    settling = Settling(settle_seconds=2, incomplete_after_seconds=600)
    file = a_file(age=-3600)
    seen = file.go_through([Step(0, changes=False, after=0)])
    assert settling.wait(seen, file.clock.now) == 2
    file.clock.advance(2)
    assert settling.wait(seen, file.clock.now) == 0


@pytest.mark.parametrize("field", Stamp._fields)
def test_any_difference_in_the_stamp_starts_the_quiet_time_anew(field: str) -> None:
    first = Stamp(1, 2, 3, 4, 5)
    seen = observe(None, first, Moment(10.0, 0))
    other = first._replace(**{field: 99})
    assert observe(seen, other, Moment(11.0, 0)) == Observation(other, 11.0)


# The kernel's witness


def look_at(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return writers(fd)
    finally:
        os.close(fd)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"content")
    if look_at(path) == "unknown":
        pytest.skip("no leases on this file system, or no right to them")
    return path


def test_nobody_writes_to_a_closed_file_and_readers_do_not_matter(image: Path) -> None:
    with image.open("rb"):
        assert look_at(image) == "none"


@pytest.mark.parametrize("mode", ["r+b", "ab"])
def test_whoever_has_it_open_for_writing_is_seen_however_long_he_pauses(
    image: Path, mode: str
) -> None:
    with image.open(mode):
        assert look_at(image) == "some"
    assert look_at(image) == "none"


def test_a_writer_by_another_name_is_seen(image: Path, tmp_path: Path) -> None:
    os.link(image, tmp_path / "b.jpg")
    with (tmp_path / "b.jpg").open("ab"):
        assert look_at(image) == "some"


def test_a_writer_by_mapped_memory_is_seen(image: Path) -> None:
    with image.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    try:
        assert look_at(image) == "some"
    finally:
        mapped.close()


def test_a_writer_in_another_process_is_seen(image: Path) -> None:
    hold = "import sys; f = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, image], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        assert look_at(image) == "some"
        writer.communicate()
    assert look_at(image) == "none"


def test_the_lease_is_given_back_at_once_so_that_no_writer_waits(image: Path) -> None:
    with image.open("rb") as file:
        assert writers(file.fileno()) == "none"
        # With a lease still held this would fail with EWOULDBLOCK.
        os.close(os.open(image, os.O_WRONLY | os.O_NONBLOCK))


def test_where_the_kernel_has_no_leases_it_is_not_known(tmp_path: Path) -> None:
    assert look_at(tmp_path) == "unknown"  # a folder has none


def test_a_stranger_without_the_right_does_not_know(tmp_path: Path) -> None:
    if not ROOT:
        pytest.skip("needs root, to be somebody else")
    path = tmp_path / "a.jpg"
    path.write_bytes(b"content")
    ask = (
        "import os, sys\n"
        "from watcher.settling import writers\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "print(writers(fd))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", ask, path], capture_output=True, text=True, check=True
    )
    assert said.stdout == "unknown\n"


def test_a_descriptor_that_is_no_file_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        writers(1 << 30)  # the number of one that was closed may be another's by now


def test_on_a_network_share_the_kernels_answer_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "is_announced", lambda _: False)
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    fd = os.open(file, os.O_RDONLY)
    with file.open("ab"):
        assert writers(fd) == "unknown"
    os.close(fd)
