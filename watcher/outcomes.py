"""What can become of a file on one journey.

What is expected is a value and is matched with `match`; an exception (see `watcher.errors`) means
that something failed which is not the file.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from watcher.inspection import Image


class Stamp(NamedTuple):
    """What `fstat` says of one file's content. Two equal stamps mean: not written in between."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Uploaded(NamedTuple):
    """The service took the content and returned its hash; the sidecar is written."""

    image: Image
    sha256: str
    size: int


class AlreadyKnown(NamedTuple):
    """The service has the content; the sidecar is written. `how` we know: it was `asked`; equal
    content was confirmed moments ago; or it was only `renamed`, and so was not read: then `image`
    is None."""

    image: Image | None
    sha256: str
    size: int
    how: Literal["asked", "equal_content", "renamed"] = "asked"


class Rejected(NamedTuple):
    """No waiting will mend this file; its note says why. `reason` is the code for the log, `found`
    what was found, in plain words."""

    reason: str
    found: str
    noted: bool = True
    """Whether a note stands beside it; not if its name is too long or somebody's file is there."""


class Standing(NamedTuple):
    """The record on the share is current: nothing was opened, nothing is to be done."""

    rejected: bool


class NotSettled(NamedTuple):
    """Somebody may still be writing, or equal content is under way: look again in `seconds`.
    `reason` is the code for the log, which leaves out what passes within seconds."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """Ready to be sent, but the service is not to be asked just now (see `gate`)."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The file changed while it was on its way: start over at once."""


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such regular file now. Nothing is concluded from it."""


class Rehearsed(NamedTuple):
    """What a journey would do, found by `--dry-run` without sending or touching anything."""

    would: Image | Rejected
    size: int


Outcome = (
    Uploaded | AlreadyKnown | Rejected | Standing | NotSettled | Held | Changed | Gone | Rehearsed
)
