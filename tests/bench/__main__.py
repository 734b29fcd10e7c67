"""`python -m tests.bench [WHAT]`: what our program costs, beside its peers on the same files.

compare   files/s, MB/s, processor and memory of our program, a shell pipeline, the documentation's
          script, the limit of this machine (openssl and one curl a core) and raw SHA-256, in one
          run; then the targets. S small JPEGs, D half of them duplicates, M photographs, L large
          TIFFs; K known already and W not, by a service that is 50 ms away
latency   from a file's close until the service has it, beyond settle_seconds
again     the start over a large share on which all is done, against a bare walk
profile   where the processor time goes, on S (or --only M)
cap       how well the bandwidth cap is kept
backlog   the memory of a daemon with many waiting files
idle      the processor time of a daemon that has nothing to do

Without --full it takes a tenth of the data, or a quarter: some minutes for all, one for `compare`.
The targets are for --full: with less, the program's start weighs four times as much.
Everything stays on this machine. The numbers are the machine's as much as the program's: compare
what stands in one table. A new file should take some 10 us; on ext4 without a journal it takes
many times that for a minute after many were deleted: wait, or take another --dir.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from tests.bench import profiling, runs, waiting
from tests.bench.again import again
from tests.bench.compare import Rounds, compare
from tests.bench.data import FULL, LATENCY, SHORT, TINY, DataSet, make
from tests.bench.here import machine
from tests.bench.latency import Amount, latency
from tests.bench.tables import Row, shown
from tests.bench.targets import of_table, verdicts


class Size(NamedTuple):
    """How much of everything."""

    sets: tuple[DataSet, ...]
    rounds: int
    amount: Amount
    finished: tuple[int, ...]
    waiting: tuple[int, ...]
    idle: int
    watched: float


_FULL_BACKLOGS = ((10_000, 0.0), (10_000, LATENCY), (20_000, 0.0))
"""The last is more than the daemon's backlog holds, so that its scan waits at the door."""

SIZES = {
    "full": Size(
        sets=FULL,
        rounds=5,
        amount=Amount(slow=120, fast=3_000, backlogs=_FULL_BACKLOGS, beside=1.0, settle=2.0),
        finished=(200_000, 1_000_000),
        waiting=(10_000, 100_000, 1_000_000),
        idle=200_000,
        watched=30.0,
    ),
    "short": Size(
        sets=SHORT,
        rounds=1,
        amount=Amount(
            slow=30, fast=500, backlogs=((2_000, 0.0), (2_000, LATENCY)), beside=2.0, settle=2.0
        ),
        finished=(20_000,),
        waiting=(10_000, 100_000),
        idle=20_000,
        watched=15.0,
    ),
    "tiny": Size(
        sets=TINY,
        rounds=1,
        amount=Amount(
            slow=1, fast=10, backlogs=((30, 0.0), (30, LATENCY)), beside=50.0, settle=0.1
        ),
        finished=(200,),
        waiting=(100,),
        idle=200,
        watched=0.2,
    ),
}

Rows = Iterable[Row]


def cap(work: Path) -> Rows:
    """How near the cap is kept; each run sends what should take ten seconds."""
    for mbit in (8, 80, 400):
        size = mbit * 1_000_000 // 8 * 10 // 16
        folder = make(DataSet(f"cap{mbit}", 16, size), work)
        with runs.stand_in(0.0) as service:
            more = f"[upload]\nmax_mbit_per_second = {mbit}\n"
            command, environment = runs.our_program(folder, service.url, work, more)
            runs.run(command, environment)
            counts = runs.finished(service).counts
        # As the service sees it: from the first byte that arrives to the last.
        seconds = (counts["last us"] - counts["first us"]) / 1e6
        rate = counts["bytes"] * 8 / 1e6 / seconds
        yield {
            "cap Mbit/s": mbit,
            "seconds": round(seconds, 2),
            "Mbit/s": round(rate, 1),
            "of the cap": round(rate / mbit, 3),
        }


WHAT: dict[str, Callable[[Path, Size], Rows]] = {
    "latency": lambda work, size: latency(work, size.amount),
    "again": lambda work, size: again(work, size.finished),
    "profile": lambda work, size: profiling.profile(size.sets[0], work),
    "cap": lambda work, _: cap(work),
    "backlog": lambda work, size: waiting.backlog(work, size.waiting, watched=size.watched),
    "idle": lambda work, size: waiting.idle(work, size.idle, watched=size.watched),
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", metavar="WHAT", nargs="?", choices=["compare", *WHAT], default="compare"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", dest="size", action="store_const", const="full", default="short")
    size.add_argument(
        "--tiny", dest="size", action="store_const", const="tiny", help="only to see that it works"
    )
    parser.add_argument(
        "--only",
        metavar="LETTERS",
        default="SDMLKW",
        help="data sets of `compare`, such as SM; of `profile` the first",
    )
    parser.add_argument(
        "--hashes",
        metavar="N",
        type=int,
        choices=range(1, 10),
        default=1,
        help="how often the service of `compare` hashes each file: what it takes of the machine",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the tables there, too")
    parser.add_argument("--dir", help="work below it, on its file system; else where $TMPDIR says")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.dir) as work:
        print(machine(Path(work)), end="\n\n", flush=True)
        amount = SIZES[asked.size]
        sets = [
            data._replace(times=asked.hashes) for data in amount.sets if data.name in asked.only
        ]
        tables = _tables(asked.what, Path(work), amount._replace(sets=tuple(sets)))
    if asked.json:
        asked.json.write_text(json.dumps(tables, indent=1) + "\n")


def _tables(what: str, work: Path, size: Size) -> dict[str, list[Row]]:
    """Measures and prints; the rows, by table."""
    found: Rounds = {}
    if what == "compare":
        rows = shown(compare(size.sets, work, rounds=size.rounds, found=found))
        targets = verdicts(found)
    else:
        rows = shown(WHAT[what](work, size))
        targets = of_table(what, rows)
    print()
    return {what: rows, "targets": shown(targets)}


if __name__ == "__main__":
    main()
