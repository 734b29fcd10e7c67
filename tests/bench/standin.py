"""A service stand-in that is never the bottleneck: one thread, no checks, hashes every body.

A process of its own (`python -m tests.bench.standin [LATENCY_SECONDS]`). Prints its port; ends when
its standard input is closed, and prints as JSON its counts and when it had each content.
"""

import hashlib
import heapq
import json
import re
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable

RECEIVE = 1 << 18
"""Bytes at a time, into one place for all: it stays in the processor's cache. (`recv` makes a new
bytes object each time, and from some size on new pages: up to a third of what the service did.)"""


class Client:
    """One connection: what has come of the request that is under way."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting = bytearray()
        self.length = 0  # of the body, without the form's end
        self.left = 0  # of the file
        self.tail = 0
        self.digest = hashlib.sha256()
        self.step: Callable[[StandIn], bool] = self.head

    def feed(self, service: "StandIn", data: memoryview) -> None:
        """Goes on as far as `data` leads."""
        self.waiting += data[self.hashed(data) :]
        while self.step(service):
            pass

    def head(self, service: "StandIn") -> bool:
        """The request's line and headers."""
        end = self.waiting.find(b"\r\n\r\n")
        if end < 0:
            return False
        text = bytes(self.waiting[:end])
        del self.waiting[: end + 4]
        if text.startswith(b"HEAD"):
            known = _found(rb"contentHash=([0-9a-f]{64})", text).decode() in service.arrived
            service.counts["HEAD"] += 1
            line = b"200 OK" if known else b"404 Not Found"
            service.answer(self, b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\n\r\n")
            return True
        if b"100-continue" in text:
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")  # else curl waits a second
        self.tail = len(_found(rb"boundary=(\S+)", text)) + 8
        self.length = int(_found(rb"(?i)content-length: (\d+)", text)) - self.tail
        self.step = self.form
        return True

    def form(self, _service: "StandIn") -> bool:
        """The form up to the file's first byte."""
        part = self.waiting.find(b'name="file"')
        end = self.waiting.find(b"\r\n\r\n", part) if part >= 0 else -1
        if end < 0:
            return False
        del self.waiting[: end + 4]
        self.left = self.length - end - 4
        self.digest = hashlib.sha256()
        del self.waiting[: self.hashed(memoryview(self.waiting))]
        self.step = self.end
        return True

    def hashed(self, data: memoryview) -> int:
        """How much of `data` was the file's."""
        with data[: self.left] as content:
            self.digest.update(content)
            self.left -= len(content)
            return len(content)

    def end(self, service: "StandIn") -> bool:
        """The form's end, and the answer."""
        if self.left or len(self.waiting) < self.tail:
            return False
        del self.waiting[: self.tail]
        sha256 = self.digest.hexdigest()
        service.counts["POST"] += 1
        service.counts["sent twice"] += sha256 in service.arrived
        service.arrived.setdefault(sha256, time.monotonic_ns() // 1000)
        head = b"HTTP/1.1 201 Created\r\nContent-Length: 64\r\n\r\n"
        service.answer(self, head + sha256.encode())
        self.step = self.head
        return True


def _found(pattern: bytes, text: bytes) -> bytes:
    match = re.search(pattern, text)
    return match[1] if match else b""


class StandIn:
    """Serves until its standard input is closed."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.arrived: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self._later: list[tuple[float, int, Client, bytes]] = []
        self._number = 0
        self._received = bytearray(RECEIVE)

    def answer(self, client: Client, data: bytes) -> None:
        """Now, or after the latency."""
        if not self.latency:
            client.connection.sendall(data)
            return
        self._number += 1
        due = time.monotonic() + self.latency
        heapq.heappush(self._later, (due, self._number, client, data))

    def serve(self) -> None:
        """The loop."""
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            print(listener.getsockname()[1], flush=True)
            selector = selectors.DefaultSelector()
            selector.register(listener, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(self._until_next()):
                    if key.fileobj is sys.stdin:
                        return
                    self._read(key, listener, selector)
                self._answer_due()

    def _read(
        self,
        key: selectors.SelectorKey,
        listener: socket.socket,
        selector: selectors.BaseSelector,
    ) -> None:
        if key.fileobj is listener:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, Client(connection))
            return
        client: Client = key.data
        try:
            length = client.connection.recv_into(self._received)
        except ConnectionResetError:  # whoever it was has ended
            length = 0
        if length:
            now = time.monotonic_ns() // 1000
            self.counts["last us"] = now
            self.counts["first us"] = self.counts["first us"] or now
            self.counts["bytes"] += length
            with memoryview(self._received) as received:
                client.feed(self, received[:length])
        else:
            selector.unregister(client.connection)
            client.connection.close()

    def _until_next(self) -> float | None:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def _answer_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, client, data = heapq.heappop(self._later)
            client.connection.sendall(data)


if __name__ == "__main__":
    service = StandIn(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    service.serve()
    print(json.dumps({"counts": service.counts, "arrived": service.arrived}), flush=True)
