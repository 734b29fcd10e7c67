"""Stand-ins at the outer seams (clocks, chance, the log), and what all tests make."""

import ctypes
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from watcher.access import MIN_BYTES_PER_SECOND
from watcher.backlog import Backlog
from watcher.candidate import Candidate, Priority
from watcher.connection import DirectConnection, WireTransport
from watcher.settling import Moment
from watcher.share import Share

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True)

ROOT = os.geteuid() == 0
PATIENCE = 20.0
"""Seconds after which a test that waits for something gives up: never a part of what is tested."""

HASH = "d4d4a63a03c9543f4f21d474500a95d7bb5704c83c139ddc6e005eaba6d54b22"
OTHER_HASH = "0" * 64

HARD_NAMES = (
    b"plain.jpg", b" leading.jpg", b"two  blanks.jpg", b"*star.jpg", b"-dash.jpg", b"--.jpg",
    b"back\\slash.jpg", b"\\n.jpg", b"\\\\.jpg", b"new\nline.jpg", b"\n.jpg", b"return\rin.jpg",
    b"\r\n.jpg", b"\\\r\n.jpg", b"\xff\xfe.jpg", b"\xc3\xbc.jpg", b"\x1b[31mred.jpg", b"%s%d.jpg",
    b"\"quotes' `.jpg", b"#hash.jpg", b"$(x);.jpg", b"\x7f\x01.jpg", b"n" * 244 + b".jpg",
)  # fmt: skip
"""Names that have broken somebody's program."""

NAMES = (
    st.binary(min_size=1, max_size=60)
    | st.lists(st.sampled_from([b"\\", b"\n", b"\r", b"n", b" ", b"*", b"\xff", b"0"]))
    .map(b"".join)
    .filter(bool)
    | st.sampled_from(HARD_NAMES)
).filter(lambda name: b"\0" not in name and b"/" not in name and name not in {b".", b".."})
"""Any name that a file can have, as bytes."""


class Clock:
    """Both clocks; they stand still until told otherwise. Calling it gives steady seconds."""

    def __init__(self, steady: float = 1_000.0, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self.steady = steady
        self.wall_ns = wall_ns

    def __call__(self) -> float:
        return self.steady

    def wall(self) -> float:
        return self.wall_ns / 1e9

    def advance(self, seconds: float) -> None:
        self.steady += seconds
        self.wall_ns += int(seconds * 1e9)

    @property
    def now(self) -> Moment:
        return Moment(self.steady, self.wall_ns)


class Log:
    """A real logger whose entries are kept, in order, as dictionaries."""

    def __init__(self) -> None:
        self._capture = LogCapture()
        self.logger = cast(
            "FilteringBoundLogger",
            structlog.wrap_logger(
                None,
                processors=[structlog.processors.add_log_level, self._capture],
                wrapper_class=structlog.make_filtering_bound_logger("debug"),
            ),
        )

    @property
    def entries(self) -> list[MutableMapping[str, Any]]:
        return self._capture.entries

    @property
    def events(self) -> list[str]:
        return [entry["event"] for entry in self.entries]


def a_connection(
    *,
    timeout_seconds: float = PATIENCE,
    ssl_context: ssl.SSLContext | None = None,
    slowest: float = MIN_BYTES_PER_SECOND,
    **options: Any,
) -> DirectConnection:
    """A connection for loopback; it believes no certificate unless told, which saves the time to
    load them."""
    transport = WireTransport(
        trust=lambda: ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        silence=timeout_seconds,
    )
    return DirectConnection(transport, timeout_seconds=timeout_seconds, slowest=slowest, **options)


def drop(path: Path, content: bytes = b"image") -> Path:
    """Writes a file, in folders that are made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def a_share(root: Path, **options: Any) -> Share:
    root.mkdir(exist_ok=True)
    return Share(root=str(root), **options)


def a_candidate(backlog: Backlog, share: Share, path: str = "a.jpg") -> Candidate:
    """A candidate as a worker has it: taken out of the backlog."""
    assert backlog.put(share, path, Priority.BACKLOG, timeout=0)
    candidate = backlog.take()
    assert candidate is not None
    return candidate


def promote(backlog: Backlog) -> float | None:
    """One round of the backlog's clock thread."""
    with backlog._lock:
        return backlog._promote_due()


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def mounted(point: Path, options: str) -> Iterator[Path]:
    """A file system of its own; the test is skipped where it may not be mounted."""
    point.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(point)]
    answer = subprocess.run(mount, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {answer.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


@contextmanager
def made_read_only(point: Path, fill: Callable[[Path], object]) -> Iterator[Path]:
    """A folder, filled first, that not even root can write to."""
    if ROOT:
        with mounted(point, "size=1m"):
            fill(point)
            subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
            yield point
        return
    point.mkdir(exist_ok=True)
    fill(point)
    point.chmod(0o555)
    try:
        yield point
    finally:
        point.chmod(0o755)


def change_after(path: Path, moment_ns: int) -> None:
    """Changes nothing but the change time, to one after `moment_ns`: the kernel's clock for files
    moves in steps."""
    while path.stat().st_ctime_ns <= moment_ns:
        path.chmod(path.stat().st_mode)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ended(*threads: threading.Thread) -> bool:
    for thread in threads:
        thread.join(PATIENCE)
    return not any(thread.is_alive() for thread in threads)


def left_open(before: set[str]) -> set[str]:
    """Descriptors that are open now and were not `before`."""
    return open_descriptors() - before


def open_descriptors() -> set[str]:
    return {
        f"{fd}:{target}"
        for fd in os.listdir("/proc/self/fd")
        if (target := _target(fd)) is not None and not target.startswith("/proc/")
    }


def _target(fd: str) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return None


@contextmanager
def without_override() -> Iterator[None]:
    """This thread without root's right to read and enter whatever it likes (capabilities(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    effective = sets[0]
    sets[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


def wait_until(true: Callable[[], bool]) -> None:
    """For what nobody announces."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def file_of(content: bytes) -> Iterator[int]:
    """A descriptor of a file that holds this."""
    fd = os.memfd_create("file")
    try:
        os.pwrite(fd, content, 0)
        yield fd
    finally:
        os.close(fd)
