"""Our program and its peers on the same files, in one run, round by round."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench import peers, runs
from tests.bench.data import DataSet, fresh, images, make, total
from tests.bench.standin import TOKEN
from tests.bench.tables import Row

OURS, BEGUN, LIMIT, SHELL, SCRIPT, RAW = (
    "autoretouch-watcher",
    "  once it has begun",
    "limit",
    "shell pipeline",
    "script",
    "raw SHA-256",
)
PEERS: Mapping[str, tuple[Callable[[Path, str], list[str]], int, tuple[str, ...]]] = {
    LIMIT: (peers.limit, 1_000_000, ("openssl", "curl")),
    SHELL: (peers.shell, 150, ("curl",)),
    SCRIPT: (peers.script, 1_000, ()),
}
"""How each is started, how many files it gets at most (the slow ones get fewer: their rate does
not depend on it), and the programs that it needs."""


class Result(NamedTuple):
    """One run over `files` files of `size` bytes in all."""

    files: int
    size: int
    used: runs.Used
    counts: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Files a second."""
        return self.files / self.used.seconds

    @property
    def megabytes(self) -> float:
        """A second."""
        return self.size / 1e6 / self.used.seconds

    @property
    def cpu_per_file(self) -> float:
        """Milliseconds."""
        return self.used.cpu / self.files * 1e3

    @property
    def cpu_per_gb(self) -> float:
        """Seconds."""
        return self.used.cpu / self.size * 1e9

    @property
    def service(self) -> float:
        """How busy the stand-in was, in per cent of one core."""
        return self.counts.get("cpu us", 0) / 1e4 / self.used.seconds

    @property
    def begun(self) -> "Result":
        """The same without the start: from the first byte that the service sees to the last."""
        seconds = (self.counts["last us"] - self.counts["first us"]) / 1e6
        return self._replace(used=self.used._replace(seconds=max(seconds, 1e-6)))


Rounds = dict[tuple[str, str], list[Result]]
"""By data set and program."""


def compare(sets: tuple[DataSet, ...], work: Path, *, rounds: int, found: Rounds) -> Iterator[Row]:
    """One row for each data set and program, medians of the rounds; fills `found`.

    In each round every program has its turn on every set: what the machine does meanwhile hits all
    alike.
    """
    for number in range(rounds):
        for data in sets:
            print(f"round {number + 1} of {rounds}: {data.name}", file=sys.stderr, flush=True)
            for program, result in _one_round(data, work):
                found.setdefault((data.name, program), []).append(result)
    for (name, program), results in found.items():
        yield _row(name, program, results, found[name, OURS])
    for data in sets:
        for peer, (_, _, needs) in PEERS.items():
            if not data.latency and (lacking := peers.missing(*needs)):
                yield {"data": data.name, "program": f"{peer}: no {lacking}"}


def _one_round(data: DataSet, work: Path) -> Iterator[tuple[str, Result]]:
    folder = make(data, work)
    ours = _ours(data, folder, work)
    yield OURS, ours
    if not data.known:  # else the service saw another run before it
        yield BEGUN, ours.begun
    if not data.latency:
        for name, (command, at_most, needs) in PEERS.items():
            if not peers.missing(*needs):
                few = make(data._replace(files=min(data.files, at_most)), work)
                yield name, _peer(data, few, command)
    seconds, cpu = peers.raw_sha256(images(folder))
    yield RAW, _result(folder, runs.Used(seconds, cpu, 0.0, 0.0), {})


def _ours(data: DataSet, folder: Path, work: Path) -> Result:
    with runs.stand_in(data.latency, times=data.times) as service:
        if data.known:
            runs.run(*runs.our_program(fresh(folder), service.url, work))
        used = runs.run(*runs.our_program(fresh(folder), service.url, work))
        return _result(folder, used, runs.finished(service).counts)


def _peer(data: DataSet, folder: Path, command: Callable[[Path, str], list[str]]) -> Result:
    with runs.stand_in(0.0, times=data.times) as service:
        used = runs.run(command(folder, service.url), {"TOKEN": TOKEN})
        served = runs.finished(service)
    if not served.arrived:
        raise RuntimeError(f"{command.__name__} sent nothing")
    return _result(folder, used, served.counts)


def _result(folder: Path, used: runs.Used, counts: Mapping[str, int]) -> Result:
    return Result(len(images(folder)), total(folder), used, counts)


def _row(data: str, program: str, results: list[Result], ours: list[Result]) -> Row:
    return {
        "data": data,
        "program": program,
        "files/s": round(median(result.rate for result in results), 1),
        "MB/s": round(median(result.megabytes for result in results), 1),
        "ms/file": round(median(result.cpu_per_file for result in results), 2),
        "s/GB": round(median(result.cpu_per_gb for result in results), 2),
        "peak MB": round(max(result.used.memory for result in results), 1),
        "service %": round(median(result.service for result in results)),
        "ours/it": round(ratio(ours, results), 2),
        "twice": max(result.counts.get("sent twice", 0) for result in results),
    }


def ratio(ours: list[Result], theirs: list[Result]) -> float:
    """Of our rate to theirs: the median of what it was in each round."""
    return median(us.rate / them.rate for us, them in zip(ours, theirs, strict=True))
