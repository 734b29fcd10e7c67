"""On which processor the threads run, and that they take turns in peace.

The threads of one interpreter take turns at computing, some twenty-five turns a small file. Where
they sit on several processors each turn wakes another one: that costs twice the processor time and
half the files a second (610 instead of 1,230 files of 60 KB, `python -m tests.bench`). So all of
them share one, which inspects and hashes large files at several Gbit/s, too; and none is
interrupted because another one has been woken (`SCHED_BATCH`), which would only find the
interpreter taken. The process that has the connections (`switchboard`) goes where there is room; it
is not interrupted either, which gives a tenth more small files.

Under systemd the unit says the same, because the sandbox refuses both calls.
"""

import os
from contextlib import suppress


def settle() -> None:
    """The calling thread, and those that it starts, stay so from now on."""
    home = max(os.sched_getaffinity(0))  # network cards mostly call upon the first
    # It may have been taken away from us meanwhile; then the kernel chooses, as it always did.
    with suppress(OSError):
        os.sched_setaffinity(0, {home})
    in_peace()


def in_peace() -> None:
    """The calling thread, and those that it starts, are not interrupted because another wakes."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
