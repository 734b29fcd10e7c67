"""What `status` shows to a person, in 80 columns. Names from a share are shown, never interpreted:
they are printable and no markup by the time they are here."""

import time
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from watcher.commands.counting import Counted
from watcher.commands.report import Report, percent
from watcher.conditions import Condition
from watcher.printable import printable
from watcher.snapshot import Flight, Snapshot

FLIGHTS = 12
"""So many files in flight are shown; there can be 256."""

_PATH = 46
_HOW = {
    "events": "The kernel tells what happens here.",
    "polling": "Looked through again and again (polling).",
    "not yet": "Not followed yet.",
    "gone": "The daemon cannot enter it.",
}

_NOT_RUNNING = (
    "Nothing is uploaded meanwhile; the counts are those of the shares. Start it: systemctl start "
    "autoretouch-watcher, or autoretouch-watcher run. If it does run, give this command its "
    "--state-dir."
)


def screen(report: Report) -> Group:
    """All of it, in the order in which a tired administrator wants to know it."""
    return Group(*_parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    yield Text.assemble(("Daemon: ", "bold"), *_daemon(report))
    if report.daemon.snapshot is not None:
        yield from _pace(report, report.daemon.snapshot)
    for condition in report.conditions:
        yield from _condition(condition)
    yield Text()
    yield _shares(report)
    for counted in report.shares:
        yield from _remarks(report, counted)
    if report.daemon.snapshot is not None and report.daemon.snapshot.flights:
        yield from _flights(report.daemon.snapshot.flights)
    if report.rejections:
        yield from _rejections(report)


# The daemon


def _daemon(report: Report) -> Sequence[str | tuple[str, str]]:
    daemon, snapshot = report.daemon, report.daemon.snapshot
    if daemon.state == "unknown":
        return [("not known. ", "bold red"), printable(daemon.trouble)]
    if daemon.state == "starting":
        return ["it runs, but has told nothing yet: it starts, or is of another version."]
    if snapshot is None:
        return [
            ("it does not run. ", "bold"),
            _NOT_RUNNING,
        ]
    process = f"process {snapshot.pid}, version {snapshot.version}"
    if daemon.state == "not_answering":
        return [
            ("it tells nothing. ", "bold red"),
            f"It runs ({process}) but has told nothing for {_ago(report.at - snapshot.at)}: ",
            "it does not get on, or cannot write to its state directory (then images go on). ",
            "What follows is as old. Look at its log; if nothing comes there, restart it.",
        ]
    return [f"runs since {_moment(snapshot.started)} ({process})"]


def _pace(report: Report, snapshot: Snapshot) -> Iterator[RenderableType]:
    if not snapshot.moving:
        yield Text(
            "It has work, but none of its workers gets on with it. Look at its log.", "bold red"
        )
    yield Text(
        f"{snapshot.files_per_second:.1f} files/s, {decimal(int(snapshot.bytes_per_second))}/s "
        f"over the last minute; {_files(snapshot.waiting)} in its backlog"
    )
    last = snapshot.last_upload
    if last is None:
        yield Text("No upload since it was started.")
    else:
        where = printable(f"{last.share}/{last.path}")
        yield Text(f"Last upload {_ago(report.at - last.at)} ago: {where}", overflow="fold")


# The shares


def _shares(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("Share", overflow="fold", max_width=32)
    for name in ("Uploaded", "Rejected", "Waiting", "Ignored", "Images"):
        table.add_column(name, justify="right", no_wrap=True)
    for counted in report.shares:
        stock, path = counted.stock, Text(printable(counted.share.root))
        if stock is None:
            table.add_row(path, *["..." if counted.at is None else "?"] * 5)
            continue
        more = "+" if stock.left_out else ""
        table.add_row(
            path,
            f"{stock.uploaded:,}",
            Text(f"{stock.rejected:,}", "bold" if stock.rejected else ""),
            f"{stock.waiting:,}",
            f"{stock.ignored:,}{more}",
            f"{stock.images:,}{more}",
        )
    return table


def _remarks(report: Report, counted: Counted) -> Iterator[RenderableType]:
    lines = list(_remarks_on(report, counted))
    if not lines:
        return
    if len(report.shares) > 1:
        yield Text(f"\n{printable(counted.share.root)}", overflow="fold")
    else:
        yield Text()
    for line in lines:
        yield _indented(line)


def _remarks_on(report: Report, counted: Counted) -> Iterator[Text]:
    stock, state = counted.stock, report.followed(counted)
    if state is not None:
        yield Text(_HOW[state.how])
    elif report.daemon.snapshot is not None:
        yield Text(
            "The daemon does not follow it: its configuration is another one, or an older one. "
            "Have it reloaded.",
            "bold",
        )
    if stock is None:
        if counted.at is not None:
            yield Text(f"It cannot be counted: {printable(counted.trouble)}.", "bold red")
        return
    if stock.not_sent:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(stock.not_sent.items()))
        yield Text(f"Other images, which are not sent: {kinds}.")
    if stock.unreadable:
        yield Text(
            f"{_folders(stock.unreadable)} cannot be read, and so nothing in there is counted or "
            f"sent, first {printable(stock.unreadable_folder)}.",
            "bold red",
        )
    if stock.left_out:
        yield Text(f"+ Not counted: {_folders(stock.left_out)} of snapshots or ignored.")


# Trouble, work, rejections


def _condition(condition: Condition) -> Iterator[RenderableType]:
    place = f" at {printable(condition.place)}" if condition.place else ""
    yield Text.assemble(
        "\n",
        (condition.name, "bold red"),
        f"{place}, since {_moment(condition.since)}",
        overflow="fold",
    )
    yield _indented(Text(f"Why: {printable(condition.reason)}", overflow="fold"))
    yield _indented(Text(f"What to do: {condition.remedy}"))


def _flights(flights: Sequence[Flight]) -> Iterator[RenderableType]:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("In flight", no_wrap=True, min_width=_PATH)
    table.add_column("", no_wrap=True)
    for name in ("Size", "Seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    longest = sorted(flights, key=lambda flight: -flight.seconds)
    for flight in longest[:FLIGHTS]:
        sent = f"{percent(flight.sent, flight.size)} %" if flight.step == "sending" else ""
        table.add_row(
            Text(_end_of(printable(flight.path), _PATH)),
            f"{flight.step} {sent}",
            decimal(flight.size),
            f"{flight.seconds:.0f}",
        )
    yield Text()
    yield table
    if len(flights) > FLIGHTS:
        yield Text(f"and {len(flights) - FLIGHTS} more")


def _rejections(report: Report) -> Iterator[RenderableType]:
    yield Text("\nNewest rejections", "bold")
    several = len(report.shares) > 1
    for counted, each in report.rejections:
        path = f"{counted.share.root}/{each.path}" if several else each.path
        yield Text(f"{_moment(each.at)}  {printable(path)}", overflow="fold")
        yield _indented(Text(printable(each.why), overflow="fold"))


# Words


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2), expand=False)


def _end_of(path: str, width: int) -> str:
    """The end of a path, which tells more than its beginning."""
    if cell_len(path) <= width:
        return path
    while cell_len(path) > width - 3:
        path = path[1:]
    return f"...{path}"


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"


def _folders(number: int) -> str:
    return f"{number:,} folder{'' if number == 1 else 's'}"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _ago(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
