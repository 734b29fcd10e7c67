"""Why an image is rejected, as a person reads it: from its note, or from the image where none is.

Nothing of a file that is not ours is told. A note can have been altered by anybody who may write to
the share, so what it says is to be shown with care.
"""

import os
from collections.abc import Iterator

from watcher.errors import FileUnreadable
from watcher.inspection import Refusal, Source, inspect
from watcher.notes import REASONS
from watcher.printable import printable
from watcher.record import LONGEST_NAME, NOTE, NOTE_TITLE, State, claim_beside, note_of
from watcher.sidecar import NAME_MAX, ForeignRecord
from watcher.tree import NotThere, open_regular, reading

_NOTE_BYTES = 16 << 10
_WHY_LETTERS = 400


def has_room(name: str) -> bool:
    """Whether the name of a note of this image is not too long."""
    return len(os.fsencode(name + NOTE)) <= NAME_MAX


def why_without_note(
    name: str, state: State, size: int, *, images: int, records: int | None
) -> str | None:
    """Why the daemon rejects this image although no current note says so, in the order of
    `journey`; None if it does not. Raises what opening the image or its record raises."""
    length = len(os.fsencode(name))
    if length > LONGEST_NAME:
        return REASONS["name_too_long"].why.format(found=f"{length} bytes")
    if has_room(name) and (records is None or note_of(name, records) != "foreign"):
        return None  # if it is to be rejected, a note will say so
    if state == "stale" and isinstance(claim_beside(name, records), ForeignRecord):
        return "Another file has the name of its sidecar, and no note can stand beside it."
    fd = open_regular(name, images)
    try:
        with reading:
            verdict = inspect(Source(fd, size))
    finally:
        os.close(fd)
    if not isinstance(verdict, Refusal):
        return None
    return REASONS[verdict.code].why.format(found=verdict.found)


def why_noted(name: str, records: int) -> str:
    """The reason that our note tells. Nothing of a file that is not ours is shown."""
    try:
        text = _note(name, records)
    except (NotThere, FileUnreadable):
        return "Its note cannot be read."
    if not text.startswith(NOTE_TITLE.decode()):
        return "The file in the place of its note is not ours."
    why = next(_paragraphs(text, "Why: "), "")
    return why.removeprefix("Why: ")[:_WHY_LETTERS] or "Its note tells no reason."


def noted(name: str, records: int) -> list[str]:
    """The paragraphs of our note that say why and what to do, each as one printable line. Raises
    `NotThere` and `FileUnreadable`."""
    return [printable(line) for line in _paragraphs(_note(name, records), "Why: ", "What to do: ")]


def _note(name: str, records: int) -> str:
    """The beginning of what has the note's name."""
    fd = open_regular(name + NOTE, records)
    try:
        with reading:
            return os.read(fd, _NOTE_BYTES).decode("utf-8", "replace")
    finally:
        os.close(fd)


def _paragraphs(text: str, *beginnings: str) -> Iterator[str]:
    """Those that begin so, each as one line."""
    lines = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return (line for line in lines if line.startswith(beginnings))
