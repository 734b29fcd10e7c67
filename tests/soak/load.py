"""People at work on a share: files come, are rewritten, renamed, replaced and deleted, for ever."""

import os
import random
import threading
from pathlib import Path
from typing import NamedTuple, Self

from tests.core.studio import sha256, status
from tests.end_to_end.pictures import picture

PAUSE_SECONDS = 0.03
"""The longest pause between two deeds."""

NUMBERS = 12
"""Names in each folder: so many files can be there at once, so the share does not grow."""

PLACES = ("", "Montag", "a b/c d")
MOVING = ("Müller & Söhne", "Müller & Söhne (neu)")
"""The two names between which one more folder goes back and forth."""

Slot = tuple[int, int]
"""A place for a file: which folder, which number."""


class Known(NamedTuple):
    """What was written, and all that a foreign touch would change."""

    sha256: str
    acceptable: bool
    status: tuple[int, ...]


class Load:
    """Works below `root` in a thread of its own while entered.

    `lock` is held for each deed; `files` and all that is on disk are of one mind whenever it is
    free. The same seed does the same deeds (their moments differ). Leaving raises what went wrong.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.lock = threading.Lock()
        self.files: dict[Slot, Known] = {}
        self.deeds = 0
        self._folders = [*PLACES, MOVING[0]]
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="load")
        self._error: Exception | None = None
        for folder in self.folders():
            folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        for _ in range(NUMBERS):
            self._drop()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def folders(self) -> list[Path]:
        """The folders that people work in, as they are called now."""
        return [self.root / folder for folder in self._folders]

    def slots(self) -> list[Slot]:
        """Every place that a file can have."""
        return [(f, number) for f in range(len(self._folders)) for number in range(NUMBERS)]

    def relative(self, slot: Slot) -> str:
        """Where a slot is now, below the root."""
        folder, number = slot
        return os.path.join(self._folders[folder], f"IMG {number}.jpg")

    def path(self, slot: Slot) -> Path:
        """Where a slot is now."""
        return self.root / self.relative(slot)

    def touched(self) -> list[str]:
        """The files that somebody else has touched. The caller holds the lock."""
        return [
            f"{self.relative(slot)} is not as it was written"
            for slot, known in self.files.items()
            if not self._untouched(slot, known)
        ]

    def _untouched(self, slot: Slot, known: Known) -> bool:
        path = self.path(slot)
        try:
            return status(path) == known.status and sha256(path.read_bytes()) == known.sha256
        except FileNotFoundError:
            return False

    # The thread.

    def _work(self) -> None:
        deeds = (
            [self._drop] * 4
            + [self._rewrite] * 3
            + [self._replace, self._rename] * 2
            + [self._delete] * 2
            + [self._move_folder]
        )
        try:
            while not self._stop.wait(self._random.uniform(0, PAUSE_SECONDS)):
                with self.lock:
                    self._random.choice(deeds)()
                    self.deeds += 1
        except Exception as error:  # noqa: BLE001 - whoever leaves the block gets it
            self._error = error

    # Deeds, under the lock.

    def _drop(self) -> None:
        slot, (content, acceptable) = self._any_slot(), self._content()
        self.path(slot).write_bytes(content)
        self._remember(slot, sha256(content), acceptable=acceptable)

    def _rewrite(self) -> None:
        """In place and in two pieces, so that half a file can be seen for a moment."""
        slot, (content, acceptable) = self._any_slot(), self._content()
        with self.path(slot).open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            self._stop.wait(self._random.uniform(0, PAUSE_SECONDS))
            file.write(content[len(content) // 2 :])
        self._remember(slot, sha256(content), acceptable=acceptable)

    def _replace(self) -> None:
        """As editors save: a hidden file beside, then a rename over the old one."""
        slot, (content, acceptable) = self._any_slot(), self._content()
        beside = self.path(slot).with_name(".saving")
        beside.write_bytes(content)
        beside.rename(self.path(slot))
        self._remember(slot, sha256(content), acceptable=acceptable)

    def _rename(self) -> None:
        source, target = self._some_file(), self._any_slot()
        if source is not None and source != target:
            self.path(source).rename(self.path(target))
            known = self.files.pop(source)
            self._remember(target, known.sha256, acceptable=known.acceptable)

    def _delete(self) -> None:
        slot = self._some_file()
        if slot is not None:
            self.path(slot).unlink()
            del self.files[slot]

    def _move_folder(self) -> None:
        old = self._folders[-1]
        new = MOVING[1 - MOVING.index(old)]
        (self.root / old).rename(self.root / new)
        self._folders[-1] = new

    def _remember(self, slot: Slot, content_hash: str, *, acceptable: bool) -> None:
        self.files[slot] = Known(content_hash, acceptable, status(self.path(slot)))

    def _any_slot(self) -> Slot:
        return self._random.choice(self.slots())

    def _some_file(self) -> Slot | None:
        return self._random.choice(sorted(self.files)) if self.files else None

    def _content(self) -> tuple[bytes, bool]:
        """Mostly a new image, seldom a large one; else what another file has, or no image."""
        kind, seed = self._random.random(), self._random.getrandbits(60)
        copied = self._some_file()
        if kind < 0.1:
            return b"just some words %d\n" % seed * 9, False
        if kind < 0.2 and copied is not None:
            return self.path(copied).read_bytes(), self.files[copied].acceptable
        return picture(seed, size=(640, 480) if kind > 0.9 else (64, 48)), True
