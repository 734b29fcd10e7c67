"""Which file on which share is meant by a path on the command line."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from watcher.errors import ShareGone
from watcher.hangs import HUNG_SECONDS
from watcher.printable import printable
from watcher.record import NOTE, SIDECAR
from watcher.share import Share
from watcher.tree import NotThere

T = TypeVar("T")


class NoSuchPlace(Exception):
    """The path leads into none of the shares; the text is for people."""


class Silent(Exception):
    """A file server does not answer."""


@dataclass(frozen=True, slots=True)
class Location:
    """A path relative to the root of a share; `mirrored` if it leads to the folder that takes the
    share's records, and not to the share."""

    share: Share
    path: str
    mirrored: bool = False

    @property
    def shown(self) -> str:
        """The whole path, for people."""
        return whole(self.share, self.path, mirrored=self.mirrored)

    @property
    def image(self) -> str:
        """The relative path of the image, if this is that of its record; else the path itself."""
        for suffix in (SIDECAR, NOTE):
            if self.path.endswith(suffix):
                return self.path.removesuffix(suffix)
        return self.path


def whole(share: Share, path: str, *, mirrored: bool = False) -> str:
    """A path on a share as people can use it, printable."""
    root = (share.mirror or "") if mirrored else share.root
    return printable(f"{root.rstrip('/')}/{path}" if path else root)


def is_folder(place: Location) -> bool:
    """Whether the daemon finds a folder there. Raises `ShareGone` and `FileUnreadable`."""
    try:
        with place.share.tree.folder(place.path):
            return True
    except NotThere:
        return False


def locate(path: str, shares: Sequence[Share]) -> Location:
    """What `path` means to the daemon. Raises `NoSuchPlace` and `Silent`.

    A link on the way to a share is followed, one in it is not: that is the daemon's to judge. What
    lies lexically in a share is not asked for at all, so that one that hangs can be named.
    """
    if not path:
        raise NoSuchPlace("an empty path leads nowhere")
    try:
        absolute = "/" + os.path.join(os.getcwd(), path).lstrip("/")
    except FileNotFoundError:
        raise NoSuchPlace(f"{printable(path)}: the current folder is gone") from None
    roots = list(_roots(shares))
    if ".." not in absolute.split("/"):
        for root, share, mirrored in roots:
            relative = _below(os.path.normpath(absolute), os.path.normpath(root))
            if relative is not None:
                return Location(share, relative, mirrored)
    found = in_time(lambda: _resolved(absolute, roots), what=printable(path))
    if found is None:
        known = ", ".join(printable(share.root) for share in shares)
        raise NoSuchPlace(f"{printable(path)} is in none of the shares: {known}")
    return found


def _roots(shares: Sequence[Share]) -> Iterator[tuple[str, Share, bool]]:
    for share in shares:
        yield share.root, share, False
        if share.mirror is not None:
            yield share.mirror, share, True


def _below(path: str, root: str) -> str | None:
    """`path` relative to `root`, "" for the root itself; None if it is not in it."""
    if path == root:
        return ""
    above = root.rstrip("/") + "/"
    return path.removeprefix(above) if path.startswith(above) else None


def _resolved(absolute: str, roots: Sequence[tuple[str, Share, bool]]) -> Location | None:
    """Goes down the path until it has come to a share; the rest is left as it is written."""
    real_roots = [(os.path.realpath(root), share, mirrored) for root, share, mirrored in roots]
    names = absolute.split("/")
    for depth in range(1, len(names) + 1):
        real = os.path.realpath("/".join(names[:depth]) or "/")
        for root, share, mirrored in real_roots:
            above = _below(real, root)
            rest = None if above is None else _joined(above, names[depth:])
            if rest is not None:
                return Location(share, rest, mirrored)
    return None


def _joined(above: str, names: Sequence[str]) -> str | None:
    """The relative path; None if it leads out of the share again."""
    path = os.path.normpath("/".join((above, *names)).lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        return None
    return "" if path == "." else path


def in_time(work: Callable[[], T], *, what: str) -> T:
    """The answer of `work`, asked in a thread of its own: a dead file server lets nobody go.

    Raises `Silent` if it has not come after `HUNG_SECONDS`, and what `work` raises.
    """
    answers: list[T] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(work())
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            errors.append(error)

    asking = threading.Thread(target=ask, name="asking", daemon=True)
    asking.start()
    asking.join(HUNG_SECONDS)
    if errors:
        raise errors[0]
    if not answers:
        raise Silent(f"{what}: no answer from its file server for {HUNG_SECONDS:.0f} seconds")
    return answers[0]


def is_there(share: Share) -> None:
    """Raises `ShareGone` or `Silent` if the share cannot be worked on."""

    def enter() -> None:
        with share.tree.folder("") as fd:
            try:
                with os.scandir(fd) as entries:
                    next(entries, None)
            except OSError as error:
                raise ShareGone(f"the file system answers: {error.strerror}") from error

    in_time(enter, what=printable(share.root))
