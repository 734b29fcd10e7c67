"""The daemon's own rehearsal of a journey, with what it finds step by step."""

import os

from watcher.candidate import Candidate, Hashed
from watcher.commands.blocks import Step
from watcher.commands.findings import amount
from watcher.inspection import MAX_SIDE
from watcher.openfile import OpenFile
from watcher.outcomes import Changed, NotSettled, Outcome, Rejected
from watcher.printable import printable
from watcher.record import LONGEST_NAME
from watcher.rehearsal import Rehearsal
from watcher.settling import HOLED, TWICE, Moment
from watcher.sidecar import ForeignRecord


class Narration(Rehearsal):
    """Takes the steps of `Journey`, in its order and with its outcomes, and notes what it found at
    each of them. Owned by one thread; `steps` are those of the last journey."""

    steps: list[Step]
    restamp = False
    """Whether the sidecar has the right hash and would be stamped again."""
    _missing = ""

    def take(self, candidate: Candidate) -> Outcome:
        """As in `Journey`."""
        self.steps = []
        outcome = super().take(candidate)
        # Whoever is not quiet is not even opened.
        if isinstance(outcome, NotSettled) and not self.steps:
            self._note(
                "quiet", f"to stay unchanged for {outcome.seconds:.1f} s more (`settle_seconds`)"
            )
        return outcome

    def _note(self, what: str, found: str) -> None:
        self.steps.append(Step(what, found))

    def _at_rest(self, file: OpenFile, now: Moment) -> Outcome | None:
        outcome = super()._at_rest(file, now)
        settle = self._settling.settle_seconds
        self._note("quiet", f"unchanged for at least {settle:g} s (`settle_seconds`)")
        match file.writers:
            case "none":
                self._note("writers", "nobody has it open for writing: a read lease was granted")
            case "some":
                self._note("writers", "somebody has it open for writing: a read lease was refused")
            case "unknown":
                self._note(
                    "writers",
                    "the kernel cannot tell (a network or FUSE file system, or neither the owner "
                    f"nor CAP_LEASE): it is to stay unchanged for {TWICE * settle:g} s instead",
                )
        if file.hole != "none":
            self._note(
                "hole",
                "a part of it was never written, as in a copy that reserves its space first: it is "
                f"to stay unchanged for {HOLED * settle:g} s; where the file system tells that but "
                "not who writes, for `incomplete_after_seconds`",
            )
        if isinstance(outcome, NotSettled) and outcome.reason == "quiet_time":
            self._note("longer", f"to stay unchanged for {outcome.seconds:.1f} s more")
        return outcome

    def _judged(self, candidate: Candidate, file: OpenFile) -> Hashed | Outcome:
        judged = super()._judged(candidate, file)
        length = f"{len(os.fsencode(file.name))} bytes"
        match judged:
            case Rejected(reason="name_too_long"):
                self._note("name", f"{length}, more than the {LONGEST_NAME} that leave room")
                return judged
            case Rejected(reason="foreign_sidecar", found=found):
                self._note("name", length)
                self._note("claims", f"there is {found}, which is not ours")
                return judged
        self._note("name", f"{length}, at most {LONGEST_NAME}")
        self._note_claim(file.recorded)
        match judged:
            case Rejected(reason, found):
                self._note("content", f"{found} (`{reason}`)")
            case Hashed():
                self._note_content(judged, file)
            case NotSettled():
                self._note("content", f"its end is missing: {self._missing}")
            case Changed():
                self._note("content", "it changed while it was read")
        return judged

    def _note_claim(self, recorded: str | ForeignRecord | None) -> None:
        if isinstance(recorded, str):
            self._note("claims", recorded)

    def _note_content(self, hashed: Hashed, file: OpenFile) -> None:
        image = hashed.image
        scaled = "; the service will scale it down" if image.will_be_scaled_down else ""
        self._note(
            "content",
            f"a whole {image.format.upper()}, {image.width:,} x {image.height:,} pixels (at most "
            f"{MAX_SIDE:,}), {amount(file.stamp.size)}{scaled}",
        )
        self._note("hash", hashed.sha256)
        self.restamp = file.recorded == hashed.sha256
        if self.restamp:
            self._note("compared", "the hash is what the sidecar says")
        elif isinstance(file.recorded, str):
            self._note("compared", "the sidecar is of other content, or lies: it is not believed")

    def _still_arriving(self, file: OpenFile, found: str) -> Outcome:
        arriving = super()._still_arriving(file, found)
        self._missing = printable(found)
        return arriving
