"""What there is to verify: the images of a share, and the records that belong to none."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence

from watcher.commands.verify_findings import Finding, Kind
from watcher.errors import RecordUnwritable
from watcher.placing import LEFT_OVER
from watcher.record import NOTE, SIDECAR, claim_beside, note_of, reading_record
from watcher.scan import Found, Unreadable, Visitor, scan
from watcher.share import Share
from watcher.sidecar import ForeignRecord
from watcher.tree import NotThere, Translated, is_free

LEFT_SECONDS = 60.0
"""A temporary file that is older is on no way to anywhere."""

Tell = Callable[[Finding], None]


class Walk(Visitor):
    """One walk through a share, below the folder `below`. It tells of records without an
    image, and yields the images; `beat` is called as long as the share answers. Owned by one
    thread."""

    def __init__(self, share: Share, below: str, *, tell: Tell, beat: Callable[[], None]) -> None:
        self._share = share
        self._below = below
        self._tell = tell
        self._beat = beat

    def images(self) -> Iterator[Found | Unreadable]:
        """Every image. Raises `ShareTrouble` if the share fails: then nothing is concluded."""
        yield from scan(self._share, self._below, visitor=self)
        if self._share.mirror is not None:
            self._walk_mirror(self._share.mirror)

    def enter(self, folder: str, fd: int, _status: os.stat_result) -> Sequence[str] | None:
        """Looks at the records in this folder, if they are kept beside the images."""
        if self._share.mirror is None:
            self._look_through(folder, records=fd, images=fd)
        return None

    def goes_on(self) -> None:
        """Beats."""
        self._beat()

    # Records

    def _walk_mirror(self, mirror: str) -> None:
        if self._looks_unmounted():
            why = "it is empty, as if nothing were mounted there: orphans are not listed"
            self._tell(Finding("share", self._share.root, "", why))
            return
        for _ in scan(Share(mirror), self._below, visitor=_Mirror(self)):
            pass  # no images are there, and what cannot be read there was told by the images

    def _looks_unmounted(self) -> bool:
        with self._share.tree.folder("") as fd, Translated(""), os.scandir(fd) as entries:
            return next(entries, None) is None

    def look_beside(self, folder: str, fd: int) -> None:
        """Looks at the records in this folder of the mirror."""
        try:
            images = self._share.tree.open_folder(folder)
        except NotThere:
            images = None
        try:
            self._look_through(folder, records=fd, images=images)
        finally:
            if images is not None:
                os.close(images)

    def _look_through(self, folder: str, *, records: int, images: int | None) -> None:
        prefix = f"{folder}/" if folder else ""
        with Translated(folder), os.scandir(records) as entries:
            for entry in entries:
                self._beat()
                name = entry.name
                if name.endswith((SIDECAR, NOTE)):
                    suffix = SIDECAR if name.endswith(SIDECAR) else NOTE
                    image = name.removesuffix(suffix)
                    if self._share.ignores.file(prefix + image) is None:
                        there = images is not None and not is_free(image, images)
                        self._look_at(prefix + name, image, suffix, records, there=there)
                elif LEFT_OVER.fullmatch(name) and _is_old(entry):
                    self._say("left_over", prefix + name)

    def _look_at(self, path: str, image: str, suffix: str, records: int, *, there: bool) -> None:
        try:
            with reading_record(image):
                look = self._wrong_note if suffix == NOTE else self._wrong_sidecar
                wrong = look(image, records, there=there)
                if wrong is not None and not is_free(image + suffix, records):
                    self._say(wrong, path)
        except RecordUnwritable as error:
            self._say("unreadable", path, str(error))

    @staticmethod
    def _wrong_note(image: str, records: int, *, there: bool) -> Kind | None:
        match note_of(image, records):
            case "ours":
                return None if there else "orphaned_note"
            case "foreign":
                return "foreign" if there else None
            case _:
                return None  # it went just now

    @staticmethod
    def _wrong_sidecar(image: str, records: int, *, there: bool) -> Kind | None:
        if there and note_of(image, records) != "ours":
            return None  # it is looked at with the image
        if isinstance(claim_beside(image, records), ForeignRecord):
            return "foreign"
        return None if there else "orphaned_sidecar"

    def _say(self, kind: Kind, path: str, found: str = "") -> None:
        self._tell(Finding(kind, self._share.mirror or self._share.root, path, found))


class _Mirror(Visitor):
    """A visitor of the folders in a mirror."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    def enter(self, folder: str, fd: int, _status: os.stat_result) -> Sequence[str] | None:
        """Has it looked at."""
        self._walk.look_beside(folder, fd)
        return None

    def goes_on(self) -> None:
        """Beats."""
        self._walk.goes_on()


def _is_old(entry: os.DirEntry[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    return stat.S_ISREG(status.st_mode) and time.time() - status.st_ctime > LEFT_SECONDS
