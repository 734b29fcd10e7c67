"""One measured run: our program or a peer, as a process, against the stand-in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

TOKEN = "benchmark"


class Measured(NamedTuple):
    """Wall seconds, processor seconds of the whole process tree, peak memory of its largest process
    in MB (the kernel's account), and what the stand-in counted."""

    seconds: float
    cpu: float
    memory: float
    counts: Mapping[str, int]


class Service(NamedTuple):
    """A stand-in that runs."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def stand_in(latency: float) -> Iterator[Service]:
    """A fresh one; its counts are in `finished`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.standin", str(latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        if process.stdout is None:
            raise RuntimeError("the stand-in has no output")
        yield Service(f"http://127.0.0.1:{process.stdout.readline().strip()}", process)


def finished(service: Service) -> Mapping[str, int]:
    """Ends the stand-in; what it counted."""
    output, _ = service.process.communicate()
    counts: Mapping[str, int] = json.loads(output)
    return counts


def run(command: list[str], environment: Mapping[str, str]) -> tuple[float, float, float]:
    """Runs it to its end; wall seconds, processor seconds, peak memory in MB."""
    started = perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(command: list[str], environment: Mapping[str, str], service: Service) -> Measured:
    """Runs it, and ends the stand-in after it."""
    seconds, cpu, memory = run(command, environment)
    return Measured(seconds, cpu, memory, finished(service))


def our_program(
    folder: Path, url: str, work: Path, more: str = "", *, share_lines: str = ""
) -> tuple[list[str], dict[str, str]]:
    """`run --once` over `folder`; command and environment. `share_lines` go into the share's block
    of the configuration, `more` to its end."""
    config = work / "config.toml"
    config.write_text(
        f'[api]\nurl = "{url}"\n[[share]]\npath = "{folder}"\n{share_lines}\n'
        f'[readiness]\nsettle_seconds = 0.1\n[log]\nformat = "json"\n{more}'
    )
    command = [sys.executable, "-m", "watcher", "--config", str(config), "run", "--once"]
    return command, {"AUTORETOUCH_ACCESS_TOKEN": TOKEN, "STATE_DIRECTORY": str(work / "state")}
