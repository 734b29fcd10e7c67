r"""`status`: how far everything is, whether the daemon runs or not.

The counts come from the shares themselves; what is in flight, the rate and the conditions come from
what a running daemon publishes in its state directory.

Exit codes: 0 all well; 1 something is rejected, a share or a folder cannot be counted, a condition
holds, or the daemon does not get on; 77 the daemon needs a login; 78 the configuration or the state
directory cannot be used. That files wait, or that no daemon runs, is not by itself ill.

`--json` prints one object. Its keys stay; others may be added. Times are epoch seconds. What is not
known is null. A name that is not UTF-8 has its odd bytes as "\udc80" to "\udcff" (Python's
`surrogateescape`, as in the log).

    version              of this command
    at                   when this was put together
    daemon
      state              running | starting | not_answering (its last news are over 10 seconds
                         old) | not_running | unknown
      trouble            why the state is unknown; else ""
      pid, version       of the daemon
      started, at        when it was started; when it published the following
      moving             false: there is work that no worker gets on with
      waiting            files in its backlog
      files_per_second, bytes_per_second   over the last minute
      counts             uploaded, already_known, rejected, failed, standing, standing_rejected,
                         bytes, since it was started
      last_upload        share, path, at; null if there was none
    shares               one for each in the configuration
      path
      followed           events | polling | not yet | gone; null: not by a running daemon
      trouble            why it cannot be counted; else "". Then the counts are null.
      uploaded, rejected, waiting, ignored, images   the first four add up to the fifth
      left_out           ignored folders that are not in these counts (snapshots, ...)
      not_sent           images of other kinds: {"RAW": 12, "HEIC": 3}
      unreadable, unreadable_folder   folders that cannot be listed; the first, and why
      counted_at, seconds   when the counting ended, how long it took
    conditions           name, place, reason, remedy, since
    in_flight            share, path, step (looking | sending), read (bytes hashed), sent, size,
                         percent, seconds
    rejections           the newest ten: share, path, at, why
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from watcher.access import shares_of
from watcher.commands.counting import Count, Counted, count_once
from watcher.commands.report import as_object, daemon_of, report_of
from watcher.commands.status_screen import screen
from watcher.errors import ConfigurationError
from watcher.exit_codes import OK
from watcher.overview import in_words
from watcher.settings import Settings
from watcher.share import Share

REDRAW_SECONDS = 2.0
FIRST_SECONDS = 0.5
"""While a share has not been counted even once."""

_PLAIN_WIDTH = 80


def run_status(read: Callable[[], Settings], *, state_dir: str, as_json: bool, watch: bool) -> int:
    """Prints it, once or again and again; the exit code. Raises `ConfigurationError`."""
    try:
        shares = shares_of(read())
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}{_runs_on(state_dir)}") from error
    console = _console()
    if watch:
        return _watch(shares, state_dir, console)
    report = report_of(state_dir, _counted(shares))
    if as_json:
        click.echo(json.dumps(as_object(report), indent=2))
    else:
        console.print(screen(report))
    return report.code


def _runs_on(state_dir: str) -> str:
    """For whoever reads that the configuration is wrong: what a daemon does that had a good one."""
    daemon = daemon_of(state_dir, time.time())
    if daemon.snapshot is None:
        return ""
    answers = "" if daemon.state == "running" else " It does not answer at present."
    return (
        f"\n\nThe daemon (process {daemon.snapshot.pid}) goes on with the configuration that it "
        f"has: {in_words(daemon.snapshot)}.{answers}"
    )


def _console() -> Console:
    """Where there is no terminal, lines are as long as on most of them."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def _counted(shares: Sequence[Share]) -> tuple[Counted, ...]:
    """All shares, counted; on a terminal, with the number of images so far."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return count_once(shares, lambda _: None)
    with console.status(_so_far([])) as line:
        return count_once(shares, lambda counts: line.update(_so_far(counts)))


def _so_far(counts: Sequence[Count]) -> Text:
    return Text(f"Counting the shares: {sum(count.images for count in counts):,} images")


def _watch(shares: Sequence[Share], state_dir: str, console: Console) -> int:
    """Until Ctrl-C, which is how it is meant to end. Where there is no terminal, one screen after
    another is printed."""
    try:
        if not console.is_terminal:
            _redraw(shares, state_dir, console.print)
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
            _redraw(shares, state_dir, lambda shown: live.update(shown, refresh=True))
    except KeyboardInterrupt:
        return OK


def _redraw(
    shares: Sequence[Share], state_dir: str, draw: Callable[[RenderableType], object]
) -> NoReturn:
    """Draws for ever. What the daemon does is new each time; the shares are counted as often as
    their cost allows."""
    pause = threading.Event()
    counts = [Count(share) for share in shares]
    while True:
        counted = [count.look() for count in counts]
        draw(screen(report_of(state_dir, counted)))
        new = any(each.at is None for each in counted)
        pause.wait(FIRST_SECONDS if new else REDRAW_SECONDS)
