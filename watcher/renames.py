"""What becomes of the record at a path that a file has left, as far as that was seen.

Nothing is ever concluded from absence alone: these are called for a deletion or a rename that the
kernel announced.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from watcher.record import claimed_before, remove_note, remove_sidecar
from watcher.share import Share
from watcher.sidecar import ForeignRecord
from watcher.tree import Closing, NotThere, is_free, split


def former_claim(share: Share, former: str, mtime_ns: int, moved_ns: int) -> str | None:
    """The hash that the sidecar at a file's `former` path claims for a file of this modification
    time that was moved away then; None if there is none, or something has that path again."""
    folder, name = split(former)
    with suppress(NotThere, ForeignRecord), share.tree.folder(folder) as images:
        if is_free(name, images):
            with share.records(folder, images) as records:
                if records is not None:
                    return claimed_before(moved_ns, name, records, mtime_ns=mtime_ns)
    return None


def forget(share: Share, path: str) -> None:
    """Takes the record of `path` away if no file is there any more."""
    folder, name = split(path)
    with suppress(NotThere), _folder_or_none(share, folder) as images:
        if images is None or is_free(name, images):
            with share.records(folder, images) as records:
                _remove(name, records)


def distrust(share: Share, path: str) -> None:
    """Takes the record of `path` away although a file is there: it is another's, which was there
    before."""
    folder, name = split(path)
    with (
        suppress(NotThere),
        share.tree.folder(folder) as images,
        share.records(folder, images) as records,
    ):
        _remove(name, records)


def _remove(name: str, records: int | None) -> None:
    if records is not None:
        remove_sidecar(name, records)
        remove_note(name, records)


@contextmanager
def _folder_or_none(share: Share, folder: str) -> Iterator[int | None]:
    """The open folder of images; None if it is gone with what was in it, but its records are not,
    for they are in a mirror. Raises `NotThere`."""
    try:
        fd = share.tree.open_folder(folder)
    except NotThere:
        if share.mirror is None:
            raise
        yield None
        return
    with Closing(fd):
        yield fd
