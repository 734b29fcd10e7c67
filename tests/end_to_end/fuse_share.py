"""A share whose server can be made to hang or to die, as a FUSE mount that passes through.

The server is a process of its own that speaks the kernel's protocol (linux/fuse.h, 7.31) over
/dev/fuse. Nothing is cached for longer than one call: names and attributes are valid for no time
and files are read past the page cache, so what the program does with the share reaches the server.
"""

import contextlib
import ctypes
import errno
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

_REPOSITORY = Path(__file__).parents[2]
_libc = ctypes.CDLL(None, use_errno=True)
_MOUNT_FLAGS = 2 | 4  # MS_NOSUID | MS_NODEV
_UNMOUNT_FLAGS = 1 | 2  # MNT_FORCE, which fails every request under way, | MNT_DETACH


def _missing() -> str:
    """What keeps this machine from mounting a share, or nothing."""
    if os.geteuid() != 0:
        return "mounting a FUSE share needs root"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"mounting a FUSE share needs /dev/fuse: {error.strerror}"
    capabilities = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
    if not int(capabilities, 16) & 1 << 21:
        return "mounting a FUSE share needs the capability CAP_SYS_ADMIN"
    return ""


needs_fuse = pytest.mark.skipif(bool(_missing()), reason=_missing() or "FUSE can be used")


def _checked(result: int, path: bytes) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(path))


TAPED = 0o1000
"""The mode of a file behind whose content is on a tape, so to say."""


class FuseShare:
    """The folder `behind`, mounted at `mountpoint` while the context lasts.

    Leaving the context frees whoever waits for the share, hung or dead. The server also dies with
    the thread that entered the context, so a test run that is killed leaves nobody waiting.
    Whoever reads a file that is `TAPED` waits until it is so no more, and nobody else does.
    """

    def __init__(self, mountpoint: Path, behind: Path) -> None:
        self.mountpoint = mountpoint.absolute()
        self.behind = behind.absolute()
        self._abort = Path(os.devnull)
        self._limit = threading.Timer(0, bool)

    def __enter__(self) -> Self:
        where = os.fsencode(self.mountpoint)
        with contextlib.ExitStack() as undo:
            # Closed here once the server has it, or nobody would notice the death of the server.
            with open("/dev/fuse", "r+b", buffering=0) as opened:
                device = opened.fileno()
                options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % device
                _checked(_libc.mount(b"fuse_share", where, b"fuse", _MOUNT_FLAGS, options), where)
                undo.callback(_libc.umount2, where, _UNMOUNT_FLAGS)
                command = [sys.executable, "-m", __name__, str(device), str(self.behind)]
                self._server = subprocess.Popen(command, cwd=_REPOSITORY, pass_fds=[device])
            undo.callback(self.die)
            number = os.minor(os.stat(where).st_dev)  # returns once the server has answered
            self._abort = Path(f"/sys/fs/fuse/connections/{number}/abort")
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def hang(self, at_most: float = 50) -> None:
        """Let every access from now on wait, until `go_on` or the end.

        The server dies after `at_most` seconds: no signal but SIGKILL reaches a thread that waits,
        so a test that itself waited for the share could not even be ended by its time limit. It
        stops between two requests: from one that a server has taken, and from the FLUSH of a file
        that is closed, Linux lets not even SIGKILL free a process.
        """
        self._server.send_signal(signal.SIGUSR1)
        state = os.waitid(os.P_PID, self._server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if state is None or state.si_code != os.CLD_STOPPED:
            raise RuntimeError("the server of the share is dead and cannot hang")
        self._limit.cancel()
        self._limit = threading.Timer(at_most, self._server.kill)
        self._limit.start()

    def go_on(self) -> None:
        """Let the server answer again, first what has been waiting."""
        self._limit.cancel()
        self._server.send_signal(signal.SIGCONT)

    def die(self) -> None:
        """End the server: what waits fails with ECONNABORTED, what comes later with ENOTCONN."""
        self._limit.cancel()
        self._server.kill()  # ends a stopped process too
        with contextlib.suppress(OSError):  # the kernel may not offer it, or be done already
            self._abort.write_text("1")
        self._server.wait()


_MAX_WRITE = 1 << 17
_ROOT = 1  # the kernel's number for it
_PATH = "/proc/self/fd/{}"
_READ = 15
_UNANSWERED = {2, 36, 42}  # FORGET, INTERRUPT, BATCH_FORGET
_KERNELS_FLAGS = os.O_APPEND | os.O_DIRECT  # it says where to write


def _attributes(stat: os.stat_result) -> bytes:
    times = stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns
    sizes = stat.st_ino, stat.st_size, stat.st_blocks
    seconds, rests = [at // 10**9 for at in times], [at % 10**9 for at in times]
    others = stat.st_mode, stat.st_nlink, stat.st_uid, stat.st_gid, 0, stat.st_blksize, 0
    return struct.pack("=3Q3q10I", *sizes, *seconds, *rests, *others)


def _opened(fd: int) -> bytes:
    return struct.pack("=QII", fd, 1, 0)  # FOPEN_DIRECT_IO


def _name(data: bytes) -> bytes:
    return data.split(b"\0", 1)[0]


class _Server:
    """Answers the kernel's requests, one at a time, from the folder behind.

    The number of a file is that of a descriptor which holds it open by O_PATH for as long as the
    kernel knows it, so it may be renamed or replaced meanwhile.
    """

    def __init__(self, device: int, behind: str) -> None:
        self._device = device
        os.dup2(os.open(behind, os.O_PATH | os.O_DIRECTORY), _ROOT)  # standard output gives way
        self._known: dict[tuple[int, int], int] = {}
        self._lookups: Counter[int] = Counter()
        self._listings: dict[int, list[bytes]] = {}
        self._later: list[bytes] = []
        self._operations: dict[int, Callable[[int, bytes], bytes | None]] = {
            1: lambda node, data: self._entry(node, _name(data)),  # LOOKUP
            2: lambda node, data: self._forget(struct.pack("=Q", node) + data),  # FORGET
            3: lambda node, _: bytes(16) + _attributes(os.fstat(node)),  # GETATTR
            4: self._set_attributes,
            9: self._make_folder,
            10: lambda node, data: os.unlink(_name(data), dir_fd=node),  # UNLINK
            11: lambda node, data: os.rmdir(_name(data), dir_fd=node),  # RMDIR
            12: lambda node, data: self._rename(node, data[:8], data[8:]),  # RENAME
            14: self._open,
            _READ: self._read,
            16: self._write,
            17: self._statfs,
            18: self._release,
            26: self._greet,
            27: self._open,  # OPENDIR
            28: self._list,
            29: self._release,  # RELEASEDIR
            35: self._create,
            # FSYNC, FSYNCDIR, ACCESS, INTERRUPT; FLUSH is refused, so the kernel asks no more
            **dict.fromkeys((20, 30, 34, 36), lambda _, __: None),
            42: lambda _, data: self._forget(data[8:]),  # BATCH_FORGET
            45: lambda node, data: self._rename(node, data[:16], data[16:]),  # RENAME2
        }

    def serve(self) -> None:
        """Answer until the share is unmounted; stop at SIGUSR1, never within a request."""
        signal.signal(signal.SIGUSR1, lambda _, __: os.kill(os.getpid(), signal.SIGSTOP))
        while True:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
            ready, _, _ = select.select([self._device], [], [], 0.05 if self._later else None)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            requests, self._later = self._later, []
            if ready:
                try:
                    requests.append(os.read(self._device, _MAX_WRITE + 4096))
                except FileNotFoundError:  # the request was withdrawn
                    pass
                except OSError:  # the share was unmounted
                    return
            for request in requests:
                self._answer(request)

    def _answer(self, request: bytes) -> None:
        _, operation, unique, node = struct.unpack_from("=IIQQ", request)
        code, answer = 0, b""
        if operation == _READ and os.fstat(node).st_mode & TAPED:
            self._later.append(request)
            return
        try:
            answer = self._operations.get(operation, self._refuse)(node, request[40:]) or b""
        except OSError as error:
            code = -(error.errno or errno.EIO)
        if operation not in _UNANSWERED:
            header = struct.pack("=IiQ", 16 + len(answer), code, unique)
            with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
                os.write(self._device, header + answer)

    def _refuse(self, _: int, __: bytes) -> bytes:
        raise OSError(errno.ENOSYS, "not offered by this share")

    def _greet(self, _: int, __: bytes) -> bytes:
        big_writes = 1 << 5
        return struct.pack("=4I2H2I32x", 7, 31, 0, big_writes, 12, 9, _MAX_WRITE, 1)

    def _entry(self, parent: int, name: bytes) -> bytes:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        stat = os.fstat(fd)
        node = self._known.setdefault((stat.st_dev, stat.st_ino), fd)
        if node != fd:
            os.close(fd)
        self._lookups[node] += 1
        return struct.pack("=5Q", node, 0, 0, 0, 0) + _attributes(stat)

    def _forget(self, data: bytes) -> None:
        for node, lookups in struct.iter_unpack("=QQ", data):
            self._lookups[node] -= lookups
            if self._lookups[node] <= 0 and node != _ROOT:
                stat = os.fstat(node)
                del self._known[stat.st_dev, stat.st_ino]
                os.close(node)

    def _set_attributes(self, node: int, data: bytes) -> bytes:
        valid, size, modified, rest, mode = struct.unpack_from("=I12xQ16xq12xI4xI16x", data)
        if valid & 1:
            os.chmod(_PATH.format(node), mode & 0o7777)
        if valid & 8:
            os.truncate(_PATH.format(node), size)
        if valid & 32:
            at = time.time_ns() if valid & 256 else modified * 10**9 + rest
            os.utime(_PATH.format(node), ns=(os.fstat(node).st_atime_ns, at))
        return bytes(16) + _attributes(os.fstat(node))

    def _make_folder(self, node: int, data: bytes) -> bytes:
        (mode,) = struct.unpack_from("=I", data)
        os.mkdir(_name(data[8:]), mode & 0o7777, dir_fd=node)
        return self._entry(node, _name(data[8:]))

    def _rename(self, node: int, target: bytes, names: bytes) -> None:
        folder, flags = struct.unpack_from("=QI", target + bytes(4))
        old, new = names.split(b"\0")[:2]
        _checked(_libc.renameat2(node, old, folder, new, flags), old)

    def _open(self, node: int, data: bytes) -> bytes:
        (flags,) = struct.unpack_from("=I", data)
        return _opened(os.open(_PATH.format(node), flags & ~(_KERNELS_FLAGS | os.O_NOFOLLOW)))

    def _create(self, node: int, data: bytes) -> bytes:
        flags, mode = struct.unpack_from("=II", data)
        flags = flags & ~_KERNELS_FLAGS | os.O_CREAT
        fd = os.open(_name(data[16:]), flags, mode & 0o7777, dir_fd=node)
        return self._entry(node, _name(data[16:])) + _opened(fd)

    def _read(self, _: int, data: bytes) -> bytes:
        fd, offset, size = struct.unpack_from("=QQI", data)
        return os.pread(fd, size, offset)

    def _write(self, _: int, data: bytes) -> bytes:
        fd, offset, size = struct.unpack_from("=QQI", data)
        return struct.pack("=II", os.pwrite(fd, data[40 : 40 + size], offset), 0)

    def _release(self, _: int, data: bytes) -> None:
        (fd,) = struct.unpack_from("=Q", data)
        self._listings.pop(fd, None)
        os.close(fd)

    def _list(self, _: int, data: bytes) -> bytes:
        fd, offset, size = struct.unpack_from("=QQI", data)
        if offset == 0:
            with os.scandir(fd) as entries:
                self._listings[fd] = [self._record(*entry) for entry in enumerate(entries, 1)]
        answer = b""
        for record in self._listings[fd][offset:]:
            if len(answer) + len(record) > size:
                break
            answer += record
        return answer

    @staticmethod
    def _record(following: int, entry: os.DirEntry[str]) -> bytes:
        kind = 10 if entry.is_symlink() else 4 if entry.is_dir() else 8
        name = os.fsencode(entry.name)
        record = struct.pack("=QQII", entry.inode(), following, len(name), kind) + name
        return record + bytes(-len(record) % 8)

    def _statfs(self, node: int, _: bytes) -> bytes:
        found = os.statvfs(_PATH.format(node))
        blocks = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
        return struct.pack("=5Q3I28x", *blocks, found.f_bsize, found.f_namemax, found.f_frsize)


def _main(device: str, behind: str) -> None:
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the test
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each known file is held open
    os.umask(0)  # the kernel has applied that of the caller
    _Server(int(device), behind).serve()


if __name__ == "__main__":
    _main(*sys.argv[1:])
