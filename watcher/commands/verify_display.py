"""How `verify` shows what it finds and how far it is."""

import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from typing import Self

from rich.text import Text

from watcher.bar import progress_bar
from watcher.commands.findings import amount
from watcher.commands.locate import Location
from watcher.commands.verify_findings import (
    WORDS,
    Finding,
    Sums,
    as_json,
    as_line,
    in_words,
    summary_json,
)
from watcher.errors import FileUnreadable, ShareTrouble
from watcher.progress import LINE_SECONDS
from watcher.scan import Found, scan

_WIDTH = 80

SHOW_SECONDS = 0.1
"""How often the progress is put together anew."""


class Display:
    """Findings to standard output, progress to standard error: a bar on a terminal, a plain line
    now and then elsewhere. Owned by the main thread."""

    def __init__(self, places: Sequence[Location], *, as_json: bool) -> None:
        self._as_json = as_json
        self._started = self._said = self._shown = time.monotonic()
        self._total = _Total(places)
        self._bar = progress_bar(disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("Verifying", total=None, detail="")

    def __enter__(self) -> Self:
        """Begins to show."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the last state on the screen."""
        self._bar.stop()

    def found(self, finding: Finding) -> None:
        """Prints one finding."""
        text = as_json(finding) if self._as_json else as_line(finding)
        if self._bar.disable or not sys.stdout.isatty():
            self._print(text)
        else:  # above the bar, and a path stays in one piece: it is there to be copied
            self._bar.console.print(Text(text), soft_wrap=True)

    def show(self, sums: Sums, *, ended: bool = False) -> None:
        """How far it is by now."""
        now = time.monotonic()
        if now - self._shown < SHOW_SECONDS and not ended:
            return
        self._shown = now
        total = (sums.verified, sums.bytes) if ended else self._total.files_and_bytes
        if not self._bar.disable:
            done = total[1] if total and total[1] else None
            detail = _detail(sums, total, now - self._started)
            self._bar.update(self._task, completed=sums.bytes, total=done, detail=detail)
        elif now - self._said >= LINE_SECONDS:
            self._said = now
            sys.stderr.write(f"{_detail(sums, total, now - self._started)}\n")

    def summary(self, sums: Sums, *, error: str) -> None:
        """What it amounts to."""
        seconds = time.monotonic() - self._started
        if self._as_json:
            self._print(summary_json(sums, seconds=seconds, error=error))
        else:
            self._print("\n".join(_summary(sums, seconds)))

    def _print(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _summary(sums: Sums, seconds: float) -> list[str]:
    size = amount(sums.bytes)
    lines = [
        f"With a sidecar: {sums.verified:,}, as recorded: {sums.matching:,}",
        f"Without one: {sums.waiting:,} waiting, {sums.rejected:,} rejected",
        f"Read: {size} in {seconds:.0f} s",
    ]
    for kind in WORDS:
        if sums.findings[kind]:
            lines += textwrap.wrap(in_words(kind, sums), _WIDTH, subsequent_indent="  ")
    return lines


class _Total:
    """Images with sidecars and their bytes, counted in a thread of its own beside the work."""

    def __init__(self, places: Sequence[Location]) -> None:
        self._places = places
        self._files = 0
        self._bytes = 0
        self._counted = threading.Event()
        threading.Thread(target=self._count, name="count", daemon=True).start()

    @property
    def files_and_bytes(self) -> tuple[int, int] | None:
        """What there is in all, once that is known."""
        return (self._files, self._bytes) if self._counted.is_set() else None

    def _count(self) -> None:
        for place in self._places:
            try:
                for found in scan(place.share, place.path):
                    if isinstance(found, Found) and found.state in {"uploaded", "stale"}:
                        self._files += 1
                        self._bytes += found.size
            except (ShareTrouble, FileUnreadable):
                continue  # the walk says so; here it only means fewer images
        self._counted.set()


def _detail(sums: Sums, total: tuple[int, int] | None, seconds: float) -> str:
    files, size = (f"/{total[0]:,}", f"/{amount(total[1])}") if total else ("", "")
    rate = amount(sums.bytes / seconds) if seconds > 0 else "0 bytes"
    return f"{sums.verified:,}{files} images  {amount(sums.bytes)}{size}  {rate}/s"
