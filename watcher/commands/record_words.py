"""What stands beside an image, in words: whose it is, and why it is current or not."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from watcher.record import NOTE, SIDECAR, Doubt, claim_beside, doubts, note_of
from watcher.sidecar import ForeignRecord

KINDS: Mapping[str, str] = MappingProxyType({SIDECAR: "sidecar", NOTE: "note"})


def standing(suffix: str, image: os.stat_result, name: str, records: int | None) -> str:
    """Whether the image `name` has such a record, and why that is current or not. Raises
    `OSError`."""
    found = None if records is None else doubts(suffix, image, name, records)
    if found is None or records is None:
        return "none"
    if not found:
        return "current: length, modification time and change time are as they must be"
    record = os.stat(name + suffix, dir_fd=records, follow_symlinks=False)
    words: Mapping[Doubt, str] = {
        "kind": "it is no regular file",
        "length": f"its length of {record.st_size} bytes is not that of such a line"
        if suffix == SIDECAR
        else "it is empty",
        "mtime": f"its modification time {_time(record.st_mtime_ns)} is not the image's, "
        f"{_time(image.st_mtime_ns)}",
        "empty": "the image is empty, and none such was ever sent",
        "ctime": f"the image changed at {_time(image.st_ctime_ns)}, after it was written at "
        f"{_time(record.st_ctime_ns)}",
    }
    return "not current: " + "; ".join(words[doubt] for doubt in found)


def _time(ns: int) -> str:
    when = datetime.fromtimestamp(ns // 1_000_000_000, UTC).astimezone()
    return f"{when:%Y-%m-%d %H:%M:%S}.{ns % 1_000_000_000:09d}"


def claim(name: str, records: int | None) -> str:
    """What the sidecar of `name` says."""
    match claim_beside(name, records):
        case ForeignRecord():
            return "what stands there is no checksum line of this image: it is not ours"
        case None:
            return "it holds nothing, or only the beginning of a line: it is not believed"
        case sha256:
            return sha256


def whose_note(name: str, records: int) -> str:
    """Who wrote the note of `name`."""
    return "ours" if note_of(name, records) == "ours" else "not ours: it is never touched"
