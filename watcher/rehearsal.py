"""What a journey would do: `run --dry-run`, and `explain`."""

from watcher.candidate import Candidate, Hashed
from watcher.journey import Journey
from watcher.openfile import OpenFile
from watcher.outcomes import Gone, Outcome, Rehearsed, Rejected


class Rehearsal(Journey):
    """The journey itself, up to where something would be sent, written, moved or removed."""

    def take(self, candidate: Candidate) -> Outcome:
        """As in `Journey`."""
        candidate.moved_from = None  # no record follows
        return super().take(candidate)

    def _brought_to_service(self, candidate: Candidate, file: OpenFile, hashed: Hashed) -> Outcome:  # noqa: ARG002
        return Rehearsed(hashed.image, file.stamp.size)

    def _rejected(self, candidate: Candidate, file: OpenFile, why: Rejected) -> Outcome:  # noqa: ARG002
        return Rehearsed(why, file.stamp.size)

    def _gone(self, candidate: Candidate) -> Outcome:  # noqa: ARG002
        return Gone()
