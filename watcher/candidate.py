"""One path on its way, and what is known of it so far."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from watcher.inspection import Image
from watcher.outcomes import Stamp
from watcher.settling import Observation
from watcher.share import Share


class Priority(IntEnum):
    """What is taken first."""

    FRESH = 0  # dropped while we watch: somebody waits for it
    BACKLOG = 1  # found by a scan, never recorded
    RECHECK = 2  # has a record that is not current, or failed before


class Hashed(NamedTuple):
    """What was found out about the content that has this stamp; kept for a later attempt."""

    stamp: Stamp
    image: Image
    sha256: str


@dataclass(slots=True, eq=False)
class Candidate:
    """One path on its way. Whoever holds it (the backlog under its lock, or the one worker that
    took it) owns it; but while a worker has it, the backlog notes what happens to the path:
    `touched`, `vanished` set, `intact` taken away."""

    share: Share
    path: str
    priority: Priority
    seen: Observation | None = None
    hashed: Hashed | None = None
    attempts: int = 0
    """Failed attempts in a row."""
    passes: int | None = None
    """How often the service had answered well when this file first failed for its sake."""
    probe: bool = False
    """It was let through a closed gate and must be given back to it."""
    vanished: bool = False
    """The file was seen to be deleted or moved away: if it is not there, its record goes."""
    moved_from: str | None = None
    """The path that it was seen to have before: that one's record follows it, or goes."""
    intact: int = 0
    """When that rename was noticed, in epoch nanoseconds, if nothing is known to have happened to
    its content before, at or since it; else 0."""
    said: str = ""
    """Why it waits, as last said in the log."""
    due: float | None = field(default=None, repr=False)
    """Steady time before which it is not taken; None if it is not waiting for a time."""
    turn: int = field(default=0, repr=False)
    """Its turn among those that are ready to be taken; 0 if it is not."""
    held: bool = field(default=False, repr=False)
    """A worker has it."""
    alone: bool = field(default=False, repr=False)
    """The worker that has it was replaced: nothing waits for it."""
    touched: float | None = field(default=None, repr=False)
    """Something happened to the path while a worker had it: when to look again."""
    size: int = field(default=0, repr=False)
    """Bytes of the file, when last seen. This and the next two others may read at any time."""
    read: int = field(default=0, repr=False)
    """How many of them are hashed."""
    sent: int | None = field(default=None, repr=False)
    """How many of them are sent, while it is sent."""

    def on_read(self, more: int) -> None:
        """So many more of its bytes are hashed."""
        self.read += more

    def on_sent(self, sent: int) -> None:
        """So many of its bytes are sent."""
        self.sent = sent
