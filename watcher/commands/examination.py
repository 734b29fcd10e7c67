"""What the daemon makes of one path: its rules, what is there, and then what the file is."""

import os
import stat
from collections import Counter
from typing import Literal

from watcher.commands.blocks import Block
from watcher.commands.file_examination import FileExamination
from watcher.commands.locate import Location, whole
from watcher.commands.neighbour import NOBODY, Neighbour
from watcher.commands.record_words import KINDS, claim, standing, whose_note
from watcher.errors import FileUnreadable
from watcher.record import NOTE, SIDECAR
from watcher.scan import Found, scan
from watcher.share import Share
from watcher.tree import PATH_MAX, NotThere, Translated, split

Kind = Literal["file", "folder", "link", "special", "nothing"]

_NOT_TAKEN = {
    "link": "a link: links are not followed",
    "special": "no regular file: a pipe, a socket or a device is never opened",
    "nothing": "nothing is there",
}


class Examination:
    """Owned by one thread. `files` examines what is a file and no rule ignores."""

    def __init__(self, files: FileExamination, neighbour: Neighbour) -> None:
        self._files = files
        self._neighbour = neighbour

    def of(self, location: Location) -> Block:
        """The block for this path. Raises `ShareGone` and `RecordUnwritable`."""
        block = Block(location.shown)
        share, path = location.share, location.path
        block.note("share", whole(share, ""))
        try:
            if location.mirrored:
                return self._in_mirror(block, location)
            if self._stopped_above(block, share, split(path)[0]) or (
                path and self._stopped(block, share, path)
            ):
                return block
            match kind_of(share, path):
                case "folder":
                    return self._folder(block, share, path)
                case _ if location.image != path:
                    return self._record(block, location)
                case _:
                    return self._files.examine(block, share, path)
        except FileUnreadable as error:
            block.note("path", str(error))
            return block.ends(
                "failed: it cannot be read",
                "It is tried again, ever more seldom. Give the daemon's user the right to read it.",
                well=False,
            )

    # The rules, and what is there

    def _stopped_above(self, block: Block, share: Share, above: str) -> bool:
        """Whether the daemon does not come as far as the folder `above`."""
        names = above.split("/") if above else []
        for depth in range(1, len(names) + 1):
            folder = "/".join(names[:depth])
            shown = whole(share, folder)
            rule = share.ignores.folder(folder)
            if rule is not None:
                block.note("rules", f"the folder {shown} is ignored: {rule}")
                block.ends("ignored", "Nothing in that folder is looked at.")
                return True
            kind = kind_of(share, folder)
            if kind != "folder":
                found = "a file, not a folder" if kind == "file" else _NOT_TAKEN[kind]
                block.note("path", f"{shown}: {found}")
                block.ends("not there" if kind != "link" else "ignored", well=kind == "link")
                return True
        if len(os.fsencode(above)) >= PATH_MAX:
            block.note("path", f"its folder's path has more than {PATH_MAX} bytes")
            block.ends("ignored", "The daemon does not descend so far.")
            return True
        return False

    def _stopped(self, block: Block, share: Share, path: str) -> bool:
        """Whether the path itself is ignored, or nothing that is taken."""
        kind = kind_of(share, path)
        ignores = share.ignores
        rule = ignores.folder(path) if kind == "folder" else ignores.file(path)
        if rule is not None and not (kind != "folder" and path.endswith((SIDECAR, NOTE))):
            block.note("rules", f"ignored: {rule}")
            if kind in _NOT_TAKEN:
                block.note("path", _NOT_TAKEN[kind])
            block.ends("ignored", well=kind != "nothing")
            return True
        block.note("rules", rule or "no rule ignores it")
        if kind not in _NOT_TAKEN:
            block.note("path", f"a {_WORDS[kind]}, reached without following a link")
            return False
        block.note("path", _NOT_TAKEN[kind])
        if kind == "nothing":
            block.ends("not there", "From absence nothing is concluded.", well=False)
        else:
            block.ends("ignored")
        return True

    # What is no image

    def _folder(self, block: Block, share: Share, path: str) -> Block:
        states: Counter[str] = Counter()
        unreadable = 0
        for found in scan(share, path):
            if isinstance(found, Found):
                states[found.state] += 1
            else:
                unreadable += 1
        waiting = states["none"] + states["stale"]
        block.note(
            "images",
            f"{states['uploaded']:,} uploaded, {states['rejected']:,} rejected, "
            f"{waiting:,} waiting, in it and below",
        )
        if unreadable:
            block.note("closed", f"{unreadable:,} folders cannot be listed")
        if self._neighbour.runs:
            verdict = f"watched ({self._neighbour.how(share) or 'not yet'})"
        else:
            verdict = f"not watched: {NOBODY}"
        return block.ends(verdict, well=not unreadable)

    def _in_mirror(self, block: Block, location: Location) -> Block:
        block.note("mirror", whole(location.share, "", mirrored=True))
        if location.image == location.path:
            return block.ends("ignored", "Only records of that share are kept here.")
        return self._record(block, location)

    def _record(self, block: Block, location: Location) -> Block:
        """A sidecar or a note, or what is named like one."""
        share, image = location.share, location.image
        suffix = location.path.removeprefix(image)
        folder, name = split(image)
        shown = whole(share, image)
        try:
            with share.tree.folder(folder) as images, share.records(folder, images) as records:
                self._note_record(block, images, records, name, suffix)
        except NotThere:
            block.note("image", "the folder of that image is not there")
        return block.ends(
            f"ignored: it is named as the {KINDS[suffix]} of an image",
            f"For that image: explain {shown}",
        )

    def _note_record(
        self, block: Block, images: int, records: int | None, name: str, suffix: str
    ) -> None:
        if records is None:
            block.note("text", "nothing is there")
            return
        if suffix == SIDECAR:
            block.note("claims", claim(name, records))
        else:
            block.note("written", whose_note(name, records))
        with Translated(name):
            try:
                image = os.stat(name, dir_fd=images, follow_symlinks=False)
            except FileNotFoundError:
                block.note("image", "none of that name is there; from that nothing is concluded")
                return
            block.note("record", standing(suffix, image, name, records))


_WORDS = {"file": "regular file", "folder": "folder"}


def kind_of(share: Share, path: str) -> Kind:
    """What the daemon finds at this path. Raises `FileUnreadable` and `ShareGone`."""
    if not path:
        return "folder"
    folder, name = split(path)
    try:
        with share.tree.folder(folder) as above, Translated(name):
            mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
    except NotThere:
        return "nothing"
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "special"
