"""What a Prometheus server is told, from one snapshot.

No label holds a share, a path or an organization: the number of series is fixed, and nothing of
what a studio works on leaves by this way. Those whose value is only now and then there (an oldest
condition, a last upload) are absent when it is not; all others are always there.
"""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watcher.conditions import REMEDIES
from watcher.snapshot import Snapshot

__all__ = ["CONTENT_TYPE", "PREFIX", "exposition"]

PREFIX = "autoretouch_watcher_"

_OUTCOMES = ("uploaded", "already_known", "rejected", "failed")
_HOW = ("events", "polling", "not yet", "gone")


def exposition(snapshot: Snapshot) -> bytes:
    """The page, of the media type `CONTENT_TYPE`; with what there is to say about the process, as
    far as /proc shows it."""
    registry = CollectorRegistry()
    registry.register(_Told(snapshot))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return generate_latest(registry)


class _Told(Collector):
    """One snapshot as families of metrics, in base units."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from self._daemon()
        yield from self._brought()
        yield from self._at_hand()
        yield from self._conditions()

    def _daemon(self) -> Iterator[Metric]:
        now = self._snapshot
        build = GaugeMetricFamily(
            f"{PREFIX}build_info", "The version that runs.", labels=["version"]
        )
        build.add_metric([now.version], 1)
        yield build
        yield _gauge(
            "start_time_seconds", "When the daemon started, in epoch seconds.", now.started
        )
        yield _gauge(
            "moving",
            "0 if work is there that none of the workers gets on with, else 1.",
            now.moving,
        )

    def _brought(self) -> Iterator[Metric]:
        counts = self._snapshot.counts
        files = CounterMetricFamily(
            f"{PREFIX}files",
            "Files that came to an end, by what became of them.",
            labels=["outcome"],
        )
        for outcome in _OUTCOMES:
            files.add_metric([outcome], getattr(counts, outcome))
        yield files
        yield CounterMetricFamily(
            f"{PREFIX}bytes", "Bytes of files that were brought to the service.", counts.bytes
        )
        last = self._snapshot.last_upload
        if last is not None:
            yield _gauge(
                "last_upload_timestamp_seconds", "When the service took the newest file.", last.at
            )

    def _at_hand(self) -> Iterator[Metric]:
        now = self._snapshot
        yield _gauge(
            "waiting_files",
            "Files that have not come to an end, those in flight among them.",
            now.waiting,
        )
        yield _gauge("in_flight_files", "Files that a worker has.", len(now.flights))
        yield _gauge(
            "in_flight_bytes", "The size of those files.", sum(each.size for each in now.flights)
        )
        yield _gauge(
            "in_flight_sent_bytes", "What of that is sent.", sum(each.sent for each in now.flights)
        )
        shares = GaugeMetricFamily(
            f"{PREFIX}shares", "Shares, by how they are followed.", labels=["how"]
        )
        for how in _HOW:
            number = sum(share.how == how for share in now.shares)
            shares.add_metric([how.replace(" ", "_")], number)
        yield shares

    def _conditions(self) -> Iterator[Metric]:
        places = GaugeMetricFamily(
            f"{PREFIX}condition", "Places that have this condition now.", labels=["name"]
        )
        since = GaugeMetricFamily(
            f"{PREFIX}condition_since_timestamp_seconds",
            "Since when the oldest of them has it; absent where none has.",
            labels=["name"],
        )
        for name in REMEDIES:
            begun = [each.since for each in self._snapshot.conditions if each.name == name]
            places.add_metric([name], len(begun))
            if begun:
                since.add_metric([name], min(begun))
        yield places
        yield since


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, documentation, value)
