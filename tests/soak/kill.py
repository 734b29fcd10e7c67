"""SIGKILL at any instant, again and again, while people work on the share."""

import random
import signal
import subprocess
import time

from tests.end_to_end.running import Installation, Running
from tests.soak.checks import at_any_instant, at_rest
from tests.soak.load import Load
from tests.soak.report import Report
from tests.soak.witness import Witness
from watcher.sandbox import Sandbox

STARTING_SECONDS = 0.8
"""In so many seconds the daemon has been loaded and is at work, even on a slow machine."""

WORKING_SECONDS = 0.4
ANSWER_SECONDS = 0.01
"""From a request to the record that follows from it, and a bit more."""

RECORD_SECONDS = 0.0003
"""From a record's first sign on the disk to its last, and a bit more."""

BUSY_SECONDS = 2.0
"""It may be that there is nothing to do in this round; then the kill comes after so long."""

KINDS = {
    "starting": STARTING_SECONDS,
    "working": WORKING_SECONDS,
    "asking": ANSWER_SECONDS,
    "recording": RECORD_SECONDS,
}
"""What comes before the instant of a kill, and within how many seconds of it that instant is."""


def soak(installed: Installation, *, rounds: int, seed: int, report: Report) -> None:
    """Starts and kills the daemon so many times, then lets it come to rest.

    Ends after the first round with a violation, so that the share can be looked at as it was.
    """
    installed.configure(settle=0.1)
    chance = random.Random(seed)
    load = Load(installed.share, seed)
    with Witness.of(load.folders()) as witness, load:
        for number in range(1, rounds + 1):
            when = _started_and_killed(installed, chance, witness, report)
            report.counts["rounds"] = number
            report.violated(
                at_any_instant(load, installed.service, report.counts), f"round {number}, {when}"
            )
            count(report, installed.service, load)
            report.progress(f"{number} of {rounds}")
            if report.violations:
                return
    come_to_rest(installed, load, report, kills=rounds)


def _started_and_killed(
    installed: Installation, chance: random.Random, witness: Witness, report: Report
) -> str:
    """One life of the daemon; the instant at which it ended, in words."""
    process = subprocess.Popen(
        installed.command("run"), env=installed.environment, stderr=subprocess.PIPE, text=True
    )
    with process, Running(process) as running:
        when = _the_instant(running, installed.service, witness, chance)
        running.kill()
    if process.returncode != -signal.SIGKILL:
        report.violated([f"the daemon ended by itself with {process.returncode}"], when)
    report.violated([f"it wrote {line!r}" for line in running.other_lines], when)
    return when


def _the_instant(
    running: Running, service: Sandbox, witness: Witness, chance: random.Random
) -> str:
    """Waits for the instant of the kill: any time after the start or the first event, or right
    after a request or the beginning of a record, where there is most to lose."""
    kind = chance.choice(list(KINDS))
    seconds, events = chance.uniform(0, KINDS[kind]), chance.randint(1, 20)
    before = _asked(service)
    if kind != "starting":
        running.wait_for("started")
    if kind == "asking":
        service.wait_for(lambda: _asked(service) >= before + events, BUSY_SECONDS)
    if kind == "recording":
        witness.forget()
        for _ in range(events // 4):
            witness.wait(BUSY_SECONDS / 4)
    time.sleep(seconds)  # not a wait for anything: the instant itself
    return f"{seconds * 1000:.1f} ms of {kind}"


def _asked(service: Sandbox) -> int:
    counters = service.counters
    return counters["HEAD /upload"] + counters["POST /upload"] + service.in_flight


def come_to_rest(installed: Installation, load: Load, report: Report, *, kills: int) -> None:
    """Has all that is left done by `run --once`, and checks the end state."""
    result = installed.once()
    stopped = result.named("stopped")
    if not stopped or stopped[0]["failed"] or stopped[0]["unfinished"]:
        report.violated([f"it ended with {result.code}: {result.stderr[-2000:]}"], "run --once")
    report.violated(at_rest(load, installed.service, report.counts, kills=kills), "at rest")
    count(report, installed.service, load)


def count(report: Report, service: Sandbox, load: Load) -> None:
    """What has been done by now."""
    report.counts["deeds"] = load.deeds
    report.counts["files"] = len(load.files)
    report.counts["uploads"] = service.counters["POST /upload 201"]
    report.counts["questions"] = service.counters["HEAD /upload"]
