"""Tells somebody when a condition lasts, and when it clears: once each, by command or webhook.

The daemon's main loop looks; what is to be told goes to a thread of its own, so a command that
hangs or a webhook that does not answer holds up nothing. While something waits to be told, no more
is decided: what has cleared until then is nobody's business any more, and what lasts is told later.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Self

from structlog.typing import FilteringBoundLogger

from watcher.conditions import Condition
from watcher.exchange import Connection
from watcher.notices import Lasting, Notice
from watcher.telling import Command, Way, Webhook

CLOSE_SECONDS = 2.0
"""What is to be told at the end has so long."""


class Notifier:
    """Tells while it is entered, once; without command and webhook it does nothing, in no thread.
    It outlasts the configurations, so that nobody is told of anything again or in another order.

    Entered, left and looked at by one thread; the thread `notifier` owns the ways to tell.
    """

    def __init__(self, *, environ: Mapping[str, str], host: str, log: FilteringBoundLogger) -> None:
        self._environ = environ
        self._host = host
        self._log = log
        self._lasting = Lasting(0)
        self._unheard: set[Condition] = set()
        self._in_vain: SimpleQueue[Condition] = SimpleQueue()
        self._stop = threading.Event()
        self._queue: SimpleQueue[tuple[Notice, Sequence[Way]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._tell_all, name="notifier", daemon=True)
        self._ways: Sequence[Way] = ()

    def take_up(
        self,
        *,
        command: Sequence[str],
        webhook: str,
        after_seconds: float,
        connect: Callable[[], Connection],
    ) -> None:
        """What is told from now on is told so. What nobody could be told before is told anew."""
        ways: list[Way] = []
        if command:
            environ, host = self._environ, self._host
            ways.append(Command(command, environ=environ, host=host, stop=self._stop))
        if webhook:
            pause = self._stop.wait
            ways.append(Webhook(webhook, connect=connect, host=self._host, pause=pause))
        self._ways, self._lasting.after_seconds = ways, after_seconds
        self._collect_unheard()
        self._lasting.forget(self._unheard)
        self._unheard.clear()
        if ways and self._thread.ident is None:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:
            return
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)

    def look(self, active: tuple[Condition, ...], now: float) -> None:
        """What holds at epoch time `now`; asked now and then. Returns at once."""
        self._collect_unheard()
        self._unheard.intersection_update(active)
        if not self._ways or not self._queue.empty():
            return
        for notice in self._lasting.look(active, now):
            self._queue.put((notice, self._ways))

    def _collect_unheard(self) -> None:
        while not self._in_vain.empty():
            self._unheard.add(self._in_vain.get())

    # The thread

    def _tell_all(self) -> None:
        while (news := self._queue.get()) is not None:
            notice, ways = news
            heard = [self._told(way, notice) for way in ways]
            if not any(heard):
                self._in_vain.put(notice.condition)

    def _told(self, way: Way, notice: Notice) -> bool:
        try:
            trouble = way.tell(notice) if not self._stop.is_set() else "there was no time left"
        except Exception as error:  # noqa: BLE001 - it is logged, and the next is told all the same
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            self._log.error(
                "failed",
                reason="notify_failed",
                condition=notice.condition.name,
                place=notice.condition.place,
                state=notice.state,
                found=trouble,
            )
        return not trouble
