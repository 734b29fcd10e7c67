"""A daemon that has little to do: how much memory and processor that takes.

`backlog`: files wait because the service is down. `idle`: all is recorded.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import runs
from tests.end_to_end.pictures import picture
from watcher.record import write_sidecar
from watcher.tree import stamp_of

FOLDER = 100
"""Files in each folder."""

LINKS = 20_000
"""Hard links to one file, within what every file system allows."""

HASH = "0" * 64
SERVICE_THAT_IS_DOWN = "http://127.0.0.1:9"  # the port for discarding: nobody listens

Row = dict[str, object]


def backlog(work: Path, counts: tuple[int, ...]) -> Iterator[Row]:
    """One row for each number of waiting files."""
    for count in counts:
        share = _tree(work / f"waiting{count}", count, recorded=False)
        with _daemon(share, work) as daemon:
            daemon.wait_for("condition_raised")
            _pause(20.0)
            busy = daemon.share_of_a_core(10.0)
            yield {
                "waiting files": count,
                "peak MB": daemon.peak_memory,
                "% of a core": busy,
            }


def idle(work: Path, count: int) -> Iterator[Row]:
    """One row for events and one for polling every five seconds."""
    share = _tree(work / "recorded", count, recorded=True)
    for watch in ("events", "poll"):
        with _daemon(share, work, f'watch = "{watch}"\nrescan_seconds = 86400') as daemon:
            full = daemon.wait_for("rescan")["seconds"]
            _pause(15.0)
            busy = daemon.share_of_a_core(30.0)
            yield {
                "recorded files": count,
                "watch": watch,
                "peak MB": daemon.peak_memory,
                "% of a core": busy,
                "full scan s": full,
                "% with one in 300 s": round(busy + full / 300 * 100, 2),
            }


class _Daemon:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The next event of this kind in its log."""
        for line in self._process.stderr or ():
            event: dict[str, Any] = json.loads(line)
            if event["event"] == kind:
                return event
        raise RuntimeError(f"it ended without {kind}")

    @property
    def peak_memory(self) -> float:
        """Megabytes, by the kernel's account."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)

    def share_of_a_core(self, seconds: float) -> float:
        """Processor time in the next `seconds`, in per cent of one core."""
        before = self._cpu()
        _pause(seconds)
        return round((self._cpu() - before) / seconds * 100, 2)

    def _cpu(self) -> float:
        """Seconds; exact to a nanosecond, unlike the ticks of `stat`."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def _daemon(share: Path, work: Path, more: str = "") -> Iterator[_Daemon]:
    command, environment = runs.our_program(share, SERVICE_THAT_IS_DOWN, work, share_lines=more)
    process = subprocess.Popen(
        command[:-1],  # without --once
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield _Daemon(process)
        process.terminate()
        for _ in process.stderr or ():
            pass  # what it still says must not hold it


def _tree(root: Path, count: int, *, recorded: bool) -> Path:
    """`count` images in folders of a hundred; hard links, so that a million fit anywhere."""
    if root.exists():
        return root
    for number in range(0, count, FOLDER):
        folder = root / f"{number // FOLDER // FOLDER}" / f"{number // FOLDER}"
        folder.mkdir(parents=True)
        original = root.parent / f"original{number // LINKS}.jpg"
        if not original.exists():
            original.write_bytes(picture(number // LINKS))
        for each in range(min(FOLDER, count - number)):
            os.link(original, folder / f"IMG_{each:04}.jpg")
    if recorded:
        _record(root)
    return root


def _record(root: Path) -> None:
    """A current sidecar beside each image, after the last link has changed the images' times."""
    for name, _, files in os.walk(root):
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        for file in files:
            stamp = stamp_of(os.stat(file, dir_fd=folder))
            write_sidecar(file, HASH, stamp=stamp, mode=0o644, folder=folder)
        os.close(folder)


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
