"""The daemon's own threads: whatever ends one, another takes its place."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.core.factories import PATIENCE, Log, a_share
from watcher import shift as shift_module
from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.conditions import Conditions
from watcher.daemon import Daemon
from watcher.gates import Gates
from watcher.hangs import Hangs
from watcher.intake import Intake
from watcher.outcomes import Gone, Outcome
from watcher.overview import Overview
from watcher.pool import Pool
from watcher.progress import Nothing
from watcher.published import Published
from watcher.scans import ScanLog
from watcher.shift import Shift
from watcher.systemd import Systemd
from watcher.tally import Tally


class Seen:
    """A worker's way that only notes what it was given; implements `pool.Verdicts`."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._paths: set[str] = set()
        self._news = threading.Condition()

    def way(self, candidate: Candidate) -> Outcome:
        with self._news:
            self._paths.add(candidate.path)
            self._news.notify_all()
        return Gone()

    def outcome(self, candidate: Candidate, _outcome: Outcome, _seconds: float) -> None:
        self._backlog.finish(candidate)

    def failure(self, candidate: Candidate, _error: Exception) -> None:
        self._backlog.finish(candidate)

    def came(self, path: str) -> bool:
        with self._news:
            return self._news.wait_for(lambda: path in self._paths, PATIENCE)


@pytest.fixture
def kept_signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, action in zip(numbers, before, strict=True):
        signal.signal(number, action)


def once_failing(deed: Callable[[], object]) -> Callable[[], object]:
    """The deed, but the first time a failure that nobody has thought of."""
    failed = threading.Event()

    def first_failing() -> object:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("nobody has thought of this")
        return deed()

    return first_failing


@pytest.mark.usefixtures("kept_signals")
@pytest.mark.parametrize("dies", ["intake", "clock"])
def test_a_thread_that_ends_for_whatever_reason_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    log, backlog = Log(), Backlog(clock=time.monotonic)
    conditions, seen = Conditions(log.logger), Seen(backlog)
    pool = Pool(1, backlog=backlog, ways=lambda: nullcontext(seen.way), verdicts=seen)
    scans = ScanLog(log.logger, conditions)
    share = a_share(tmp_path / "share")
    intake = Intake(
        share, backlog=backlog, report=scans.report, settle_seconds=0, clock=time.monotonic
    )
    shift = Shift(
        intakes=(intake,),
        backlog=backlog,
        gates=Gates(backlog),
        conditions=conditions,
        tally=Tally(),
        scans=scans,
        hangs=Hangs(
            backlog=backlog,
            pool=pool,
            conditions=conditions,
            clock=time.monotonic,
            log=log.logger,
            file_seconds=PATIENCE,
        ),
        pool=pool,
        log=log.logger,
        once=False,
        monitor=nullcontext(),
    )
    daemon = Daemon(
        shift,
        renewed=lambda: shift,
        overview=Overview(),
        systemd=Systemd({}),
        published=Published(str(tmp_path)),
        notifier=nullcontext(),
        log=log.logger,
        display=Nothing(),
        end_beside=lambda: "",
    )
    monkeypatch.setattr(shift_module, "ANEW_SECONDS", 0.1)
    if dies == "intake":
        monkeypatch.setattr(intake, "_look", once_failing(intake._look))
    else:
        monkeypatch.setattr(backlog, "keep_time", once_failing(backlog.keep_time))
    (tmp_path / "share" / "a.jpg").write_bytes(b"image")
    arrived = []

    def watch() -> None:
        arrived.append(seen.came("a.jpg"))
        (tmp_path / "share" / "b.jpg").write_bytes(b"image")  # an event, and a time to wait for
        arrived.append(seen.came("b.jpg"))
        daemon.stop()

    threading.Thread(target=watch).start()
    assert daemon.run() == 0
    assert arrived == [True, True]
    assert [entry["reason"] for entry in log.entries if entry["event"] == "failed"] == [
        "internal_error"
    ]
