"""Whether sidecars can be written where they belong: by writing one as the daemon does."""

import grp
import os
import stat
import time
from collections.abc import Iterator

from watcher.commands.findings import Finding, amount, failed, passed, us, warned
from watcher.errors import RecordUnwritable
from watcher.outcomes import Stamp
from watcher.printable import printable
from watcher.record import SIDECAR, remove_sidecar, write_sidecar
from watcher.share import Share
from watcher.sidecar import ForeignRecord

NAME = ".autoretouch-check"
"""The image that the sidecar on trial is about; there is none. Hidden, so nobody sees it come and
go, and always the same, so that what a crash left is taken away by the next check."""

NOTHING = "0" * 64

SKEW_SECONDS = 2.0
"""File systems keep times to 2 s at the coarsest."""

LITTLE_BYTES, LITTLE_INODES = 100e6, 10_000


class RecordsCheck:
    """The lines about one share's records; `root` is the share's own folder, open."""

    def __init__(self, share: Share, root: int) -> None:
        self._share = share
        self._root = root

    def steps(self) -> Iterator[Finding]:
        """Whether one can be written, who can read it, and what its clock says."""
        place = printable(self._share.mirror or "") or "beside the images"
        try:
            with self._share.records("", self._root, create=True) as folder:
                if folder is None:
                    return
                made = _tried(folder)
                yield self._readers(made, os.fstat(folder), place)
                yield from _clock(made)
                if self._share.mirror is not None:
                    yield from room("sidecars' disk", folder)
        except ForeignRecord:
            yield failed(
                "sidecars",
                f"{place}: {NAME}{SIDECAR} is there, and it is not ours",
                "Take it away: the name is for this check.",
            )
        except (RecordUnwritable, FileExistsError) as error:
            yield failed("sidecars", printable(f"{place}: {error}"), self._remedy())

    def _remedy(self) -> str:
        if self._share.mirror is not None:
            return f"Make the directory and give the user {us()} the right to write to it."
        return (
            f"Give the user {us()} the right to write to the share's folders (best by their group "
            "and the setgid bit; by SMB the mount has to belong to that user: uid=), or set "
            'sidecars = "/some/dir", a directory that mirrors them.'
        )

    def _readers(self, made: "_Made", folder: os.stat_result, place: str) -> Finding:
        mode, group = stat.S_IMODE(made.status.st_mode), _group(made.status.st_gid)
        found = f"{place}: written, renamed, removed; group {group}, mode {mode:04o}"
        by_group_alone = folder.st_mode & 0o050 and not folder.st_mode & 0o004
        if made.status.st_gid != folder.st_gid and by_group_alone:
            return warned(
                "sidecars",
                f"{found}. The folder's group is {_group(folder.st_gid)}: who reads images by it "
                "cannot read their sidecars",
                "Let new files take the folder's group: find SHARE -type d -exec chmod g+s {} +",
            )
        return passed("sidecars", found)


class _Made:
    """The sidecar on trial as it was, and our clock around its making, in epoch nanoseconds."""

    def __init__(self, status: os.stat_result, before: int, after: int) -> None:
        self.status = status
        self.before = before
        self.after = after


def _tried(folder: int) -> _Made:
    """Writes one and takes it away. Raises `RecordUnwritable`, `ForeignRecord` or
    `FileExistsError`."""
    before = time.time_ns()
    stamp = Stamp(0, 0, 0, before - 10**12, before)
    try:
        write_sidecar(NAME, NOTHING, stamp=stamp, mode=0o644, folder=folder)
        try:
            status = os.stat(NAME + SIDECAR, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise RecordUnwritable(f"it cannot be seen: {error.strerror}") from error
        return _Made(status, before, time.time_ns())
    finally:
        remove_sidecar(NAME, folder)


def _clock(made: _Made) -> Iterator[Finding]:
    """The change time is given by whoever keeps the file: the server, if there is one. (On SMB it
    can be the modification time, which we have set: then it says nothing.)"""
    changed = made.status.st_ctime_ns
    if changed == made.status.st_mtime_ns:
        return
    early, late = (made.before - changed) / 1e9, (changed - made.after) / 1e9
    skew = max(early, late)
    if skew <= SKEW_SECONDS:
        yield passed("clock", "new files there have this machine's time")
        return
    ahead = "behind" if early > late else "ahead of"
    yield warned(
        "clock",
        f"new files there have a time {skew:.0f} s {ahead} this machine's",
        "Let both machines keep the same time (NTP): whether a file has come to rest and whether "
        "a sidecar is current is told by these times.",
    )


def room(what: str, folder: int) -> Iterator[Finding]:
    """How much is free on the disk of an open folder. Raises `OSError`."""
    disk = os.fstatvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    counted = disk.f_files > 0  # Btrfs and many servers count none
    found = f"{amount(free)} free"
    if counted:
        found += f", {disk.f_favail:,} inodes"
    if disk.f_blocks and (free < LITTLE_BYTES or (counted and disk.f_favail < LITTLE_INODES)):
        yield warned(
            what,
            f"only {found}",
            "Make room: each image needs one small file, its sidecar. If the disk is full, images "
            "are sent but not recorded.",
        )
        return
    yield passed(what, found)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
