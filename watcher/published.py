"""What a running daemon leaves in its state directory for others to read, and who may run.

`daemon.lock` is locked for as long as one runs, however it ends; `daemon.json` is its snapshot,
written anew every two seconds. Neither holds a secret, and neither is needed to go on: what became
of the files is on the shares alone.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from pydantic import TypeAdapter

from watcher.errors import ConfigurationError
from watcher.snapshot import Snapshot

PUBLISH_SECONDS = 2.0
"""How often a snapshot is written; it costs some 0.02 % of a core."""

_STARTING_SECONDS = 1.0
"""How long a lock is waited for that somebody holds who only looks whether a daemon runs."""


class Published:
    """The two files in one state directory. `publish` is for the one that holds the lock."""

    def __init__(self, state_dir: str) -> None:
        self._folder = state_dir
        self._lock = os.path.join(state_dir, "daemon.lock")
        self.path = os.path.join(state_dir, "daemon.json")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts no other daemon runs with this state directory. Raises
        `ConfigurationError` if one does, or if the directory cannot be used."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            raise ConfigurationError(
                f"the state directory {self._folder} cannot be used: {error.strerror}. Give "
                "--state-dir one that this user may write to."
            ) from error
        try:
            self._take(fd)
            yield
        finally:
            os.close(fd)

    def _take(self, fd: int) -> None:
        deadline = time.monotonic() + _STARTING_SECONDS
        while not _locked(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"another daemon runs with the state directory {self._folder}. Stop it, or "
                    "give this one its own: --state-dir."
                )
            time.sleep(0.05)

    def publish(self, snapshot: Snapshot) -> None:
        """Writes it, whole. Raises `OSError`: whoever asks can do without."""
        temporary = f"{self.path}.tmp"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
        with open(fd, "w", encoding="ascii") as file:
            json.dump(asdict(snapshot), file)
        os.replace(temporary, self.path)

    def runs(self) -> bool:
        """Whether a daemon runs. Raises `ConfigurationError` if this user may not know."""
        try:
            fd = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._not_ours(error) from error
        try:
            return not _locked(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def read(self) -> Snapshot | None:
        """What a daemon that runs wrote last; None if none runs, or it has not written yet."""
        if not self.runs():
            return None
        try:
            with open(self.path, "rb") as file:
                # Not `validate_json`, which refuses names that are not UTF-8.
                return TypeAdapter(Snapshot).validate_python(json.load(file))
        except (FileNotFoundError, ValueError):  # of another version, perhaps
            return None
        except OSError as error:
            raise self._not_ours(error) from error

    def _not_ours(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the state directory {self._folder} cannot be read: {error.strerror}. Run this as the "
            "daemon's user or as root, with the daemon's --state-dir."
        )


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
