"""The real daemon as a process, its log in a file, its costs by the kernel's account."""

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tests.bench import runs
from tests.bench.launched import family, memory

PATIENCE = 900.0
"""Seconds without an awaited event after which the benchmark gives up."""

Event = dict[str, Any]


class Daemon:
    """One that runs. `events` holds those that were read so far, `seen` their numbers by kind."""

    def __init__(self, process: subprocess.Popen[bytes], log: BinaryIO) -> None:
        self._process = process
        self._log = log
        self._rest = b""
        self.events: list[Event] = []
        self.seen: Counter[str] = Counter()

    def read_log(self) -> None:
        """Takes in what is new in it."""
        *lines, self._rest = (self._rest + self._log.read()).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))
                self.seen[self.events[-1]["event"]] += 1

    def wait_for(self, kind: str, times: int = 1) -> Event:
        """The event of this kind, once there are so many; looks twenty times a second."""
        ends = time.monotonic() + PATIENCE
        while self.seen[kind] < times:
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"it never came to {times} x {kind}: {self.events[-3:]}")
            pause(0.05)
            self.read_log()
        return [event for event in self.events if event["event"] == kind][times - 1]

    @property
    def peak_memory(self) -> float:
        """Megabytes, by the kernel's account: of the daemon, and of the process beside it now."""
        daemon, *beside = family(self._process.pid)
        status = Path(f"/proc/{daemon}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0])
        return round((peak + sum(map(memory, beside))) / 1024, 1)

    def share_of_a_core(self, seconds: float) -> float:
        """Processor time in the next `seconds`, in per cent of one core."""
        before = self._cpu()
        pause(seconds)
        return round((self._cpu() - before) / seconds * 100, 2)

    def _cpu(self) -> float:
        """Seconds; exact to a nanosecond, unlike the ticks of `stat`."""
        return (
            sum(
                int((task / "schedstat").read_text().split()[0])
                for process in family(self._process.pid)
                for task in Path(f"/proc/{process}/task").iterdir()
            )
            / 1e9
        )


@contextmanager
def daemon(
    share: Path,
    work: Path,
    url: str,
    *,
    share_lines: str = "",
    settle: float = runs.SETTLE_SECONDS,
) -> Iterator[Daemon]:
    """One that watches `share`; ended with the block. One at a time for each `work`."""
    command, environment = runs.our_program(
        share, url, work, share_lines=share_lines, settle=settle
    )
    log = work / "daemon.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command[:-1],  # without --once
            env={**os.environ, **environment},
            stderr=errors,
        )
    with process, log.open("rb") as reading:
        try:
            yield Daemon(process, reading)
        finally:
            process.terminate()


def pause(seconds: float) -> None:
    """Nothing, for so long."""
    threading.Event().wait(seconds)
