"""The record on the share: sidecars and rejection notes. There is no other state.

A sidecar says that the service has this content; a note says why an image was rejected. Both are
stamped with their image's modification time, so that two `stat`s tell whether they are current.
All functions are told the open folder that holds the record and are stateless.
"""

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Literal

from watcher.errors import FileUnreadable, RecordUnwritable
from watcher.outcomes import Stamp
from watcher.sidecar import (
    MAX_LINE,
    NAME_MAX,
    ForeignRecord,
    claimed_hash,
    line_length,
    sidecar_line,
)
from watcher.tree import NotThere, open_regular, rename_to_free

SIDECAR = ".sha256"
NOTE = ".rejected.txt"
LONGEST_NAME = NAME_MAX - len(SIDECAR)
"""Bytes of the longest image name that can have a sidecar."""

NOTE_TITLE = b"This image was not sent to AutoRetouch.\n"
"""The first line of every note, by which it is known as ours."""

LEFT_OVER = re.compile(r"\.autoretouch-[0-9a-f-]+\.tmp")
"""Names of temporary files on the way to a record."""

State = Literal["uploaded", "rejected", "stale", "none"]
"""What stands beside an image: a current sidecar, a current note, something that is not current,
or nothing."""

Doubt = Literal["kind", "length", "mtime", "ctime"]
"""What keeps a record from being current: it is no regular file; it has not the length of such a
line (a note: it is empty); its modification time is not the image's; the image changed since."""


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
    if not _same_time(record.st_mtime_ns, image.st_mtime_ns):
        found.append("mtime")
    if image.st_ctime_ns > record.st_ctime_ns:
        found.append("ctime")
    return tuple(found)


def _lstat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
            return None
        raise


_GRAINS = (100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""Nanoseconds that file systems keep times to: NTFS and SMB 100 ns, then 1 us, 1 ms, exFAT 10 ms,
ext3 1 s, FAT 2 s."""


def _same_time(record_ns: int, image_ns: int) -> bool:
    """Equal, as far as the record's file system keeps times: a mirror may be on a coarser one.
    (What this lets through on a finer one, the change time catches.)"""
    return record_ns == image_ns or any(
        record_ns % grain == 0 and image_ns // grain * grain == record_ns for grain in _GRAINS
    )


def recorded_hash(name: str, folder: int) -> str | None:
    """The hash that the sidecar of `name` claims, current or not; None if there is no sidecar or
    only a torn one. Raises `ForeignRecord` if something that is not ours has its name."""
    text = _content(name + SIDECAR, folder, MAX_LINE)
    return None if text is None else claimed_hash(text, name)


def _has_sidecar(name: str, folder: int) -> bool:
    """Whether a sidecar of ours is there, whole or torn. Raises like `recorded_hash`."""
    text = _content(name + SIDECAR, folder, MAX_LINE)
    if text is not None:
        claimed_hash(text, name)
    return text is not None


def claimed_before(stamp: Stamp, name: str, folder: int) -> str | None:
    """The hash that the sidecar of `name` claims, if it is whole, stamped with this time and older
    than the rename that gave the image another name: one written since is another image's. Raises
    like `recorded_hash`."""
    sidecar = _lstat(name + SIDECAR, folder)
    if sidecar is None or sidecar.st_size != line_length(name):
        return None
    if not _same_time(sidecar.st_mtime_ns, stamp.mtime_ns) or sidecar.st_ctime_ns > stamp.ctime_ns:
        return None
    return recorded_hash(name, folder)


def _content(name: str, folder: int, at_most: int) -> bytes | None:
    """Up to `at_most` bytes and one more of a record; None if there is none."""
    if _lstat(name, folder) is None:
        return None
    try:
        fd = open_regular(name, folder)
    except (NotThere, FileUnreadable) as error:
        raise ForeignRecord(name) from error
    try:
        # One that cannot be read cannot be replaced with care either.
        with _trouble_told(name, "read"):
            return os.read(fd, at_most + 1)
    finally:
        os.close(fd)


def state_beside(image: os.stat_result, name: str, records: int | None) -> State:
    """`state_of` for a folder of records that may not be there yet. Raises `RecordUnwritable`."""
    try:
        return "none" if records is None else state_of(image, name, records)
    except OSError as error:  # the image has just been seen, so this is about its record
        why = f"the record of {name!a} cannot be read: {error.strerror}"
        raise RecordUnwritable(why) from error


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
    line, ours = sidecar_line(name, sha256), _has_sidecar(name, folder)
    _write(name + SIDECAR, line, over=ours, stamp=stamp, mode=mode, folder=folder)


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
    _write(name + NOTE, content, over=over, stamp=stamp, mode=mode, folder=folder)


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
        _has_sidecar(name, folder)
        _remove(name + SIDECAR, folder)


def _remove(name: str, folder: int) -> None:
    """Takes a record away, and what a crash may have left on the way to it."""
    for each in (name, _temporary(name)):
        with _trouble_told(name), suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(each, dir_fd=folder)


def _write(
    target: str, content: bytes, *, over: bool, stamp: Stamp, mode: int, folder: int
) -> None:
    """Puts a record in place whole or not at all; `over` one of ours, if one was there. Otherwise
    whatever turned up since raises `FileExistsError`.

    No fsync: after a power cut the file may be missing or empty, and either is found by its
    length and costs one local re-hash and one HEAD; syncing each would cost more than the upload.
    """
    with _trouble_told(target):
        fd, temporary = _open_new(_temporary(target), folder)
        try:
            _fill(fd, content, stamp=stamp, mode=mode)
            if over:
                os.rename(temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                rename_to_free(temporary, target, folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def _temporary(target: str) -> str:
    """Hidden, so that nobody takes it for anything; short, so that it fits wherever the sidecar
    does; always the same for one record, so that what a crash left is found and taken away. (In
    this form: `LEFT_OVER`.)"""
    mark = hashlib.blake2b(os.fsencode(target), digest_size=8).hexdigest()
    return f".autoretouch-{mark}.tmp"


def _open_new(name: str, folder: int) -> tuple[int, str]:
    """A new file of this name, or of one like it if somebody planted a folder there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o600, dir_fd=folder), name
    except FileExistsError:
        try:
            os.unlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in {errno.EISDIR, errno.EPERM}:
                raise
            name = name.replace("-", f"-{secrets.token_hex(4)}-", 1)
        return os.open(name, flags, 0o600, dir_fd=folder), name


def _fill(fd: int, content: bytes, *, stamp: Stamp, mode: int) -> None:
    try:
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # Who may read the image may read its record. (The daemon is not the image's owner, so it
        # reads the image by the group's or everybody's right, and those are what it passes on.)
        with suppress(PermissionError):  # SMB mounts refuse modes; there the mount decides
            os.fchmod(fd, 0o600 | (mode & 0o044))
        os.utime(fd, ns=(stamp.mtime_ns, stamp.mtime_ns))
    finally:
        os.close(fd)


@contextmanager
def _trouble_told(target: str, doing: str = "write") -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise RecordUnwritable(f"cannot {doing} {target!a}: {error.strerror}") from error
