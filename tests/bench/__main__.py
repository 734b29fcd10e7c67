"""`python -m tests.bench`: our program and its peers on the same files, in one run.

Prints a table and, with `--json FILE`, writes the same as JSON. `--full` takes the full data sets
(gigabytes, many minutes) instead of a tenth of them. Instead, `cap` measures the bandwidth cap,
`backlog` the memory of a daemon with many waiting files, `idle` the processor time of one
that has nothing to do.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench import peers, runs, waiting
from tests.bench.data import FULL, SHORT, DataSet, images, make, remove_records, total

PEER_FILES = 100
"""The peers get so many files at most: they are slow, and their rate does not depend on it."""


def compare(sets: tuple[DataSet, ...], work: Path) -> Iterator[dict[str, object]]:
    """One row for each data set and program."""
    for data in sets:
        folder = make(data, work)
        ours = _ours(data, folder, work)
        yield _row(data.name, "autoretouch-watcher", folder, ours, ours)
        few = make(data._replace(files=min(data.files, PEER_FILES)), work)
        if not data.latency:
            for name, command in (("shell pipeline", peers.shell), ("script", peers.script)):
                with runs.stand_in(0.0) as service:
                    peer = runs.measure(command(few, service.url), {}, service)
                yield _row(data.name, name, few, peer, ours, ours_in=folder)
        seconds, cpu = peers.raw_sha256(images(folder))
        raw = runs.Measured(seconds, cpu, 0.0, {})
        yield _row(data.name, "raw SHA-256", folder, raw, ours)


def _ours(data: DataSet, folder: Path, work: Path) -> runs.Measured:
    remove_records(folder)
    with runs.stand_in(data.latency) as service:
        command, environment = runs.our_program(folder, service.url, work)
        if data.known:
            runs.run(command, environment)
            remove_records(folder)
        return runs.measure(command, environment, service)


def _row(
    data: str,
    program: str,
    folder: Path,
    measured: runs.Measured,
    ours: runs.Measured,
    *,
    ours_in: Path | None = None,
) -> dict[str, object]:
    count, size = len(images(folder)), total(folder)
    rate = count / measured.seconds
    our_rate = len(images(ours_in or folder)) / ours.seconds
    return {
        "data": data,
        "program": program,
        "files/s": round(rate, 1),
        "MB/s": round(size / 1e6 / measured.seconds, 1),
        "CPU ms/file": round(measured.cpu / count * 1e3, 2),
        "CPU s/GB": round(measured.cpu / size * 1e9, 2),
        "peak MB": round(measured.memory, 1),
        "ours/its rate": round(our_rate / rate, 2),
        "sent twice": measured.counts.get("sent twice", 0),
    }


def cap(work: Path) -> Iterator[dict[str, object]]:
    """How near the cap is kept; each run sends what should take ten seconds."""
    for mbit in (8, 80, 400):
        size = mbit * 1_000_000 // 8 * 10 // 16
        folder = make(DataSet(f"cap{mbit}", 16, size), work)
        with runs.stand_in(0.0) as service:
            more = f"[upload]\nmax_mbit_per_second = {mbit}\n"
            command, environment = runs.our_program(folder, service.url, work, more)
            counts = runs.measure(command, environment, service).counts
        # As the service sees it: from the first byte that arrives to the last.
        seconds = (counts["last us"] - counts["first us"]) / 1e6
        rate = counts["bytes"] * 8 / 1e6 / seconds
        yield {
            "cap Mbit/s": mbit,
            "seconds": round(seconds, 2),
            "Mbit/s": round(rate, 1),
            "of the cap": round(rate / mbit, 3),
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["compare", "cap", "backlog", "idle"], default="compare"
    )
    parser.add_argument("--full", action="store_true", help="the full data sets")
    parser.add_argument("--only", default="SDMLK", help="data sets by letter, such as SM")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there, too")
    asked = parser.parse_args()
    sets = tuple(data for data in (FULL if asked.full else SHORT) if data.name in asked.only)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for row in _measured(asked.what, sets, Path(name), full=asked.full):
            if not rows:
                print("".join(f"{key:>{_width(key)}}" for key in row), flush=True)
            print("".join(f"{value!s:>{_width(key)}}" for key, value in row.items()), flush=True)
            rows.append(row)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")


def _measured(
    what: str, sets: tuple[DataSet, ...], work: Path, *, full: bool
) -> Iterator[dict[str, object]]:
    match what:
        case "cap":
            return cap(work)
        case "backlog":
            return waiting.backlog(work, (10_000, 100_000, *([1_000_000] if full else [])))
        case "idle":
            return waiting.idle(work, 200_000 if full else 20_000)
        case _:
            return compare(sets, work)


def _width(key: str) -> int:
    return 22 if key == "program" else max(len(key), 6) + 2


if __name__ == "__main__":
    main()
