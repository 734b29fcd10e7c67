"""What a photographer reads in a note: for each reason, why and what to do, in plain words.

The keys are the `reason` codes of the log; they are fixed.
"""

import textwrap
from collections.abc import Mapping
from typing import NamedTuple

from watcher.inspection import MAX_SIDE


class Words(NamedTuple):
    """`why` holds `{found}`, what was found in this file; `remedy` is what to do about it."""

    why: str
    remedy: str


_EXPORT = "Export it as JPEG, PNG, TIFF or WebP and drop the export here."

REASONS: Mapping[str, Words] = {
    "raw": Words("It is {found}. AutoRetouch does not take RAW files.", _EXPORT),
    "other_format": Words("It is {found}, whatever its name says.", _EXPORT),
    "not_an_image": Words("It is not an image that AutoRetouch takes: {found}.", _EXPORT),
    "damaged": Words(
        "The file is damaged: {found}.",
        "Copy it here again from the card or camera, or export it again.",
    ),
    "incomplete": Words(
        "The file is not complete: {found}. Nothing has been added to it for a long time.",
        "The copy was probably interrupted. Copy it here again.",
    ),
    "too_large": Words(
        f"It has {{found}}; AutoRetouch takes at most {MAX_SIDE:,} on each side.",
        f"Export it with at most {MAX_SIDE:,} pixels on its longer side.",
    ),
    "refused_by_service": Words(
        "AutoRetouch did not accept it. It says: {found}",
        "Open the image to see whether it is in order, and export it again. If it is, tell your "
        "administrator.",
    ),
    "foreign_sidecar": Words(
        "There is {found}, which is where the record of this image belongs, and it was not made "
        "by this program. It was left untouched.",
        "If that file is not needed, move or delete it, and then delete this note (or run "
        "`autoretouch-watcher retry`).",
    ),
    "name_too_long": Words(
        "Its name is too long ({found}) for a record beside it.",
        "Give it a shorter name.",
    ),
}


def note_text(reason: str, found: str) -> str:
    """The middle of a note, wrapped for a small window."""
    words = REASONS[reason]
    return "\n\n".join(
        textwrap.fill(paragraph, 78, break_long_words=False)
        for paragraph in (f"Why: {words.why.format(found=found)}", f"What to do: {words.remedy}")
    )
