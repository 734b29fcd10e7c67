"""Runs a command in a small process and prints what it took: seconds, user, system, kilobytes.

`python -I -S launched.py COMMAND...`, as a file. The kernel's account of a process's peak memory
begins with that of whoever started it, so that must be smaller than whatever is measured. Of
several processes at once, what they share counts once (`Pss` in proc_pid_smaps(5)), looked at ten
times a second.
"""

import _thread
import os
import sys
from collections.abc import Iterator
from time import perf_counter, sleep


def family(process: int) -> Iterator[int]:
    """A process and all below it, as far as they are still there."""
    yield process
    try:
        threads = os.listdir(f"/proc/{process}/task")
        for thread in threads:
            with open(f"/proc/{process}/task/{thread}/children", encoding="ascii") as children:
                for child in children.read().split():
                    yield from family(int(child))
    except OSError:
        return


def memory(process: int) -> int:
    """Kilobytes that it has, with its part of what it shares; 0 if it is gone."""
    try:
        with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as lines:
            return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except OSError:
        return 0


def _watch(process: int, peak: list[int]) -> None:
    while True:
        peak[0] = max(peak[0], sum(map(memory, family(process))))
        sleep(0.1)


if __name__ == "__main__":
    started, together = perf_counter(), [0]
    silence = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=silence)
    _thread.start_new_thread(_watch, (child, together))
    _, status, usage = os.wait4(child, 0)
    peak = max(usage.ru_maxrss, *together)
    print(perf_counter() - started, usage.ru_utime, usage.ru_stime, peak)
    sys.exit(os.waitstatus_to_exitcode(status))
