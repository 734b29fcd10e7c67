"""`python -m tests.bench WHAT`: prints a table. `cap`: the bandwidth cap over some ten seconds."""

import sys
import tempfile
from pathlib import Path

from tests.bench import runs
from tests.bench.data import DataSet, make


def cap() -> None:
    """How near the cap is kept, for several caps; each run sends what should take ten seconds."""
    print(f"{'cap Mbit/s':>12}{'seconds':>10}{'Mbit/s':>10}{'of the cap':>12}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
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
            print(f"{mbit:12}{seconds:10.2f}{rate:10.1f}{rate / mbit:12.3f}")


if __name__ == "__main__":
    if sys.argv[1:] != ["cap"]:
        sys.exit("usage: python -m tests.bench cap")
    cap()
