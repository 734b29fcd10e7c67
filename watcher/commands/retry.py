"""`retry`: takes our notes away, so that the daemon looks at those images again."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.text import Text

from watcher.access import shares_of
from watcher.commands.locate import (
    Location,
    NoSuchPlace,
    Silent,
    is_folder,
    is_there,
    locate,
    whole,
)
from watcher.commands.neighbour import Neighbour
from watcher.commands.reasons import has_room
from watcher.errors import FileUnreadable, ShareTrouble
from watcher.exit_codes import AMISS, OK, USAGE
from watcher.record import NOTE, note_of, reading_record, remove_note
from watcher.scan import Found, Unreadable, scan
from watcher.settings import Settings
from watcher.share import Share
from watcher.tree import NotThere, split


def run_retry(settings: Settings, paths: Sequence[str], *, state_dir: str) -> int:
    """Removes the notes at or below the paths, or all; says how many of each share.

    2 if a path is in none of the shares; 1 if nothing is rejected there or something fails.
    """
    shares, lines = shares_of(settings), _Lines()
    try:
        places = [locate(path, shares) for path in paths]
    except NoSuchPlace as error:
        lines.complain(str(error))
        return USAGE
    except Silent as error:
        lines.complain(str(error))
        return AMISS
    neighbour = Neighbour(state_dir)
    well = True
    for place in places or [Location(share, "") for share in shares]:
        retried = _Retried()
        try:
            is_there(place.share)
            _retry(place, retried, lines)
        except (Silent, ShareTrouble, FileUnreadable) as error:
            lines.complain(f"{error}")
            retried.well = False
        _tell(place, retried, lines, neighbour)
        well = well and retried.well and (retried.removed > 0 or not paths)
    return OK if well else AMISS


@dataclass(slots=True)
class _Retried:
    """What became of one place. `noteless` are images that are rejected, if they are, without a
    note."""

    removed: int = 0
    noteless: int = 0
    well: bool = True


class _Lines:
    """Plain lines: what was done to standard output, what went wrong to standard error."""

    def __init__(self) -> None:
        self._out = Console(highlight=False)
        self._errors = Console(highlight=False, stderr=True)

    def say(self, text: str) -> None:
        """What was done."""
        self._out.print(Text(text), soft_wrap=True)

    def complain(self, text: str) -> None:
        """What went wrong."""
        self._errors.print(Text(f"autoretouch-watcher: {text}"), soft_wrap=True)


def _retry(place: Location, retried: _Retried, lines: _Lines) -> None:
    if is_folder(place):
        _below(place.share, place.path, retried, lines)
    else:
        _one(place.share, place.image, retried, lines)


def _below(share: Share, folder: str, retried: _Retried, lines: _Lines) -> None:
    rule = share.ignores.folders(folder)
    if rule is not None:
        lines.complain(f"{whole(share, folder)} is ignored: {rule}")
        retried.well = False
        return
    for found in scan(share, folder):
        match found:
            case Unreadable(path, why):
                lines.complain(f"{whole(share, path)}: {why}")
                retried.well = False
            case Found(path, state="rejected" | "stale"):
                retried.removed += _taken(share, path) == "ours"
            case Found(path, state="none") if not has_room(split(path)[1]):
                retried.noteless += 1


def _one(share: Share, path: str, retried: _Retried, lines: _Lines) -> None:
    shown = whole(share, path)
    rule = share.ignores.anywhere(path)
    if rule is not None:
        lines.complain(f"{shown} is ignored, not rejected: {rule}")
    elif not has_room(split(path)[1]):
        retried.noteless += 1
    else:
        match _taken(share, path):
            case "ours":
                retried.removed += 1
            case "foreign":
                note = whole(share, path + NOTE, mirrored=share.mirror is not None)
                lines.complain(f"{note} was not written by this program: it stays")
            case "none":
                lines.complain(f"{shown} is not rejected; `explain` says what it is")
    retried.well = retried.removed > 0


def _taken(share: Share, path: str) -> Literal["ours", "foreign", "none"]:
    """Whose note this image had; ours is taken away."""
    folder, name = split(path)
    with (
        suppress(NotThere),
        reading_record(name),
        share.tree.folder(folder) as images,
        share.records(folder, images) as records,
    ):
        if records is not None:
            whose = note_of(name, records)
            if whose == "ours":
                remove_note(name, records)
            return whose
    return "none"


def _tell(place: Location, retried: _Retried, lines: _Lines, neighbour: Neighbour) -> None:
    count = retried.removed
    if count:
        images = "1 rejected image is" if count == 1 else f"{count:,} rejected images are"
        lines.say(f"{place.shown}: {images} to be looked at again; {neighbour.looks(place.share)}.")
    elif retried.well:
        lines.say(f"{place.shown}: no image has a note that says it was rejected.")
    if retried.noteless:
        lines.say(
            f"{place.shown}: {retried.noteless:,} with a name too long for a note beside it. If it "
            "is rejected, `status`, `explain` and the log say so; the daemon looks at it at every "
            "scan."
        )
