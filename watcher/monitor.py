"""Where a monitoring system asks how the daemon is: /metrics for Prometheus, and /healthz.

/healthz answers 200 and `ok` while work moves or there is none, and one line for each condition
that holds; 503 and what is stuck if not. A condition alone is no 503: no new start would mend it.

Nobody who asks can hold anything up. One thread serves all connections; there are at most
`MAX_CONNECTIONS`, each lasts `EXCHANGE_SECONDS` at the most and answers one question. The daemon is
asked in a thread of its own, one at a time: if it hangs, that one hangs, and all who ask are told.
"""

import asyncio
import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple, Self

from watcher.errors import ConfigurationError
from watcher.metrics import CONTENT_TYPE, exposition
from watcher.printable import printable
from watcher.snapshot import Flight, Snapshot

MAX_CONNECTIONS = 32
"""When one more comes, the oldest is closed: who asks in earnest has been answered long since."""

MAX_HEAD = 8 << 10
"""Bytes of a request that are read."""

EXCHANGE_SECONDS = 6.0
"""How long a client has for its question and for taking the answer; Prometheus itself allows 10."""

DAEMON_SECONDS = 3.0
"""How long the daemon has for its snapshot, which takes it a millisecond."""

_STUCK_SHOWN = 10
_TEXT = "text/plain; charset=utf-8"
_REQUEST = re.compile(rb"([A-Z]{1,20}) (\S+) HTTP/1\.[01]\r\n")


class _Page(NamedTuple):
    status: HTTPStatus
    body: bytes
    kind: str = _TEXT


class Monitor:
    """Listens at `listen` ('HOST:PORT') for as long as it is entered; may be entered again.

    `snapshot` is called from other threads. Entered and left by one thread. `port` is the one that
    it listens on, which the kernel chooses if `listen` says 0.
    """

    def __init__(self, listen: str, *, snapshot: Callable[[], Snapshot]) -> None:
        self._listen = listen
        self._serving = _Serving(snapshot)

    def __enter__(self) -> Self:
        """Raises `ConfigurationError` if nobody can be listened to there."""
        listening = _bound(self._listen)
        self.port = listening.getsockname()[1]
        self._serving.start(listening)
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.stop()


def _bound(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:  # the second: no host has such a name
        number = getattr(error, "errno", None) or 0
        why = os.strerror(number) if number > 0 else str(getattr(error, "strerror", error))
        raise ConfigurationError(
            f"[monitor] listen: {listen!a} cannot be used: {why}. Give an address of this machine "
            "and a port that is free and above 1023."
        ) from error


class _Serving:
    """The thread `monitor` owns all but `start` and `stop`."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._answer: asyncio.Future[Snapshot | str] | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    def start(self, listening: socket.socket) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._answer = None
        self._thread = threading.Thread(
            target=self._run, args=[listening], name="monitor", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self, listening: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        server = await asyncio.start_server(self._connected, sock=listening, limit=MAX_HEAD)
        await self._ended.wait()
        server.close()  # and the runner cancels what is open

    # One connection

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest).cancel()
        self._open[writer] = talk = self._loop.create_task(self._talk(reader, writer))
        talk.add_done_callback(lambda _: self._left(writer))  # which comes even if it never began

    def _left(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        self._open.pop(writer, None)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                await self._exchange(reader, writer)
        except (OSError, EOFError):
            return  # too slow (`TimeoutError` is an `OSError`) or gone: there is nobody to tell

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, page = await self._asked(reader)
        writer.transport.set_write_buffer_limits(0)  # `drain` is to wait until all is taken
        writer.write(_head(page) + (b"" if method == b"HEAD" else page.body))
        await writer.drain()
        writer.write_eof()
        # What it still sends is read first: the kernel answers unread data with a reset, which
        # would take our answer along.
        for _ in range(16):
            if not await reader.read(MAX_HEAD):
                return

    async def _asked(self, reader: asyncio.StreamReader) -> tuple[bytes, _Page]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return b"", _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request = _REQUEST.match(head)
        if request is None:
            return b"", _plain(HTTPStatus.BAD_REQUEST)
        method, target = request.groups()
        make = _PAGES.get(target.partition(b"?")[0])
        if make is None:
            return method, _plain(HTTPStatus.NOT_FOUND)
        if method not in {b"GET", b"HEAD"}:
            return method, _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        now = await self._now()
        return method, _silent(now) if isinstance(now, str) else make(now)

    # What the daemon says

    async def _now(self) -> Snapshot | str:
        """The snapshot, or why there is none. All who ask at the same time share one."""
        if self._answer is None or self._answer.done():
            self._answer = self._loop.create_future()
            threading.Thread(
                target=self._ask, args=[self._answer], name="monitor asks", daemon=True
            ).start()
        try:
            return await asyncio.wait_for(asyncio.shield(self._answer), DAEMON_SECONDS)
        except TimeoutError:
            return "the daemon does not answer"

    def _ask(self, answer: asyncio.Future[Snapshot | str]) -> None:
        found: Snapshot | str
        try:
            found = self._snapshot()
        except Exception as error:  # noqa: BLE001 - whoever asks is told, with 503
            found = f"the daemon cannot be asked: {type(error).__name__}: {error}"
        with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits any more
            self._loop.call_soon_threadsafe(answer.set_result, found)


def _head(page: _Page) -> bytes:
    lines = [
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.kind}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _plain(status: HTTPStatus) -> _Page:
    return _Page(status, f"{status.phrase.lower()}: there are /metrics and /healthz\n".encode())


def _silent(why: str) -> _Page:
    return _Page(HTTPStatus.SERVICE_UNAVAILABLE, f"stuck: {printable(why)}\n".encode())


def _metrics(now: Snapshot) -> _Page:
    return _Page(HTTPStatus.OK, exposition(now), CONTENT_TYPE)


def _health(now: Snapshot) -> _Page:
    lines = ["ok"] if now.moving else list(_stuck(now))
    for each in now.conditions:
        place = f" at {each.place}" if each.place else ""
        lines.append(f"condition {each.name}{place}: {each.reason}")
    body = "".join(f"{printable(line)}\n" for line in lines)
    status = HTTPStatus.OK if now.moving else HTTPStatus.SERVICE_UNAVAILABLE
    return _Page(status, body.encode())


def _stuck(now: Snapshot) -> list[str]:
    slowest = sorted(now.flights, key=lambda flight: flight.seconds, reverse=True)
    return [
        f"stuck: {now.waiting} files wait, {len(now.flights)} of them in flight; nothing moves",
        *map(_in_words, slowest[:_STUCK_SHOWN]),
    ]


def _in_words(flight: Flight) -> str:
    name = f"{flight.share}/{flight.path}"
    return (
        f"{flight.step} for {flight.seconds:.0f} s: {name} ({flight.sent} of {flight.size} bytes)"
    )


_PAGES: dict[bytes, Callable[[Snapshot], _Page]] = {b"/metrics": _metrics, b"/healthz": _health}
