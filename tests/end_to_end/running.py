"""The program as its users have it: a process, a configuration file, a share, a service."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from watcher.sandbox import Sandbox

PATIENCE = 30.0
"""Seconds after which a test gives up waiting; none of them is expected to pass."""

Event = dict[str, Any]


class Installation:
    """One configuration and what is run with it."""

    def __init__(self, folder: Path, service: Sandbox) -> None:
        self.folder = folder
        self.service = service
        self.share = folder / "share"
        self.share.mkdir()
        self.config = folder / "config.toml"
        self.environment = {
            "PATH": os.environ["PATH"],
            "AUTORETOUCH_ACCESS_TOKEN": service.access_token,
            **{name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")},
        }
        self.configure()

    def configure(
        self,
        *,
        settle: float = 0.2,
        incomplete: float = 600,
        share: str = "",
        more: str = "",
        organization: str | None = None,
    ) -> None:
        """Writes the configuration; `share` goes into the share's block, `more` to the end."""
        organization = self.service.organization if organization is None else organization
        self.config.write_text(
            f'[api]\nurl = "{self.service.url}"\norganization = "{organization}"\n'
            "timeout_seconds = 5\n"
            f'[auth]\nurl = "{self.service.url}"\nclient_id = "V8EkfbxtBi93cAySTVWAecEum4d6pt4J"\n'
            f"[readiness]\nsettle_seconds = {settle}\nincomplete_after_seconds = {incomplete}\n"
            f'[[share]]\npath = "{self.share}"\n{share}\n{more}\n'
        )

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        state = str(self.folder / "state")
        options = ["--config", str(self.config), "--state-dir", state]
        return [sys.executable, "-m", "watcher", *options, *arguments]

    def call(self, *arguments: str) -> "Result":
        """Runs to the end."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def once(self) -> "Result":
        """`run --once`."""
        return self.call("run", "--once")

    @contextlib.contextmanager
    def started(self, under: Sequence[str] = ()) -> Iterator["Running"]:
        """`run`; killed at the end if the test did not stop it. `under` is a command that runs
        it."""
        process = subprocess.Popen(
            [*under, *self.command("run")], env=self.environment, stderr=subprocess.PIPE, text=True
        )
        with process, Running(process) as running:
            yield running

    @contextlib.contextmanager
    def daemon(self, under: Sequence[str] = ()) -> Iterator["Running"]:
        """The same, ready to be dropped on."""
        with self.started(under) as running:
            running.wait_for("rescan")
            yield running

    def drop(self, name: str, content: bytes) -> Path:
        """Puts a file on the share as a copy does."""
        path = self.share / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class Result:
    """What a run that ended has left."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def events(self) -> list[Event]:
        """Its log."""
        return [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]

    def named(self, kind: str) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if event["event"] == kind]


class Running:
    """A daemon that runs. Its log is read by a thread; the condition guards `events`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[Event] = []
        self.other_lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._reader.join()

    def _read(self) -> None:
        if self.process.stderr is not None:
            for line in self.process.stderr:
                with self._news:
                    if line.startswith("{"):
                        self.events.append(json.loads(line))
                    else:
                        self.other_lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, kind: str, *, times: int = 1, **values: object) -> Event:
        """The event of this kind and with these values, once it has come so many times."""
        event: Event = self.wait_until(
            lambda: (found := self.named(kind, **values))[times - 1 :] and found[times - 1],
            what=f"{times} x {kind} {values}",
        )
        return event

    def wait_until(self, predicate: Callable[[], Any], what: str) -> Any:
        """What the predicate answered when it was true; asked after each line, and now and then."""
        ends = time.monotonic() + PATIENCE
        with self._news:
            while not (answer := predicate()) and not self._ended and time.monotonic() < ends:
                self._news.wait(0.1)
            if not (answer := answer or predicate()):
                log = "\n".join(map(str, [*self.events[-20:], *self.other_lines]))
                raise AssertionError(f"never came: {what}; the log says:\n{log}")
            return answer

    def named(self, kind: str, **values: object) -> list[Event]:
        """The events of one kind that have these values, so far."""
        return [
            event
            for event in self.events
            if event["event"] == kind and all(event.get(k) == v for k, v in values.items())
        ]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(PATIENCE)
