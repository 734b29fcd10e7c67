"""The record on the share: sidecars and rejection notes. There is no other state.

A sidecar says that the service has this content; a note says why an image was rejected. Both are
stamped with their image's modification time, so that two `stat`s tell whether they are current.
All functions are told the open folder that holds the record and are stateless.
"""

import errno
import os
import stat
import time
from contextlib import suppress
from datetime import datetime
from typing import Literal

from watcher.errors import FileUnreadable
from watcher.outcomes import Stamp
from watcher.placing import NameTooLong, TroubleTold, put_in_place, temporary
from watcher.sidecar import (
    MAX_LINE,
    NAME_MAX,
    ForeignRecord,
    claimed_hash,
    hash_for_another,
    line_length,
    same_time,
    sidecar_line,
)
from watcher.tree import NotThere, open_regular

SIDECAR = ".sha256"
NOTE = ".rejected.txt"
LONGEST_NAME = NAME_MAX - len(SIDECAR)
"""Bytes of the longest image name that can have a sidecar."""

NOTE_TITLE = b"This image was not sent to AutoRetouch.\n"
"""The first line of every note, by which it is known as ours."""

State = Literal["uploaded", "rejected", "stale", "none"]
"""What stands beside an image: a current sidecar, a current note, something that is not current,
or nothing."""

Doubt = Literal["kind", "length", "empty", "mtime", "ctime"]
"""What keeps a record from being current: it is no regular file; it has not the length of such a
line (a note: it is empty); the image is empty, and none such was ever sent; its modification time
is not the image's; the image changed since."""


def state_of(image: os.stat_result, name: str, folder: int) -> State:
    """What the record says of the image `name`, by `stat` alone."""
    sidecar = doubts(SIDECAR, image, name, folder)
    if sidecar == ():
        return "uploaded"
    note = doubts(NOTE, image, name, folder)
    if note == ():
        return "rejected"
    return "none" if sidecar is None and note is None else "stale"


def doubts(suffix: str, image: os.stat_result, name: str, folder: int) -> tuple[Doubt, ...] | None:
    """Why the sidecar or note of the image `name` is not current; () if it is, None if there is
    none."""
    record = _lstat(name + suffix, folder)
    if record is None:
        return None
    if not stat.S_ISREG(record.st_mode):
        return ("kind",)
    found: list[Doubt] = []
    if record.st_size != line_length(name) if suffix == SIDECAR else not record.st_size:
        found.append("length")
    # After a power cut an image can be empty and its record whole.
    if not image.st_size and suffix == SIDECAR:
        found.append("empty")
    if not same_time(record.st_mtime_ns, image.st_mtime_ns):
        found.append("mtime")
    # A change in the future (a clock was set back) is none that came after the record.
    if record.st_ctime_ns < image.st_ctime_ns <= time.time_ns():
        found.append("ctime")
    return tuple(found)


def _lstat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
            return None
        raise


def recorded_hash(name: str, folder: int) -> str | None:
    """The hash that the sidecar of `name` claims, current or not; None if there is no sidecar or
    only a torn one. Raises `ForeignRecord` if something that is not ours has its name; a whole line
    for another name is ours: both were renamed or copied together."""
    return _sidecar(name, folder)[1]


def _sidecar(name: str, folder: int) -> tuple[bool, str | None]:
    """Whether there is a sidecar, and the hash that it claims. Raises like `recorded_hash`."""
    text = _content(name + SIDECAR, folder, MAX_LINE)
    if text is None:
        return False, None
    try:
        return True, claimed_hash(text, name)
    except ForeignRecord:
        if claimed := hash_for_another(text):
            return True, claimed
        raise


def is_named(name: str, folder: int) -> bool:
    """Whether the sidecar of `name` says that name, as far as it can be read. (A name of equal
    length is not told by `stat`.)"""
    try:
        text = _content(name + SIDECAR, folder, MAX_LINE)
    except ForeignRecord:
        return True
    try:
        return text is not None and claimed_hash(text, name) is not None
    except ForeignRecord:
        return False


def claimed_before(moved_ns: int, name: str, folder: int, *, mtime_ns: int) -> str | None:
    """The hash that the sidecar of `name` claims, if it is whole, stamped with this time and older
    than the rename that gave the image another name: one written since is another image's. Raises
    like `recorded_hash`."""
    with TroubleTold(name + SIDECAR, "read"):
        sidecar = _lstat(name + SIDECAR, folder)
    if sidecar is None or sidecar.st_size != line_length(name):
        return None
    if not same_time(sidecar.st_mtime_ns, mtime_ns) or sidecar.st_ctime_ns > moved_ns:
        return None
    return recorded_hash(name, folder) if is_named(name, folder) else None


