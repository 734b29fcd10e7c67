"""What the daemon is doing at one moment, as others are told: `status`, the monitor, systemd."""

from dataclasses import dataclass
from typing import Literal

from watcher.conditions import Condition
from watcher.tally import Counts, LastUpload

Step = Literal["looking", "sending"]


@dataclass(frozen=True, slots=True)
class Flight:
    """One file that a worker has: `sent` of its `size` bytes are sent, `read` are hashed; `seconds`
    since it began."""

    share: str
    path: str
    step: Step
    sent: int
    size: int
    seconds: float
    read: int = 0


@dataclass(frozen=True, slots=True)
class ShareState:
    """How what happens on one share is noticed."""

    root: str
    how: Literal["events", "polling", "not yet", "gone"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The daemon at epoch time `at`. `counts` are those since `started`.

    `files_per_second` and `bytes_per_second` are means over the last minute, of what was brought to
    the service; `waiting` is how many files are in the backlog. `moving` is False if there is work
    that none of the workers gets on with.
    """

    version: str
    pid: int
    started: float
    at: float
    counts: Counts
    waiting: int
    flights: tuple[Flight, ...]
    shares: tuple[ShareState, ...]
    conditions: tuple[Condition, ...]
    files_per_second: float
    bytes_per_second: float
    last_upload: LastUpload | None
    moving: bool
