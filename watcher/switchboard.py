"""A process of its own that has the connections, so that a second processor is of use.

All threads of an interpreter take turns, best on one processor (see `processor`). What connections
take of it, httpx, TLS and the kernel's part of sending, is a third for small files and a quarter
for photographs, and can be done elsewhere: each worker has a `Line` to that process, which gets the
open file, not its content. It decides nothing and writes nothing; if it dies, only speed is lost.

It is forked before anything is loaded, opened or locked: it loads what it needs while the daemon
does the same, and shares no more with it than a channel and the standard streams.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count

from watcher.channel import Channel, ChannelLost
from watcher.exchange import Connection, Terms
from watcher.exit_codes import AMISS, OK
from watcher.lean import all_loaded, loading_lean
from watcher.line import Line, NewLine
from watcher.processor import in_peace

END_SECONDS = 1.0
"""How long it may take to end; a dead file server can hold it in the kernel."""


class Switchboard:
    """The daemon's side of it. Any thread may open a line; `end` is the main thread's."""

    def __init__(self, channel: Channel, process: int) -> None:
        self._channel = channel
        self._process = process
        self._shifts = count()

    def end(self) -> str:
        """How the process has ended, told once; "" before and after."""
        try:
            process, status = os.waitpid(self._process, os.WNOHANG)
        except ChildProcessError:  # it was told, or whoever started us ignores SIGCHLD
            return ""
        if not process:
            return ""
        code = os.waitstatus_to_exitcode(status)
        by = f"was ended by {_signal(-code)}" if code < 0 else f"ended with {code}"
        return (
            f"our process with the connections {by}. They are made in this one until the next "
            "start, which is slower; what was being sent is sent again."
        )

    def lines(self, terms: Terms, otherwise: Callable[[], Connection]) -> Callable[[], Connection]:
        """What makes lines, all of them with the same trust; `otherwise` makes a connection in this
        process."""
        new = NewLine(next(self._shifts), terms)

        def opened() -> Channel:
            try:
                ours, theirs = Channel.pair()
            except OSError as error:  # too many open files
                raise ChannelLost(str(error)) from error
            with theirs:
                try:
                    self._channel.send(new, theirs.fileno())
                except ChannelLost:
                    ours.close()
                    raise
            return ours

        return lambda: Line(opened, otherwise=otherwise)


def _signal(number: int) -> str:
    """Its name; most of those for real time have none."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


@contextmanager
def switchboard(environ: Mapping[str, str]) -> Iterator[Switchboard | None]:
    """The process runs for as long as this block; there is none where there is one processor."""
    if len(os.sched_getaffinity(0)) == 1:
        yield None
        return
    ours, theirs = Channel.pair()
    process = os.fork()
    if not process:
        code = AMISS
        try:
            ours.close()
            _run(theirs, environ)
            code = OK
        finally:
            os._exit(code)  # whatever it was: the daemon says that it ended, and goes on without
    theirs.close()
    try:
        yield Switchboard(ours, process)
    finally:
        ours.close()
        _see_end(process)


def _run(channel: Channel, environ: Mapping[str, str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the daemon does
    with loading_lean():
        from watcher.dialling import dial  # noqa: PLC0415 - with httpx, which the daemon spares
    all_loaded()
    in_peace()
    dial(channel, environ)


def _see_end(process: int) -> None:
    deadline = time.monotonic() + END_SECONDS
    with suppress(ChildProcessError):  # whoever started us ignores SIGCHLD: it leaves no trace
        while not os.waitpid(process, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
                return
            time.sleep(0.002)
