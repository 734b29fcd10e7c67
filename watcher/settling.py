"""Whether anybody may still be writing to a file: the decision, and the kernel's witness.

`Settling` is pure logic over what was seen and when; it holds no clock and touches no file.
`writers` asks the kernel; a process that asks calls `outlive_lease_breaks` first.
"""

import errno
import fcntl
import signal
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from watcher.mounts import is_announced
from watcher.outcomes import Stamp

Writers = Literal["none", "some", "unknown"]
"""Whether any process has a file open for writing, as the kernel says."""

Hole = Literal["none", "likely", "told"]
"""Whether a part of a file was never written: by its blocks, or as its file system says."""


class Moment(NamedTuple):
    """One instant on both clocks: `steady` in seconds (never jumps), `wall_ns` since the epoch."""

    steady: float
    wall_ns: int

    @property
    def local(self) -> datetime:
        """The wall clock's time, for people here."""
        return datetime.fromtimestamp(self.wall_ns / 1e9, UTC).astimezone()


class Observation(NamedTuple):
    """A file was seen with this stamp, first at `since` (steady seconds), and unchanged from then
    on at every later look."""

    stamp: Stamp
    since: float


def observe(before: Observation | None, stamp: Stamp, now: Moment) -> Observation:
    """What is known after one more look: the old observation if nothing changed, else a new one."""
    if before is not None and before.stamp == stamp:
        return before
    return Observation(stamp, now.steady)


TWICE = 2
"""Quiet times to see where the kernel cannot say who writes (no leases on this file system)."""

HOLED = 5
"""Quiet times to see where a file has a hole: a copy that reserved its space first looks like
that, and so does a black picture that `cp` made sparse. It lengthens the wait, no more."""

MAX_LOOK_SECONDS = 30.0
"""An image whose end is missing, or that is open for writing, is looked at again at least this
often."""

OPEN_SECONDS = 3600.0
"""Seconds without a change after which it does not matter that a file is open for writing: it may
be so for as long as a program runs, or an NFS 4 client has a delegation (see `writers`)."""


class Settling(NamedTuple):
    """When a file counts as at rest.

    Seconds that a file must be quiet, and seconds after which a missing end is final.
    """

    settle_seconds: float
    incomplete_after_seconds: float

    def wait(
        self, seen: Observation, now: Moment, *, times: float = 1, trust_times: bool = True
    ) -> float:
        """Seconds that the file must still stay unchanged; 0 if it has been quiet for `times`
        quiet times.

        `trust_times`: the file's own change time may prove the quiet. Only where a lease also
        says that nobody writes; a server's clock may differ from ours.
        """
        needed = self.settle_seconds * times
        return max(0.0, needed - _unchanged_for(seen, now, trust_times=trust_times))

    def wait_for_end(self, seen: Observation, now: Moment, *, trust_times: bool) -> float:
        """Seconds until the next look at an image whose end is missing; 0 if it will not come."""
        unchanged = _unchanged_for(seen, now, trust_times=trust_times)
        return self._next_look(unchanged, self.incomplete_after_seconds)

    def wait_open(
        self, seen: Observation, now: Moment, *, writers: Writers, hole: Hole
    ) -> tuple[str, float]:
        """What a file is waited for that has been quiet and is open now, and the seconds until the
        next look at it; 0 if it is at rest."""
        trust_times = writers == "none"
        watched = _unchanged_for(seen, now, trust_times=False)
        if writers == "some":
            wait = self._next_look(watched, OPEN_SECONDS)
            if wait or hole == "told":
                return "being_written", wait or MAX_LOOK_SECONDS
        if hole == "told" and writers == "unknown":
            # Over SMB its later writes may not even change its time (Samba 4.17, Linux 6.1).
            wait = self._next_look(watched, self.incomplete_after_seconds)
            if wait:
                return "being_written", wait
        times = HOLED if hole != "none" else 1 if writers == "none" else TWICE
        return "quiet_time", self.wait(seen, now, times=times, trust_times=trust_times)

    def _next_look(self, unchanged: float, at_most: float) -> float:
        left = at_most - unchanged
        if left <= 0:
            return 0.0
        return min(left, max(self.settle_seconds, min(unchanged, MAX_LOOK_SECONDS)))


def _unchanged_for(seen: Observation, now: Moment, *, trust_times: bool) -> float:
    watched = now.steady - seen.since
    if not trust_times:
        return watched
    # The kernel sets the change time at every write and nobody can set it back. One in the
    # future (a clock that jumped) proves nothing.
    by_times = (now.wall_ns - seen.stamp.ctime_ns) / 1e9
    return max(watched, by_times)


# EACCES: not the owner and no CAP_LEASE. EINVAL, ENOTSUP, ENOLCK: no leases on this file system.
_NO_LEASES = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS}


def writers(fd: int) -> Writers:
    """Whether any process has this file, opened read-only as `fd`, open for writing.

    A read lease is granted only while none has (fcntl(2), `F_SETLEASE`); it is given back at once,
    within some 20 microseconds. A writer who comes in between waits that long (see
    `outlive_lease_breaks`). On an NFS server that keeps no file open between two writes, "none" is
    not the whole truth: the quiet time and the image's own end are the other two witnesses.

    "some" need not be true for ever: nfsd keeps a file open for writing as long as an NFS 4 client
    has a delegation, minutes after it was closed there (measured, Linux 6.1).

    On a mounted NFS, SMB or FUSE share the answer means nothing (measured, Linux 6.1): granted
    while somebody writes on the server, refused while nobody does, for want of a delegation.
    Raises `OSError`.
    """
    if not is_announced(fd):
        return "unknown"
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return "some"
        if error.errno in _NO_LEASES:
            return "unknown"
        raise
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return "none"


def outlive_lease_breaks() -> None:
    """The kernel tells a lease's holder of a writer that waits by SIGIO, whose default action would
    end the process. For the main thread, before any asks `writers`."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
