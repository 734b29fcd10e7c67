"""What the numbers depend on besides the program."""

import os
import platform
from pathlib import Path
from time import perf_counter

FILES = 500


def machine(work: Path) -> str:
    """One line about the machine and the file system that `work` is on."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores, load {os.getloadavg()[0]:.1f}; {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; a new file takes {_new_file(work) * 1e6:.0f} us"
    )


def _new_file(work: Path) -> float:
    """Seconds to create an empty one. They stay: deleting them is what could make others dear."""
    folder = work / "new"
    folder.mkdir()
    started = perf_counter()
    for number in range(FILES):
        os.close(os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    return (perf_counter() - started) / FILES
