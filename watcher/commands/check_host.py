"""What could be wrong on this machine: state directory, limits, what listens and who is told."""

import errno
import os
import resource
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from watcher.commands.check_records import room
from watcher.commands.findings import Finding, failed, passed, us, user_name, warned
from watcher.commands.survey import Survey
from watcher.errors import ConfigurationError
from watcher.exit_codes import CONFIGURATION
from watcher.printable import printable
from watcher.published import Published
from watcher.snapshot import Snapshot

FILES_A_WORKER, FILES_BESIDES = 4, 100
"""Descriptors that one file on its way takes (image, its folder, records, a connection), and those
of the daemon itself."""

NEARLY = 0.8
USUAL_EVENTS = 16_384
_LIMITS = {
    "max_user_watches": ("fs/inotify/max_user_watches", "user/max_inotify_watches"),
    "max_user_instances": ("fs/inotify/max_user_instances", "user/max_inotify_instances"),
    "max_queued_events": ("fs/inotify/max_queued_events",),
}
"""Below /proc/sys. A container can have a lower one of its own (user_namespaces(7))."""


def state_directory(path: str) -> Iterator[Finding]:
    """Whether it can be used by this user, and by nobody else."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield _to_be_made(path)
        return
    except OSError as error:
        yield _unusable(path, error)
        return
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
        yield from _kept_well(path, folder)
        yield from room("state disk", folder)
    except OSError as error:
        yield _unusable(path, error)
    finally:
        os.close(folder)


def _unusable(path: str, error: OSError) -> Finding:
    return failed(
        "state dir",
        f"{printable(path)}: cannot be used by {us()}: {error.strerror}",
        "Give this user the right to write to it, check as the daemon's user "
        "(`sudo -u USER autoretouch-watcher check`), or name another with --state-dir.",
        code=CONFIGURATION,
    )


def _kept_well(path: str, folder: int) -> Iterator[Finding]:
    """Who else can look into the directory that keeps the login, and whose it is."""
    status, shown = os.fstat(folder), printable(path)
    mode = stat.S_IMODE(status.st_mode)
    found = f"{shown}, owned by {user_name(status.st_uid)}, mode {mode:04o}"
    if mode & 0o027:
        others = "others may write to it" if mode & 0o022 else "others can look into it"
        yield warned("state dir", f"{found}: {others}", f"chmod 700 {shown}")
    else:
        yield passed("state dir", found)
    if os.geteuid() == 0 and status.st_uid != 0:
        owner = user_name(status.st_uid)
        yield warned(
            "user",
            f"checked as root, but the state directory is {owner}'s: what root may do on the "
            "shares, the daemon perhaps may not",
            f"Check as the daemon's user: sudo -u {owner} autoretouch-watcher check",
        )


def _to_be_made(path: str) -> Finding:
    above = os.path.abspath(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    shown = printable(path)
    if os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK, effective_ids=True):
        return passed("state dir", f"{shown}: is not there yet; it is made when it is needed")
    return failed(
        "state dir",
        f"{shown}: is not there, and {us()} may not make it in {printable(above)}",
        "Make it and give it to the daemon's user, or name another with --state-dir.",
        code=CONFIGURATION,
    )


def daemon(published: Published) -> tuple[bool, Finding]:
    """Whether one runs with this state directory, and what it complains of."""
    try:
        running, snapshot = published.runs(), published.read()
    except ConfigurationError as error:
        remedy = "Until then it cannot be told whether a daemon runs."
        return False, warned("daemon", str(error), remedy)
    if not running:
        return False, passed("daemon", "none runs with this state directory just now")
    return True, _running(snapshot)


def _running(snapshot: Snapshot | None) -> Finding:
    if snapshot is None:
        return passed("daemon", "one runs with this state directory")
    found = f"one runs with this state directory (process {snapshot.pid})"
    if not snapshot.conditions:
        return passed("daemon", found)
    said = ", ".join(sorted({condition.name for condition in snapshot.conditions}))
    return warned(
        "daemon", f"{found} and reports: {said}", "`autoretouch-watcher status` says more."
    )


def open_files(workers: int, shares: int) -> Finding:
    """Whether as many files can be open at once as the workers need."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = workers * FILES_A_WORKER + shares * FILES_A_WORKER + FILES_BESIDES
    found = f"up to {limit:,} at once; {workers} workers need about {needed:,}"
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return passed("open files", found)
    return warned(
        "open files",
        found,
        f"Set LimitNOFILE={2 * needed} in the unit (`ulimit -n` in a shell), or lower "
        "[workers] count.",
    )


