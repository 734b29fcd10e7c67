"""A daemon that has little to do: how much memory and processor that takes.

`backlog`: files wait because the service is down. `idle`: all is recorded.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.bench import trees
from tests.bench.daemons import daemon, pause
from tests.bench.tables import Row

SERVICE_THAT_IS_DOWN = "http://127.0.0.1:9"  # the port for discarding: nobody listens


def backlog(work: Path, counts: tuple[int, ...], *, watched: float) -> Iterator[Row]:
    """One row for each number of waiting files; the processor is watched for so many seconds."""
    for count in counts:
        share = trees.waiting(work / f"waiting{count}", count)
        with daemon(share, work, SERVICE_THAT_IS_DOWN) as running:
            running.wait_for("condition_raised")
            pause(2 * watched)
            busy = running.share_of_a_core(watched)
            yield {
                "waiting files": count,
                "peak MB": running.peak_memory,
                "% of a core": busy,
            }


def idle(work: Path, count: int, *, watched: float) -> Iterator[Row]:
    """One row for events and one for polling every five seconds."""
    share = trees.recorded(work / "recorded", count)
    for watch in ("events", "poll"):
        lines = f'watch = "{watch}"\nrescan_seconds = 86400'
        with daemon(share, work, SERVICE_THAT_IS_DOWN, share_lines=lines) as running:
            full = running.wait_for("rescan")["seconds"]
            pause(watched / 2)
            busy = running.share_of_a_core(watched)
            yield {
                "recorded files": count,
                "watch": watch,
                "peak MB": running.peak_memory,
                "% of a core": busy,
                "full scan s": full,
                "% with one in 300 s": round(busy + full / 300 * 100, 2),
            }
