"""The one file that keeps the login: written whole, on the disk, for its owner alone."""

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from watcher.errors import ConfigurationError, ServiceTrouble

HELD_SECONDS = 30.0
"""How long the lock is waited for: longer than another process usually takes to renew a token."""

LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Stored:
    """What the state directory keeps. `seed` is the SHA-256 of the refresh token that was given
    last: while the same one is given, the stored one, which may be its successor or come from a
    later `login`, is used. `expires_at` (epoch seconds) is a little before the access token ends.
    `organization` is the one chosen at `login`, for when the configuration names none."""

    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    seed: str = ""
    organization: str = ""


class Version(NamedTuple):
    """Which file it is, and which content: each write makes another inode, `chmod` another time."""

    inode: int
    modified_ns: int
    changed_ns: int


class TokenStore:
    """The file `token.json` in the state directory, mode 0600.

    A thread that shares it holds a lock of its own; between processes there is `held`.
    """

    def __init__(self, state_dir: str, *, wait: Callable[[float], object] = time.sleep) -> None:
        """`wait` lets so many seconds pass."""
        self._folder = state_dir
        self._wait = wait
        self.path = os.path.join(state_dir, "token.json")

    def version(self) -> Version | None:
        """Tells one content from the next without reading it; None if there is none."""
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return None
        return Version(status.st_ino, status.st_mtime_ns, status.st_ctime_ns)

    def read(self) -> Stored | None:
        """What is stored, None if nothing is; raises `ConfigurationError` if others can read it or
        it cannot be understood."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{self.path}: cannot be read: {error.strerror}") from error
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o077:
                raise ConfigurationError(
                    f"{self.path}: others can read it (mode {mode:04o}), so it is not used. Make "
                    "sure that nobody has, then: chmod 600"
                )
            text = file.read(64 << 10) if stat.S_ISREG(status.st_mode) else b""
        stored = _understood(text)
        if stored is None:
            raise ConfigurationError(
                f"{self.path}: cannot be understood. Delete it and sign in again."
            )
        return stored

    def write(self, stored: Stored) -> None:
        """Replaces what is stored, whole and on the disk when it returns. Raises `OSError`."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with self._written(stored) as temporary:
            os.rename(temporary, self.path)
        self._sync_folder()

    def try_to_write(self, stored: Stored) -> None:
        """Raises `OSError` where `write` would; changes nothing."""
        with self._written(stored) as temporary:
            os.unlink(temporary)

    @contextmanager
    def _written(self, stored: Stored) -> Iterator[str]:
        """The path of a new file with this content, on the disk; removed if the block fails."""
        temporary = f"{self.path}.{secrets.token_hex(8)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                _give_to_owner_of(self._folder, fd)
                values = {name: getattr(stored, name) for name in Stored.__slots__}
                file.write(json.dumps(values).encode())
                file.flush()
                os.fsync(fd)
            yield temporary
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def remove(self) -> None:
        """Forgets what is stored, if anything is; on the disk when it returns. Raises `OSError`."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
            self._sync_folder()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Only one process at a time is in here: of two that used the same refresh token, the auth
        server could take one for a thief and end the login of both.

        Raises `ServiceTrouble` if another process stays in there. Where there are no locks, or
        no directory and no right to make it, there is nothing to share either.
        """
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield
            return
        try:
            self._take_lock(folder)
            yield
        finally:
            os.close(folder)  # which ends the lock

    def _take_lock(self, folder: int) -> None:
        for _ in range(int(HELD_SECONDS / LOOK_SECONDS)):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait(LOOK_SECONDS)
            except OSError:  # a directory on NFS has none
                return
            else:
                return
        raise ServiceTrouble(f"another process is busy with {self.path} and does not end")

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _give_to_owner_of(folder: str, fd: int) -> None:
    """`sudo autoretouch-watcher login` must leave a token that the service's user can read."""
    if os.geteuid() == 0:
        owner = os.stat(folder)
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _understood(text: bytes) -> Stored | None:
    """What the store's file says. (No exception leaves: it would show the file's content.)"""
    try:
        values: dict[str, Any] = json.loads(text)
        stored = Stored(**values)
        plain = stored.refresh_token.isascii() and fits_a_header(stored.access_token)
        number = isinstance(values.get("expires_at", 0), int | float)
        text_only = all(isinstance(values.get(key, ""), str) for key in ("seed", "organization"))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return stored if plain and number and text_only else None


def fits_a_header(token: str) -> bool:
    """What does not, httpx would refuse with an error that shows it. "" is no token, but fits."""
    return token.isascii() and token.isprintable() and " " not in token
