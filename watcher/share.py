"""One watched share: its tree, where its record is kept, and its rules."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from threading import Thread
from typing import Literal

from watcher.errors import FileUnreadable, MirrorFolderBarred, RecordUnwritable, ShareGone
from watcher.ignores import Ignores
from watcher.places import Places
from watcher.tree import NotThere, Tree, rename_to_free, split

Watch = Literal["auto", "events", "poll"]

LARGE = 1 << 20
"""Bytes from which on the file itself, not the way to it, is what reading takes."""

READERS = 2
"""Large files of a share that are read at once. More share the same disk and processor, and all of
them are ready to be sent later than the first could have been."""

HUGE = 32 << 20
"""Bytes from which on a share's files are read one at a time: the service waits for the first that
is ready, and for the last. (TIFFs of 60 MB: 3 % more of them a second; smaller files: fewer.)"""

READ_SECONDS = 10.0
"""A file that has been read for so long does not count: one that its server does not give out,
though it answers (it is on a tape, or on a bad sector), must not hold up the others."""


@dataclass(frozen=True, eq=False)
class Share:
    """A share as the configuration describes it. Immutable; any thread may use it.

    `mirror` is the folder that takes the sidecars if they are not beside the images; `large_reads`
    and `huge_reads` are the places of those who read such a file, `uploads` of those who send one.
    """

    root: str
    organization: str = ""
    mirror: str | None = None
    watch: Watch = "auto"
    poll_seconds: float = 5
    rescan_seconds: float = 300
    require_mount: bool = False
    ignores: Ignores = field(default_factory=Ignores)
    large_reads: Places = field(default_factory=lambda: Places(READERS, patience=READ_SECONDS))
    huge_reads: Places = field(default_factory=lambda: Places(1, patience=READ_SECONDS))
    uploads: Places = field(default_factory=lambda: Places(sys.maxsize))

    @cached_property
    def tree(self) -> Tree:
        """The tree of images."""
        return Tree(self.root, require_mount=self.require_mount)

    def abandon(self, thread: Thread) -> None:
        """A thread that this share holds for good has no place here any more."""
        for places in (self.large_reads, self.huge_reads, self.uploads):
            places.abandon(thread)

    def readers(self, size: int) -> AbstractContextManager[bool]:
        """Entered to read a whole file of `size` bytes; gives whether the thread may go on."""
        if size < LARGE:
            return nullcontext(enter_result=True)
        return self.large_reads if size < HUGE else self.huge_reads

    def records(
        self, relative: str, images: int | None, *, create: bool = False
    ) -> AbstractContextManager[int | None]:
        """The open folder that holds the records of the images in `relative`; None if a mirror has
        nothing of that folder yet, unless it is to `create` it.

        `images` is that folder itself, open: beside an image means in the very folder that was
        walked to. Whatever is wrong with a mirror is `RecordUnwritable`; with this folder of it
        alone, `MirrorFolderBarred`.
        """
        if self.mirror is None:
            return nullcontext(images)
        return self._in_mirror(self.mirror, relative, create=create)

    @contextmanager
    def _in_mirror(self, mirror: str, relative: str, *, create: bool) -> Iterator[int | None]:
        tree = Tree(mirror, missing=RecordUnwritable)
        try:
            folder = tree.open_folder(relative, create=create)
        except NotThere as error:
            if create:
                raise MirrorFolderBarred(
                    f"cannot make the folder {relative!a} in {mirror}: something else is there"
                ) from error
            yield None
            return
        except FileUnreadable as error:
            found = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
            operation = "make or enter" if create else "enter"
            raise MirrorFolderBarred(
                f"cannot {operation} the folder {relative!a} in {mirror}: {found}"
            ) from error
        except ShareGone as error:
            raise RecordUnwritable(f"{mirror}: {error}") from error
        try:
            yield folder
        finally:
            os.close(folder)

    def move_records(self, source: str, folder: str) -> bool:
        """A folder of images was seen to move: its records in a mirror follow. False if there are
        none, or something else is in the way; then they stay.

        Beside the images they went along.
        """
        if self.mirror is None:
            return True
        mirror = Tree(self.mirror, missing=RecordUnwritable)
        (above, name), (new_above, new_name) = split(source), split(folder)
        with suppress(NotThere, FileUnreadable), mirror.folder(above) as old:
            new = mirror.open_folder(new_above, create=True)
            try:
                with suppress(OSError):  # what deleted images have left there is empty
                    os.rmdir(new_name, dir_fd=new)
                rename_to_free(name, new_name, old, new)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.EEXIST}:
                    raise RecordUnwritable(
                        f"cannot move {source!a} in {self.mirror}: {error.strerror}"
                    ) from error
            else:
                return True
            finally:
                os.close(new)
        return False
