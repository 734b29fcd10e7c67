"""Runs a command in a small process and prints what it took: seconds, user, system, kilobytes.

`python -I -S launched.py COMMAND...`, as a file. The kernel's account of a process's peak memory
begins with that of whoever started it, so that must be smaller than whatever is measured.
"""

import os
import sys
from time import perf_counter

if __name__ == "__main__":
    started = perf_counter()
    silence = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=silence)
    _, status, usage = os.wait4(child, 0)
    print(perf_counter() - started, usage.ru_utime, usage.ru_stime, usage.ru_maxrss)
    sys.exit(os.waitstatus_to_exitcode(status))
