"""A small file put in place whole or not at all."""

import errno
import hashlib
import os
import re
import secrets
from contextlib import suppress

from watcher.errors import RecordsGone, RecordUnwritable
from watcher.outcomes import Stamp
from watcher.tree import GONE, rename_to_free

LEFT_OVER = re.compile(r"\.autoretouch-[0-9a-f-]+\.tmp")
"""Names of temporary files on the way to a record."""


class NameTooLong(Exception):
    """This file system takes no name as long as the record's."""


def put_in_place(
    target: str, content: bytes, *, over: bool, stamp: Stamp, mode: int, folder: int
) -> None:
    """Puts a record in place whole or not at all; `over` one of ours, if one was there. Otherwise
    whatever turned up since raises `FileExistsError`.

    No fsync: after a power cut the file may be missing or empty, and either is found by its
    length and costs one local re-hash and one HEAD; syncing each would cost more than the upload.
    """
    with TroubleTold(target):
        fd, there = _open_new(temporary(target), folder)
        try:
            _fill(fd, content, stamp=stamp, mode=mode)
            if over:
                os.rename(there, target, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                rename_to_free(there, target, folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(there, dir_fd=folder)
            raise


def temporary(target: str) -> str:
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


class TroubleTold:
    """Says `RecordUnwritable` or `NameTooLong` of what the file system will not do; only that
    something is there already passes as it is. (A class for speed, like those in `tree`.)"""

    def __init__(self, target: str, doing: str = "write") -> None:
        self._target = target
        self._doing = doing

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        """Raises what it means."""
        if not isinstance(error, OSError) or isinstance(error, FileExistsError):
            return
        if error.errno == errno.ENAMETOOLONG:  # it can be less than `NAME_MAX` (eCryptfs: 143)
            raise NameTooLong(f"{len(os.fsencode(self._target))} bytes with its ending") from error
        kind = RecordsGone if error.errno in GONE else RecordUnwritable
        raise kind(f"cannot {self._doing} {self._target!a}: {error.strerror}") from error
