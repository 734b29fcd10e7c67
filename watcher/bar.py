"""How far it is, on a terminal."""

import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from watcher.progress import Census, detail
from watcher.tally import Counts


def progress_bar(*, disable: bool = False) -> Progress:
    """To standard error: what is done, how much of it, each task's `detail`, and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        redirect_stdout=False,
        disable=disable,
    )


class Bar:
    """Files, bytes, rate and time left of `run --once`. The log's lines go above it."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self._started = time.monotonic()
        self._progress = progress_bar()
        self._task = self._progress.add_task("Files", total=None, detail="")

    def __enter__(self) -> Self:
        """Begins to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the last state on the screen; work done before it could be counted was all."""
        task = self._progress.tasks[self._task]
        if task.total is None:
            self._progress.update(self._task, total=task.completed)
        self._progress.stop()

    def show(self, counts: Counts, to_do: tuple[int, int] | None = None) -> None:
        """Moves the bar on."""
        total = to_do or self._census.of(counts)
        self._progress.update(
            self._task,
            completed=counts.done,
            total=max(total[0], counts.done) if total else None,
            detail=detail(counts, total, time.monotonic() - self._started),
        )