def watches(seen: Sequence[Survey | None], root: str = "/proc/sys") -> Iterator[Finding]:
    """Whether the kernel lets all folders be watched; `seen` is what was seen of each share that
    is to be watched by events, None if it did not answer."""
    limits = {name: _limit(root, paths) for name, paths in _LIMITS.items()}
    folders = sum(survey.folders for survey in seen if survey)
    whole = all(survey and survey.whole for survey in seen)
    counted = f"{folders:,}{'' if whole else ' or more'} folders"
    yield _compared("watches", counted, folders, "max_user_watches", limits)
    yield _compared(
        "instances",
        f"one for each of {len(seen)} watched shares",
        len(seen),
        "max_user_instances",
        limits,
    )
    queue = limits["max_queued_events"]
    if queue is not None and queue < USUAL_EVENTS:
        yield warned(
            "event queue",
            f"fs.inotify.max_queued_events is {queue:,}: a burst of files overflows it, and then "
            "the whole share is scanned",
            _raise_to("max_queued_events", USUAL_EVENTS),
        )


def _compared(
    what: str, counted: str, needed: int, name: str, limits: Mapping[str, int | None]
) -> Finding:
    limit = limits[name]
    if limit is None:
        return warned(
            what, f"{counted}; fs.inotify.{name} cannot be read", "Look at it with `sysctl`."
        )
    found = f"{counted}; fs.inotify.{name} is {limit:,}"
    if needed <= limit * NEARLY:
        return passed(what, found)
    enough = max(2 * needed, 524_288 if name == "max_user_watches" else 512)
    if needed <= limit:
        return warned(what, f"{found}, nearly reached", _raise_to(name, enough))
    return warned(
        what, f"{found}: too few, so shares will be polled instead", _raise_to(name, enough)
    )


def _raise_to(name: str, value: int) -> str:
    return (
        f"Write fs.inotify.{name}={value} to /etc/sysctl.d/60-autoretouch-watcher.conf, then: "
        "sudo sysctl --system"
    )


def _limit(root: str, paths: Sequence[str]) -> int | None:
    found = []
    for path in paths:
        with (
            suppress(OSError, ValueError),
            open(os.path.join(root, path), encoding="ascii") as file,
        ):
            found.append(int(file.read()))
    return min(found, default=None)


def monitor(listen: str, *, running: bool) -> Finding:
    """Whether the address is free, or the daemon already has it; who else can reach it."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen(1)
    except (OSError, UnicodeError) as error:  # the latter for what is no name: "a..b"
        if getattr(error, "errno", None) == errno.EADDRINUSE and running:
            return passed("monitor", f"{listen}: the running daemon listens there")
        return failed(
            "monitor",
            f"{listen}: cannot be listened on: {getattr(error, 'strerror', error)}",
            'Give another address in [monitor] listen, such as "127.0.0.1:9464".',
        )
    if not str(address[0]).startswith(("127.", "::1")):
        return warned(
            "monitor",
            f"{listen}: is free, but others on the network can read it there",
            'Use "127.0.0.1:PORT" unless the monitoring system is on another machine.',
        )
    return passed("monitor", f"{listen}: is free")


def notify(command: Sequence[str], webhook: str, after_seconds: float) -> Iterator[Finding]:
    """Whether the command is there; nothing is run and nobody is told."""
    if webhook:
        yield passed("webhook", f"is told after {after_seconds:g} s; it is not tried here")
    if not command:
        return
    program = printable(command[0])
    if shutil.which(command[0]):
        yield passed("command", f"{program}: is run after {after_seconds:g} s of trouble")
        return
    yield failed(
        "command",
        f"{program}: {us()} cannot run it: it is not there or not executable",
        "Give the absolute path of a program in [notify] command, and the right to run it "
        "(chmod +x).",
    )
