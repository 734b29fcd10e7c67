"""`python -m tests.soak kill` and `python -m tests.soak swap`: the daemon under long torture.

`kill`: SIGKILL at random instants under load; records, originals and uploads stay right.
`swap`: a folder is swapped for a link to the outside and back; nothing there is read or written.

Tells how far it is every ten seconds. Exit code 1 after a violation; the folder is then kept.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.end_to_end.running import Installation
from tests.soak import kill, swap
from tests.soak.report import Report
from watcher.sandbox import Sandbox


def main() -> int:
    """The command line; returns the exit code."""
    asked = _arguments()
    report = Report(_say)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    with Sandbox() as service:
        installed = Installation(folder, service)
        if asked.what == "kill":
            kill.soak(installed, rounds=asked.rounds, seed=asked.seed, report=report)
        else:
            swap.soak(installed, seconds=asked.seconds, seed=asked.seed, report=report)
    report.summary()
    if report.violations:
        _say(f"seed {asked.seed}; the folder is kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--seed", type=int, default=1, help="of all that is left to chance")
    soaks = parser.add_subparsers(dest="what", required=True)
    kills = soaks.add_parser("kill", parents=[common])
    kills.add_argument(
        "--rounds", type=int, default=1000, help="how many kills (half a second each)"
    )
    swaps = soaks.add_parser("swap", parents=[common])
    swaps.add_argument("--seconds", type=float, default=60.0, help="how long")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
