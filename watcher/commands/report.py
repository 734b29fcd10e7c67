"""What `status` knows at one moment, as one JSON object, and the exit code for it."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from watcher import __version__
from watcher.commands.census import NEWEST, Rejection
from watcher.commands.counting import Counted
from watcher.conditions import Condition
from watcher.errors import ConfigurationError
from watcher.exit_codes import AMISS, CONFIGURATION, LOGIN_NEEDED, OK
from watcher.published import Published
from watcher.snapshot import ShareState, Snapshot

OLD_SECONDS = 10.0
"""A snapshot that is older comes from a daemon that does not get on: it writes one every two."""

State = Literal["running", "starting", "not_answering", "not_running", "unknown"]


@dataclass(frozen=True, slots=True)
class Daemon:
    """Whether one runs and what it published last; `trouble` says why that cannot be known."""

    state: State
    snapshot: Snapshot | None = None
    trouble: str = ""


def daemon_of(state_dir: str, now: float) -> Daemon:
    """What the state directory says of the daemon at epoch time `now`."""
    published = Published(state_dir)
    try:
        snapshot = published.read()
        if snapshot is None:
            return Daemon("starting" if published.runs() else "not_running")
    except ConfigurationError as error:
        return Daemon("unknown", trouble=str(error))
    old = now - snapshot.at > OLD_SECONDS
    return Daemon("not_answering" if old else "running", snapshot)


@dataclass(frozen=True, slots=True)
class Report:
    """All of it at epoch time `at`; of a share that is being counted, what came of it before."""

    at: float
    daemon: Daemon
    shares: tuple[Counted, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Those that the daemon published."""
        return self.daemon.snapshot.conditions if self.daemon.snapshot else ()

    @property
    def rejections(self) -> list[tuple[Counted, Rejection]]:
        """The newest of all shares, the newest first."""
        found = [
            (counted, each)
            for counted in self.shares
            if counted.stock is not None
            for each in counted.stock.newest
        ]
        return sorted(found, key=lambda pair: pair[1], reverse=True)[:NEWEST]

    def followed(self, counted: Counted) -> ShareState | None:
        """How the daemon follows this share; None if it does not, or does not run."""
        states = self.daemon.snapshot.shares if self.daemon.snapshot else ()
        return next((each for each in states if each.root == counted.share.root), None)

    @property
    def code(self) -> int:
        """The exit code: 78 if nobody may know whether the daemon runs, 77, 1 or 0."""
        if self.daemon.state == "unknown":
            return CONFIGURATION
        if any(condition.name == "login_needed" for condition in self.conditions):
            return LOGIN_NEEDED
        snapshot = self.daemon.snapshot
        stuck = snapshot is not None and not snapshot.moving
        ill = self.daemon.state == "not_answering" or stuck or bool(self.conditions)
        return AMISS if ill or any(map(_is_ill, self.shares)) else OK


def _is_ill(counted: Counted) -> bool:
    stock = counted.stock
    return stock is None or bool(stock.rejected or stock.unreadable)


def report_of(state_dir: str, shares: Sequence[Counted]) -> Report:
    """The counts of the shares, put together with what the daemon says now."""
    now = time.time()
    return Report(now, daemon_of(state_dir, now), tuple(shares))


def as_object(report: Report) -> dict[str, Any]:
    """The JSON object that `watcher.commands.status` documents."""
    snapshot = report.daemon.snapshot
    return {
        "version": __version__,
        "at": report.at,
        "daemon": _daemon(report.daemon),
        "shares": [_share(counted, report.followed(counted)) for counted in report.shares],
        "conditions": [{**asdict(each), "remedy": each.remedy} for each in report.conditions],
        "in_flight": [
            {**asdict(flight), "percent": percent(flight.sent, flight.size)}
            for flight in (snapshot.flights if snapshot else ())
        ],
        "rejections": [
            {"share": counted.share.root, **asdict(each)} for counted, each in report.rejections
        ],
    }


def _daemon(daemon: Daemon) -> dict[str, Any]:
    snapshot = daemon.snapshot
    told = {
        "pid": None,
        "version": None,
        "started": None,
        "at": None,
        "moving": None,
        "waiting": None,
        "files_per_second": None,
        "bytes_per_second": None,
        "counts": None,
        "last_upload": None,
    }
    if snapshot is not None:
        values = asdict(snapshot)
        told = {key: values[key] for key in told}
    return {"state": daemon.state, "trouble": daemon.trouble, **told}


def _share(counted: Counted, state: ShareState | None) -> dict[str, Any]:
    stock = counted.stock
    return {
        "path": counted.share.root,
        "followed": state.how if state else None,
        "trouble": counted.trouble,
        "uploaded": stock and stock.uploaded,
        "rejected": stock and stock.rejected,
        "waiting": stock and stock.waiting,
        "ignored": stock and stock.ignored,
        "images": stock and stock.images,
        "left_out": stock and stock.left_out,
        "not_sent": stock and dict(sorted(stock.not_sent.items())),
        "unreadable": stock and stock.unreadable,
        "unreadable_folder": stock and stock.unreadable_folder,
        "counted_at": counted.at,
        "seconds": round(counted.seconds, 3),
    }


def percent(sent: int, size: int) -> int:
    """How much is sent, in whole percent; an empty file is sent at once."""
    return min(100, 100 * sent // size) if size else 100