def _content(name: str, folder: int, at_most: int) -> bytes | None:
    """Up to `at_most` bytes and one more of a record; None if there is none."""
    with TroubleTold(name, "read"):  # what cannot be read cannot be replaced with care either
        if _lstat(name, folder) is None:
            return None
        try:
            fd = open_regular(name, folder)
        except (NotThere, FileUnreadable) as error:
            if _lstat(name, folder) is None:  # it went just now
                return None
            raise ForeignRecord(name) from error
        try:
            return os.read(fd, at_most + 1)
        finally:
            os.close(fd)


def state_beside(
    image: os.stat_result, name: str, records: int | None, *, read: bool = False
) -> State:
    """`state_of` for a folder of records that may not be there yet; if it is to `read` a sidecar
    that looks current, one with another name in it is not. Raises `RecordUnwritable`."""
    if records is None:
        return "none"
    with reading_record(name):  # the image has just been seen, so this is about its record
        state = state_of(image, name, records)
        return "stale" if read and state == "uploaded" and not is_named(name, records) else state


def reading_record(name: str) -> TroubleTold:
    """Says `RecordUnwritable` if the record of the image `name` cannot be read."""
    return TroubleTold(name, "read the record of")


def claim_beside(name: str, records: int | None) -> str | ForeignRecord | None:
    """`recorded_hash` as a value, for a folder of records that may not be there yet."""
    try:
        return None if records is None else recorded_hash(name, records)
    except ForeignRecord as foreign:
        return foreign


def write_sidecar(name: str, sha256: str, *, stamp: Stamp, mode: int, folder: int) -> None:
    """Says that the service has this content; takes a note away that said otherwise.

    `stamp` and `mode` are the image's. Raises `RecordUnwritable`; `ForeignRecord` or
    `FileExistsError` if something that is not ours is there or turned up just now.
    """
    remove_note(name, folder)  # first: a crash in between leaves no record, never two
    line, (ours, _) = sidecar_line(name, sha256), _sidecar(name, folder)
    put_in_place(name + SIDECAR, line, over=ours, stamp=stamp, mode=mode, folder=folder)


def write_note(
    name: str, text: str, *, when: datetime, stamp: Stamp, mode: int, folder: int
) -> None:
    """Tells the photographer `text` beside the image; takes a sidecar of ours away.

    A foreign sidecar stays: it is then the very reason. Raises like `write_sidecar`; a foreign
    file under the note's name raises `ForeignRecord`.
    """
    if (before := note_of(name, folder)) == "foreign":
        raise ForeignRecord(name + NOTE)
    remove_sidecar(name, folder)
    told = (
        f"\nFile: {_for_people(name)}\n\n{text}\n\nChecked: {when:%Y-%m-%d %H:%M:%S %Z}\n\n"
        "Mend or replace the image, or delete this note, and it is looked at again.\n"
    )
    content, over = NOTE_TITLE + told.encode(), before == "ours"
    put_in_place(name + NOTE, content, over=over, stamp=stamp, mode=mode, folder=folder)


def _for_people(name: str) -> str:
    """A name as one line of UTF-8, whatever bytes it holds."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def remove_note(name: str, folder: int) -> None:
    """Takes our note away; a foreign file of that name stays, and says nothing about the image."""
    if note_of(name, folder) == "ours":
        _remove(name + NOTE, folder)


def note_of(name: str, folder: int) -> Literal["ours", "foreign", "none"]:
    """Whose file stands under the name of the note of `name`."""
    try:
        text = _content(name + NOTE, folder, len(NOTE_TITLE))
    except ForeignRecord:
        return "foreign"
    if text is None:
        return "none"
    return "ours" if _is_our_note(text) else "foreign"


def _is_our_note(text: bytes) -> bool:
    """Whether a note begins like ours, or is the torn beginning of one."""
    return text.startswith(NOTE_TITLE) or NOTE_TITLE.startswith(text)


def remove_sidecar(name: str, folder: int) -> None:
    """Takes our sidecar away; a foreign file of that name stays."""
    with suppress(ForeignRecord):  # not ours: it stays
        recorded_hash(name, folder)
        _remove(name + SIDECAR, folder)


def _remove(name: str, folder: int) -> None:
    """Takes a record away, and what a crash may have left on the way to it."""
    for each in (name, temporary(name)):
        absent = suppress(FileNotFoundError, IsADirectoryError)
        with suppress(NameTooLong), TroubleTold(name), absent:
            os.unlink(each, dir_fd=folder)
