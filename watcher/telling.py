"""The two ways to tell somebody: by a command and by a webhook.

Each `tell` answers what went wrong, in words for the log, or "". What could be a secret (the
command's arguments, the webhook's path) is never in those words.
"""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Protocol, cast
from urllib.parse import urlsplit

from watcher import __version__
from watcher.errors import ServiceTrouble
from watcher.exchange import Connection
from watcher.notices import Notice

COMMAND_SECONDS = 30.0
"""A command that lasts longer is killed, with all that it started in its process group."""

PAUSES = (2.0, 10.0, 60.0)
"""Seconds between the tries to reach a webhook."""

_SAID = 300
"""Characters of what a command said that come into the log."""

_LOOK_SECONDS = 0.05
_TRANSIENT = {408, 425, 429}
_OURS_ALONE = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


class Way(Protocol):
    """One way to tell."""

    def tell(self, notice: Notice) -> str:
        """What went wrong, or ""."""
        ...


class Command:
    """Runs a program, without a shell. Owned by one thread; `stop` ends what runs.

    The program gets the notice as JSON on its standard input and in its environment (see
    `notices`), which is otherwise ours, without what could hold a token or speak for us to systemd.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        host: str,
        stop: threading.Event,
    ) -> None:
        self._arguments = arguments
        self._environ = {
            name: value
            for name, value in environ.items()
            if not name.startswith("AUTORETOUCH_") and name not in _OURS_ALONE
        }
        self._host = host
        self._stop = stop

    def tell(self, notice: Notice) -> str:
        """What went wrong, or ""."""
        program = self._arguments[0]
        facts = notice.facts(host=self._host, version=__version__)
        told = {f"AUTORETOUCH_{name.upper()}": str(value) for name, value in facts.items()}
        standard_input = _holding(notice.as_json(host=self._host, version=__version__))
        try:
            process = subprocess.Popen(  # noqa: S603 - the administrator's own command, no shell
                self._arguments,
                cwd="/",
                env={**self._environ, **told},
                stdin=standard_input,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"{program} cannot be started: {getattr(error, 'strerror', None) or error}"
        finally:
            os.close(standard_input)
        with process:
            said, killed = self._until_it_ends(process)
        if killed:
            return f"{program} {killed}"
        if process.returncode:
            return f"{program} ended with {process.returncode}: {_shortened(said)}"
        return ""

    def _until_it_ends(self, process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
        """The first of what it said, and why it was killed, or ""."""
        said, killed, out = b"", "", cast("IO[bytes]", process.stdout).fileno()
        os.set_blocking(out, False)
        ends = time.monotonic() + COMMAND_SECONDS
        while process.poll() is None and not killed:
            said = (said + self._heard(out))[: 4 * _SAID]
            if self._stop.is_set():
                killed = "was killed, because the daemon ends"
            elif time.monotonic() > ends:
                killed = f"had not ended after {COMMAND_SECONDS:.0f} s and was killed"
        if killed:
            with suppress(ProcessLookupError):  # it has ended this very moment
                os.killpg(process.pid, signal.SIGKILL)
        return said + self._heard(out), killed

    def _heard(self, out: int) -> bytes:
        """What it says within a moment. What it started and left behind may keep its output open,
        so that nobody waits for its end."""
        poll = select.poll()
        poll.register(out, select.POLLIN)
        poll.poll(_LOOK_SECONDS * 1000)
        try:
            data = os.read(out, 1 << 16)
        except BlockingIOError:
            return b""
        if not data:  # it has closed its output, and may go on for long
            self._stop.wait(_LOOK_SECONDS)
        return data


class Webhook:
    """Posts the notice as JSON; whatever is answered is not read for anything but its status.

    `pause` waits for so many seconds and tells whether to give up instead of trying again.
    """

    def __init__(
        self,
        url: str,
        *,
        connect: Callable[[], Connection],
        host: str,
        pause: Callable[[float], bool],
    ) -> None:
        self._url = url
        self._connect = connect
        self._host = host
        self._pause = pause

    def tell(self, notice: Notice) -> str:
        """What went wrong, or ""."""
        body = notice.as_json(host=self._host, version=__version__)
        trouble, again = self._post(body)
        for seconds in PAUSES:
            if not again or self._pause(seconds):
                break
            trouble, again = self._post(body)
        there = urlsplit(self._url)
        words = trouble.removeprefix(f"{there.netloc}: ")
        return trouble and f"the webhook at {there.hostname}: {words}"

    def _post(self, body: bytes) -> tuple[str, bool]:
        """What went wrong, or "", and whether it is worth another try."""
        try:
            with self._connect() as connection:
                answer = connection.exchange(
                    "POST", self._url, headers={"Content-Type": "application/json"}, body=body
                )
        except ServiceTrouble as error:
            return str(error), True
        if 200 <= answer.status < 300:
            return "", False
        again = answer.status in _TRANSIENT or answer.status >= 500
        return f"it answered {answer.status}", again


def _holding(content: bytes) -> int:
    """A descriptor to read it from: whoever does not read it holds up nobody."""
    descriptor = os.memfd_create("notice")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _shortened(said: bytes) -> str:
    text = said.decode(errors="replace").strip()[:_SAID]
    return text or "it said nothing"
