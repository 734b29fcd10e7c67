"""What a polled share's folders looked like, so that those without a change need no listing.

A folder's modification time changes when a name in it comes or goes. Where that can be trusted, a
share of 200,000 files in 2,000 folders is looked through by 2,000 `stat`s. What this cannot see, a
file that is rewritten in place, is found by the next full pass.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

MAX_FOLDERS = 50_000
"""Folders that are remembered, some 20 MB; of a larger tree the others are listed each time."""

RACY_SECONDS = 3.0
"""A name that comes in the same tick of the file system's clock as our listing leaves no trace in
the time. The coarsest clock ticks in 2 s (FAT), so a listing counts if it was made later."""


class _Known(NamedTuple):
    folder_id: tuple[int, int, int]
    """Device, inode, modification time."""
    since: float
    final: bool
    names: int
    below: tuple[str, ...]


class Folders:
    """One share's memory; owned by the thread that scans it.

    `trusted`: folders' times are believed from the start, because of the kind of file system. Else
    they have to earn it: a change of names must have been seen together with one of the time. One
    change without it, found by a full pass, ends the trust for good.
    """

    def __init__(self, *, trusted: bool) -> None:
        self._trusted = trusted
        self._disproved = False
        self._known: dict[str, _Known] = {}

    def unchanged(self, folder: str, status: os.stat_result) -> Sequence[str] | None:
        """The folders in `folder`, if nothing came or went since it was listed; None if it must be
        listed."""
        known = self._known.get(folder)
        if known is None or not known.final or not self._trusted or self._disproved:
            return None
        return known.below if known.folder_id == _identity(status) else None

    def listed(
        self, folder: str, status: os.stat_result, *, names: int, below: Sequence[str], now: float
    ) -> None:
        """`folder` was listed after this `stat`; `names` is a digest of what was in it, `now` in
        steady seconds."""
        before, identity = self._known.get(folder), _identity(status)
        if before is None and len(self._known) >= MAX_FOLDERS:
            return
        same_time = before is not None and before.folder_id == identity
        if before is not None and before.names != names:
            same_folder = before.folder_id[:2] == identity[:2]
            self._trusted |= same_folder and not same_time
            self._disproved |= same_time and before.final
        since = before.since if before is not None and same_time else now
        final = now - since >= RACY_SECONDS
        self._known[folder] = _Known(identity, since, final, names, tuple(below))

    def gone(self, folder: str) -> None:
        """There is no such folder any more."""
        self._known.pop(folder, None)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns
