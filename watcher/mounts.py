"""What a path is mounted on (proc(5), mountinfo)."""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

MOUNTINFO = "/proc/self/mountinfo"

UNANNOUNCED = re.compile(
    r"(?:nfs4?|cifs|smb3|smbfs|fuse(?:\..*|blk)?|9p|virtiofs|ceph|afs|glusterfs|lustre|gfs2|ocfs2"
    r"|ncpfs|coda|orangefs|vboxsf|prl_fs)\Z"
)
"""File systems where others' changes reach no inotify watch of ours."""


class Mount(NamedTuple):
    """One mounted file system. The ID tells two mounts in turn on one path apart; `st_dev` does
    not."""

    identifier: int
    point: str
    kind: str

    @property
    def announced(self) -> bool:
        """Whether the kernel sees, and so announces, every change on it."""
        return UNANNOUNCED.match(self.kind) is None


def is_mount_point(folder: int) -> bool:
    """Whether the open `folder` is the root of a mount; a bind mount counts, too."""
    above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return mount_id(above) != mount_id(folder)
    finally:
        os.close(above)


def mount_id(fd: int) -> int:
    """The ID of the mount that an open file is on (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))


def mount_of(path: str, lines: Iterable[str] | None = None) -> Mount | None:
    """The mount that `path` is on: of several on one point the last, which covers the others.

    `lines` are those of mountinfo, by default of this process. None if there is none to be found.
    """
    if lines is None:
        # The kernel escapes a line feed in a name, but no carriage return, which is no line's end.
        with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines = file.readlines()
    real = os.path.realpath(path)
    best: Mount | None = None
    for line in lines:
        mount = _parsed(line)
        above = mount.point.rstrip("/") + "/"
        if (real + "/").startswith(above) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _parsed(line: str) -> Mount:
    fields, _, rest = line.partition(" - ")
    identifier, _, _, _, point = fields.split(" ")[:5]
    return Mount(int(identifier), _unescaped(point), rest.split(" ")[0])


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
