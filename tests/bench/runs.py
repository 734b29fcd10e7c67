"""One measured run: our program or a peer, as a process, against the stand-in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench import launched
from tests.bench.standin import TOKEN

SETTLE_SECONDS = 0.1
"""For what is there already; all of it is older."""


class Used(NamedTuple):
    """Wall seconds, processor seconds of the whole process tree in its own code and in the kernel,
    peak memory of it, too, in MB (the kernel's account)."""

    seconds: float
    user: float
    system: float
    memory: float

    @property
    def cpu(self) -> float:
        """Processor seconds."""
        return self.user + self.system


class Service(NamedTuple):
    """A stand-in that runs."""

    url: str
    process: subprocess.Popen[str]


class Served(NamedTuple):
    """What a stand-in counted, and when it had the whole of each content: microseconds of the
    steady clock, by SHA-256; what it refused first, or ""."""

    counts: Mapping[str, int]
    arrived: Mapping[str, int]
    refused: str


@contextmanager
def stand_in(latency: float, *, times: int = 1) -> Iterator[Service]:
    """A fresh one, which hashes each file so many `times`; what it saw is in `finished`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.standin", str(latency), str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        if process.stdout is None:
            raise RuntimeError("the stand-in has no output")
        yield Service(f"http://127.0.0.1:{process.stdout.readline().strip()}", process)


def finished(service: Service) -> Served:
    """Ends the stand-in; what it saw."""
    output, _ = service.process.communicate()
    served = Served(**json.loads(output))
    if served.refused:
        raise RuntimeError(f"the stand-in refused {served.refused}")
    return served


def run(command: list[str], environment: Mapping[str, str], log: Path | None = None) -> Used:
    """Runs it to its end; its standard error goes to `log`."""
    with open(log or os.devnull, "wb") as errors:
        done = subprocess.run(
            [sys.executable, "-I", "-S", launched.__file__, *command],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}")
    seconds, user, system, kilobytes = map(float, done.stdout.split())
    return Used(seconds, user, system, kilobytes / 1024)


def our_program(
    folder: Path,
    url: str,
    work: Path,
    more: str = "",
    *,
    share_lines: str = "",
    settle: float = SETTLE_SECONDS,
) -> tuple[list[str], dict[str, str]]:
    """`run --once` over `folder`; command and environment. `share_lines` go into the share's block
    of the configuration, `more` to its end."""
    config = work / "config.toml"
    config.write_text(
        f'[api]\nurl = "{url}"\n[[share]]\npath = "{folder}"\n{share_lines}\n'
        f'[readiness]\nsettle_seconds = {settle}\n[log]\nformat = "json"\n{more}'
    )
    command = [sys.executable, "-m", "watcher", "--config", str(config), "run", "--once"]
    return command, {"AUTORETOUCH_ACCESS_TOKEN": TOKEN, "STATE_DIRECTORY": str(work / "state")}
