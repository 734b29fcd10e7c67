"""A directory tree that nobody can lead us out of.

Every access to a share goes through here: from the root down one component at a time, no link
followed, nothing but regular files opened, never blocking. (`openat2` would do it in one call, but
`RestrictSUIDSGID=yes` in the unit turns it into ENOSYS.) No folder stays open between two files:
an open folder would make an unmount fail.
"""

import ctypes
import errno
import os
import stat
from contextlib import suppress
from typing import Final

from watcher.errors import FileUnreadable, ShareGone, ShareTrouble
from watcher.mounts import is_mount_point
from watcher.outcomes import Stamp

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO planted between `stat` and `open` would block for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

PATH_MAX = 4096
"""Bytes of a path, with its NUL, that Linux takes in one call. A longer one can be reached by no
client, so we do not descend to it either."""

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
GONE: Final = {
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ECONNABORTED,  # FUSE: the server died while it was asked
    errno.ENODEV,
    errno.ENXIO,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ESHUTDOWN,
    errno.ETIMEDOUT,
}
"""What a file system answers to everything when it, or its server, is gone."""


class NotThere(Exception):
    """No regular file or folder is at that path now."""


class Tree:
    """One tree below `root`. Stateless: any thread may use it.

    `missing` is the error for a root that cannot be entered. With `require_mount`, one that nothing
    is mounted on is missing, too.
    """

    def __init__(
        self,
        root: str,
        *,
        missing: type[ShareTrouble] = ShareGone,
        require_mount: bool = False,
    ) -> None:
        self.root = root
        self._missing = missing
        self._require_mount = require_mount

    def folder(self, relative: str) -> "Closing":
        """`open_folder`, closed on leaving."""
        return Closing(self.open_folder(relative))

    def open_folder(self, relative: str, *, create: bool = False) -> int:
        """A descriptor of the folder `relative` ("" is the root), which the caller closes.

        With `create`, missing folders are made (a mirror of sidecars follows its share's tree).
        Raises `NotThere` if a component is missing, a link or no folder, `FileUnreadable` if it
        may not be entered, and `missing` if the root itself cannot be.
        """
        fd = self._enter_root()
        for name in relative.split("/") if relative else ():
            try:
                below = self._enter(name, fd, create=create)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _enter_root(self) -> int:
        try:
            # The root alone may be a link: the administrator wrote it, not a user of the share.
            fd = os.open(self.root, _FOLDER & ~os.O_NOFOLLOW)
        except OSError as error:
            raise self._missing(f"cannot enter {self.root}: {error.strerror}") from error
        if self._require_mount and not is_mount_point(fd):
            os.close(fd)
            raise self._missing(f"nothing is mounted at {self.root}")
        return fd

    def _enter(self, name: str, above: int, *, create: bool) -> int:
        with Translated(name):
            if create:
                with suppress(FileExistsError):  # the usual case
                    os.mkdir(name, 0o777, dir_fd=above)
            return os.open(name, _FOLDER, dir_fd=above)


# The next two are entered some fifteen times a file: as generators they would cost thrice as much.


class Closing:
    """Gives an open descriptor and closes it on leaving."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        """The descriptor."""
        return self._fd

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        os.close(self._fd)


class Translated:
    """Turns what the file system says of `name` into `NotThere`, `FileUnreadable`, `ShareGone`;
    without a name, what it says of a file that is open: that one is there, whatever becomes of its
    name."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        """Raises what it means."""
        if not isinstance(error, OSError):
            return
        if self._name is not None and error.errno in _ABSENT:
            raise NotThere(self._name) from error
        if error.errno in GONE:
            raise ShareGone(f"the file system answers: {error.strerror}") from error
        raise FileUnreadable(f"it cannot be read: {error.strerror}") from error


reading: Final = Translated()
"""For a file that is open."""


def split(path: str) -> tuple[str, str]:
    """Folder ("" for the root) and name of a relative path."""
    folder, _, name = path.rpartition("/")
    return folder, name


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp that a `stat` result gives."""
    return Stamp(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def look(name: str, folder: int) -> os.stat_result:
    """`lstat` of a regular file; raises `NotThere` for anything else."""
    with Translated(name):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise NotThere(name)
    return status


def is_free(name: str, folder: int) -> bool:
    """Whether nothing at all has this name."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # nobody knows, so it may be there
    return False


def open_regular(name: str, folder: int) -> int:
    """A descriptor of the regular file `name`, for reading, which the caller closes.

    Raises like `look`. It never blocks, whatever is there.
    """
    return opened(name, folder)[0]


def opened(name: str, folder: int) -> tuple[int, os.stat_result]:
    """`open_regular`, and what `fstat` says of it."""
    with Translated(name):
        try:
            fd = os.open(name, _FILE, dir_fd=folder)
        except OSError:
            look(name, folder)  # a socket answers ENXIO, which must not look like a dead share
            raise
    if not stat.S_ISREG((status := os.fstat(fd)).st_mode):
        os.close(fd)
        raise NotThere(name)
    return fd, status


_libc = ctypes.CDLL(None, use_errno=True)
_RENAME_NOREPLACE = 1
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


def rename_to_free(source: str, target: str, folder: int, to: int | None = None) -> None:
    """Renames within `folder`, or from there `to` another open one, to a name that nothing has;
    raises `FileExistsError` if it is taken.

    One system call (`renameat2`, Linux 3.15) where the file system knows it, so that nothing
    planted in between is overwritten; elsewhere a look and a rename.
    """
    to = folder if to is None else to
    answer = _libc.renameat2(
        folder, os.fsencode(source), to, os.fsencode(target), _RENAME_NOREPLACE
    )
    if answer == 0:
        return
    code = ctypes.get_errno()
    if code not in _NOT_SUPPORTED:
        raise OSError(code, os.strerror(code), target)
    if not is_free(target, to):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target, src_dir_fd=folder, dst_dir_fd=to)
