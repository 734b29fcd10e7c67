"""Our program with one worker, in the main thread, and where it is every few milliseconds.

    python -m tests.bench.sampled CONFIGURATION STATE_DIRECTORY

The kernel's timer counts processor time, not waiting, and the interpreter takes up a signal in the
main thread as soon as the function in C or the system call that it came into is over: so each
sample counts for the Python function that asked for that work. (`cProfile` makes small functions
look dear, and a thread that samples others waits for the interpreter's lock and so sees who lets
go of it.) Prints as JSON the processor seconds until the work began, and the samples.
"""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from types import FrameType

from watcher.cli import Where
from watcher.pool import Pool
from watcher.shift import Shift
from watcher.wiring import build

INTERVAL = 0.001
"""Seconds asked for; the kernel looks at each of its ticks, every 1 to 10 ms."""

LOOK_SECONDS = 0.1


class _Samples:
    """Owned by the main thread. Stacks are innermost frame first; an empty one: it was another
    thread that ran."""

    def __init__(self) -> None:
        self.stacks: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._used = time.thread_time()

    def take(self, _number: int, frame: FrameType | None) -> None:
        """The signal came."""
        before, self._used = self._used, time.thread_time()
        stack = []
        while frame is not None and self._used - before > INTERVAL / 2:
            stack.append((frame.f_code.co_filename, frame.f_code.co_name))
            frame = frame.f_back
        self.stacks[tuple(stack)] += 1


def _end_when_done(shift: Shift) -> None:
    """What the main thread does otherwise."""
    while not shift.nothing_left:
        threading.Event().wait(LOOK_SECONDS)
        shift.look()
    shift.stop_taking()


def _only_this_thread(pool: Pool) -> None:
    pool._threads.add(threading.current_thread())


def main(config: str, state_dir: str) -> None:
    """Runs until all is done."""
    where = Where(config, state_dir)
    daemon = build(
        where.settings, state_dir=state_dir, environ=os.environ, once=True, rehearsal=False
    )
    shift = daemon._shift
    shift.pool.start = lambda: _only_this_thread(shift.pool)  # type: ignore[method-assign] # as said
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # as the daemon does
    started, samples = time.process_time(), _Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    shift.start()
    threading.Thread(target=_end_when_done, args=(shift,)).start()
    shift.pool._work()
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps({"start": started, "samples": list(samples.stacks.items())}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
