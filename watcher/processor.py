"""On which processor the threads run.

The threads of one interpreter take turns at computing, some twenty-five turns a small file. Where
they sit on several processors each turn wakes another one: that costs twice the processor time and
nearly half the files a second (482 instead of 872 files of 60 KB, `python -m tests.bench`). So all
of them share one. It hashes and sends large files at several Gbit/s, too.
"""

import os
from contextlib import suppress


def settle() -> None:
    """The calling thread, and those that it starts, stay on one processor from now on."""
    home = max(os.sched_getaffinity(0))  # network cards mostly call upon the first
    # It may have been taken away from us meanwhile; then the kernel chooses, as it always did.
    with suppress(OSError):
        os.sched_setaffinity(0, {home})
