"""The counting of shares in threads of their own: a share that hangs holds nobody up.

Nobody waits for a thread that a dead file server holds; it ends with the process.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from watcher.commands.census import Stock, Stocktaking
from watcher.errors import ShareTrouble
from watcher.hangs import HUNG_SECONDS
from watcher.mounts import file_system
from watcher.share import Share

COST = 0.1
"""Counting anew, again and again, takes at most this part of the time."""

AGAIN_SECONDS = 2.0
"""A share is never counted anew sooner than so."""

_PAUSE = 0.02

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of counting one share: its stock, or the trouble in words. `seconds` it took, and
    `at` (epoch seconds) it was through; `at` is None while it is being counted the first time."""

    share: Share
    stock: Stock | None = None
    trouble: str = ""
    seconds: float = 0.0
    at: float | None = None


class Count:
    """Counts one share, and anew when that is due. Owned by the thread that calls `look`."""

    def __init__(self, share: Share, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.share = share
        self._result = Counted(share)
        self._clock = clock
        self._again_at = 0.0
        self._under_way: _UnderWay | None = None
        self._begin()

    @property
    def images(self) -> int:
        """How many are counted by now."""
        return self._under_way.stock.images if self._under_way else 0

    def look(self) -> Counted:
        """The newest result. Gives the share up if it hangs, and begins anew if it is time. Raises
        what the counting raised that is not trouble of the share."""
        now, under_way = self._clock(), self._under_way
        if under_way is None:
            if now >= self._again_at:
                self._begin()
        elif under_way.future.done():
            self._take(under_way)
        elif under_way.hangs(now):
            why = f"it has not answered for {HUNG_SECONDS:.0f} seconds"
            self._keep(None, why, now - under_way.began)
        return self._result

    def _begin(self) -> None:
        self._under_way = _UnderWay(self.share, self._clock)

    def _take(self, under_way: "_UnderWay") -> None:
        took = under_way.ended - under_way.began
        self._under_way = None
        self._again_at = under_way.ended + max(AGAIN_SECONDS, took / COST - took)
        try:
            self._keep(under_way.future.result(), "", took)
        except ShareTrouble as error:
            self._keep(None, str(error), took)

    def _keep(self, stock: Stock | None, trouble: str, took: float) -> None:
        self._result = Counted(self.share, stock, trouble, took, time.time())


class _UnderWay:
    """One walk. Its thread owns the walk; the rest is for the thread that asks."""

    def __init__(self, share: Share, clock: Callable[[], float]) -> None:
        self._share = share
        self._clock = clock
        self._walk = Stocktaking(share)
        self.stock = self._walk.stock
        self.began = self.ended = self._moved = self._asked = clock()
        self._steps = -1
        self._probe: Future[object] | None = None
        self.future = _in_thread(self._run)

    def _run(self) -> Stock:
        try:
            return self._walk.run()
        finally:
            self.ended = self._clock()

    def hangs(self, now: float) -> bool:
        """Whether the share has stopped to answer. A walk that only looks slow, because the scan
        is in the midst of a large folder, is told from that by a second question."""
        if self.stock.steps != self._steps:
            self._steps, self._moved, self._probe = self.stock.steps, now, None
        elif self._probe is None:
            if now - self._moved > HUNG_SECONDS / 2:
                self._asked, self._probe = now, _in_thread(self._ask)
        elif self._probe.done():
            self._moved, self._probe = now, None
        else:
            return now - self._asked > HUNG_SECONDS / 2
        return False

    def _ask(self) -> object:
        with self._share.tree.folder("") as fd:
            return file_system(fd)


def _in_thread(work: Callable[[], _Answer]) -> Future[_Answer]:
    future: Future[_Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever asks
            future.set_exception(error)

    threading.Thread(target=run, name="census", daemon=True).start()
    return future


def count_once(
    shares: Sequence[Share], tell: Callable[[Sequence[Count]], object]
) -> tuple[Counted, ...]:
    """All shares at the same time, each once; `tell` is called a few times a second meanwhile."""
    counts = [Count(share) for share in shares]
    pause = threading.Event()
    results: dict[Count, Counted] = {}
    while True:
        for count in counts:
            if count not in results and (counted := count.look()).at is not None:
                results[count] = counted
        if len(results) == len(counts):
            return tuple(results[count] for count in counts)
        tell(counts)
        pause.wait(_PAUSE)
