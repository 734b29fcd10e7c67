"""One image against its sidecar: what the sidecar says, what the content is."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from watcher.commands.reasons import why_without_note
from watcher.commands.verify_findings import Finding
from watcher.errors import FileUnreadable, RecordUnwritable
from watcher.openfile import Digest
from watcher.outcomes import Stamp
from watcher.record import (
    SIDECAR,
    State,
    claim_beside,
    doubts,
    is_named,
    reading_record,
    remove_sidecar,
    state_of,
)
from watcher.share import Share
from watcher.sidecar import ForeignRecord
from watcher.tree import NotThere, is_free, look, open_regular, reading, split, stamp_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """An image whose sidecar claims `sha256`; `current` if the daemon believes it unread, `named`
    if it says this image's name."""

    path: str
    stamp: Stamp
    sha256: str
    current: bool
    named: bool


Uninteresting = Literal["waiting", "rejected"]
"""Nothing stands beside it that could be verified."""


def recorded(share: Share, path: str) -> Recorded | Finding | Uninteresting:
    """What the record says. Raises `NotThere`, `FileUnreadable`, `ShareTrouble`."""
    folder, name = split(path)
    with share.tree.folder(folder) as images, share.records(folder, images) as records:
        image = look(name, images)
        if records is None:
            return _unrecorded(name, "none", image, images=images, records=None)
        with reading_record(name):
            state = state_of(image, name, records)
            has_sidecar = doubts(SIDECAR, image, name, records) is not None
        if not has_sidecar:
            return _unrecorded(name, state, image, images=images, records=records)
        match claim_beside(name, records):
            case ForeignRecord():
                believed = "the daemon takes it for current" if state == "uploaded" else ""
                return Finding("foreign", share.mirror or share.root, path + SIDECAR, believed)
            case None if is_free(name + SIDECAR, records):
                return "waiting"  # it went just now
            case None:
                return Finding("torn", share.mirror or share.root, path + SIDECAR)
            case str() as sha256:
                named = is_named(name, records)
                return Recorded(path, stamp_of(image), sha256, state == "uploaded", named)


def _unrecorded(
    name: str, state: State, image: os.stat_result, *, images: int, records: int | None
) -> Uninteresting:
    """What an image without a sidecar is, in the order and by the rules of `census`."""
    if state == "rejected":
        return "rejected"
    try:
        why = why_without_note(name, state, image.st_size, images=images, records=records)
    except (NotThere, RecordUnwritable, FileUnreadable):
        return "waiting"  # it cannot be read just now, so the daemon waits, too
    return "waiting" if why is None else "rejected"


def hashed(share: Share, image: Recorded, told: Callable[[int], object]) -> str | None:
    """The SHA-256 of what is there; None if that is not what was looked at any more. `told` is
    called with the bytes that were read, often. Raises like `recorded`."""
    folder, name = split(image.path)
    with share.tree.folder(folder) as images:
        fd = open_regular(name, images)
    try:
        with reading:
            sha256 = Digest(fd, image.stamp.size, told).finish()
            return sha256 if stamp_of(os.fstat(fd)) == image.stamp else None
    finally:
        os.close(fd)


def expire(share: Share, image: Recorded) -> bool:
    """Takes our sidecar of this image away, if both are still as they were: whether it did so.
    Raises like `recorded`."""
    folder, name = split(image.path)
    with share.tree.folder(folder) as images, share.records(folder, images) as records:
        if records is None or stamp_of(look(name, images)) != image.stamp:
            return False
        if claim_beside(name, records) != image.sha256:
            return False
        remove_sidecar(name, records)
        return True


def compared(share: Share, image: Recorded, sha256: str) -> Finding | None:
    """What to say of an image whose content has this hash. One that lies is not left to be
    believed."""
    if sha256 != image.sha256:
        if not image.current:
            return Finding("stale", share.root, image.path, "its content has changed since")
        found = f"the sidecar says {image.sha256}, it is {sha256}"
        return _expired(share, image, Finding("mismatch", share.root, image.path, found))
    if not image.current:
        return Finding("stale", share.root, image.path)
    if not image.named:
        renamed = Finding("stale", share.root, image.path, "it says another image's name")
        return _expired(share, image, renamed)
    return None


def _expired(share: Share, image: Recorded, mismatch: Finding) -> Finding:
    try:
        if expire(share, image):
            return replace(mismatch, done="its sidecar was removed", removed=True)
    except (NotThere, RecordUnwritable) as error:
        return replace(mismatch, done=f"its sidecar could not be removed: {error}")
    return replace(mismatch, done="it is being changed just now: nothing was done")
