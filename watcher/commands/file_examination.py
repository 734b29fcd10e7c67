"""What the daemon makes of one file that no rule ignores: its record, then a rehearsed journey."""

import time

from watcher.candidate import Candidate, Priority
from watcher.commands.blocks import Block
from watcher.commands.findings import amount
from watcher.commands.locate import whole
from watcher.commands.narration import Narration
from watcher.commands.neighbour import NOBODY, Neighbour
from watcher.commands.reasons import noted
from watcher.commands.record_words import claim, standing
from watcher.errors import RecordUnwritable
from watcher.notes import REASONS
from watcher.outcomes import Gone, NotSettled, Outcome, Rehearsed, Rejected, Standing
from watcher.printable import printable
from watcher.record import (
    NOTE,
    SIDECAR,
    State,
    claim_beside,
    is_named,
    reading_record,
    state_beside,
)
from watcher.share import Share
from watcher.snapshot import Flight
from watcher.tree import NotThere, look, split
from watcher.trouble import record_folder

WATCHED_SECONDS = 15.0
"""How long a file is watched, at most, to see whether it stays unchanged."""


class FileExamination:
    """Owned by one thread."""

    def __init__(
        self,
        narration: Narration,
        neighbour: Neighbour,
        *,
        incomplete_after_seconds: float,
    ) -> None:
        self._narration = narration
        self._neighbour = neighbour
        self._incomplete_after_seconds = incomplete_after_seconds

    def examine(self, block: Block, share: Share, path: str) -> Block:
        """Adds the steps and the verdict. Raises `FileUnreadable` and `ShareGone`."""
        candidate = Candidate(share, path, Priority.BACKLOG)
        outcome: Outcome
        try:
            if self._note_record(block, share, path) == "uploaded":
                outcome = Standing(rejected=False)  # no scan looks further
            else:
                outcome = self._rehearsed(candidate)
                block.steps += self._narration.steps
        except NotThere:
            outcome = Gone()
        except RecordUnwritable as error:
            block.note("record", printable(str(error)))
            return block.ends("failed: its record cannot be read", well=False)
        return self._verdict(block, candidate, outcome)

    def _note_record(self, block: Block, share: Share, path: str) -> State:
        """What stands beside it, as a scan takes it. A note does not matter beside a current
        sidecar."""
        folder, name = split(path)
        with share.tree.folder(folder) as images, share.records(folder, images) as records:
            image = look(name, images)
            with reading_record(name):
                block.note("sidecar", standing(SIDECAR, image, name, records))
                state = state_beside(image, name, records)
                if state == "uploaded" and records is not None:
                    block.note("claims", claim(name, records))
                    if not isinstance(claim_beside(name, records), str):
                        block.more = ["Its sidecar is not ours: `verify` names it."]
                    elif not is_named(name, records):
                        block.more = ["Its sidecar is another image's: `verify` mends that."]
                    return state
                block.note("note", standing(NOTE, image, name, records))
                if state == "rejected" and records is not None:
                    block.more = noted(name, records)
                return state

    def _rehearsed(self, candidate: Candidate) -> Outcome:
        """The outcome, once the file was watched for as long as that takes."""
        watched = 0.0
        while True:
            outcome = self._narration.take(candidate)
            match outcome:
                case NotSettled("quiet_time", seconds) if watched + seconds <= WATCHED_SECONDS:
                    watched += seconds
                    time.sleep(seconds)
                case _:
                    return outcome

    # The verdict

    def _verdict(self, block: Block, candidate: Candidate, outcome: Outcome) -> Block:
        share, path = candidate.share, candidate.path
        match outcome:
            case Standing(rejected=True):
                again = f"To have it looked at again: retry {whole(share, path)}"
                return block.ends("rejected", again, well=False)
            case Standing():
                return block.ends("uploaded")
            case Rehearsed(Rejected() as why):
                return self._refused(block, why)
            case Rehearsed():
                block.note("service", "it is asked whether it has this content when it is sent")
                return self._waits(block, candidate)
            case NotSettled(reason):
                return self._unsettled(block, reason)
            case Gone():
                return block.ends("not there", "It went while it was looked at.", well=False)
            case _:
                return block.ends("waiting: until it stays unchanged")

    def _refused(self, block: Block, why: Rejected) -> Block:
        words = REASONS[why.reason]
        return block.ends(
            f"rejected: {why.reason}",
            f"Why: {words.why.format(found=printable(why.found))}",
            f"What to do: {words.remedy}",
            "" if self._neighbour.runs else f"{NOBODY.capitalize()}; nothing was written yet.",
            well=False,
        )

    def _unsettled(self, block: Block, reason: str) -> Block:
        more = ""
        match reason:
            case "being_written":
                waits = "until nobody writes to it any more"
                more = (
                    "If no program has it open: an NFS 4 client keeps the right to write for a "
                    "while. After an hour without a change it is sent all the same."
                )
            case "incomplete":
                waits = (
                    "for its end; it is rejected if it stays unchanged for "
                    f"{self._incomplete_after_seconds:g} s (`incomplete_after_seconds`)"
                )
            case _:
                waits = "until it has stayed unchanged for long enough"
        return block.ends(f"waiting: {waits}", more, *self._daemon_words())

    def _waits(self, block: Block, candidate: Candidate) -> Block:
        share, path = candidate.share, candidate.path
        flight = self._neighbour.flight(share, path)
        held = self._neighbour.holding(share, record_folder(candidate))
        restamp = "Its sidecar has the right hash: if the service knows that, nothing is sent."
        more = restamp if self._narration.restamp else ""
        if flight is not None:
            return block.ends(f"waiting: {_in_flight(flight)}", more)
        if held:
            names = ", ".join(each.name for each in held)
            words = (f"{each.name}: {printable(each.reason)}. {each.remedy}" for each in held)
            return block.ends(f"waiting: held by {names}", *words, more)
        if not self._neighbour.runs:
            return block.ends("waiting: for the daemon", *self._daemon_words(), more)
        return block.ends("waiting: for its turn", *self._daemon_words(), more)

    def _daemon_words(self) -> tuple[str, ...]:
        neighbour = self._neighbour
        if neighbour.runs is None:
            return (f"Whether a daemon runs cannot be told: {printable(neighbour.why_unknown)}",)
        if not neighbour.runs:
            return (f"{NOBODY.capitalize()}. Start it, or bring all there is: run --once",)
        if neighbour.snapshot is None:
            return ("The daemon runs.",)
        waiting = neighbour.snapshot.waiting
        return (f"The daemon runs; {waiting:,} files wait in it.",)


def _in_flight(flight: Flight) -> str:
    if flight.step == "sending" and flight.size:
        return f"in flight, {flight.sent * 100 // flight.size} % of {amount(flight.size)} sent"
    return f"a worker has been looking at it for {flight.seconds:.0f} s"
