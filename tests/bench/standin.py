"""A service stand-in, as light as one that checks can be: one thread, which hashes all it gets.

It checks what the documentation names: the token, the hash that is asked for, the form to its end
and the size that it states. The file's own bytes it only hashes, once or as often as asked: then it
takes more of the machine. A process of its own (`python -m tests.bench.standin LATENCY_SECONDS
TIMES`). Prints its port; ends when its standard input is closed, and prints as JSON its counts,
when it had each content, and what it refused first.
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
from collections.abc import Callable, Mapping
from email.parser import BytesHeaderParser
from urllib.parse import parse_qs, urlsplit

TOKEN = "benchmark"
HEADERS = BytesHeaderParser()
END_OF_HEADERS = b"\r\n\r\n"

RECEIVE = 1 << 18
"""Bytes at a time, into one place for all: it stays in the processor's cache. (`recv` makes a new
bytes object each time, and from some size on new pages: up to a third of what the service did.)"""


class Refused(Exception):
    """Something is not as the documentation has it; the text says what."""


class Client:
    """One connection: what has come of the request that is under way. Its steps raise `Refused`."""

    def __init__(self, connection: socket.socket, times: int) -> None:
        self.connection = connection
        self.waiting = bytearray()
        self.boundary = b""
        self.body = 0  # bytes of it that are still to come
        self.stated: int | None = None  # bytes of the file, by the form
        self.left = 0  # of the file
        self.digests = [hashlib.sha256() for _ in range(times)]
        self.step: Callable[[StandIn], bool] = self.head

    def feed(self, service: "StandIn", data: memoryview) -> None:
        """Goes on as far as `data` leads."""
        self.waiting += data[self.hashed(data) :]
        while self.step(service):
            pass

    def taken(self, end: bytes) -> bytes | None:
        """What has come up to and with `end`; None if that is still to come."""
        found = self.waiting.find(end)
        if found < 0:
            return None
        text = bytes(self.waiting[: found + len(end)])
        del self.waiting[: len(text)]
        self.body -= len(text)
        return text

    def head(self, service: "StandIn") -> bool:
        """The request's line and headers."""
        if (text := self.taken(END_OF_HEADERS)) is None:
            return False
        line, _, fields = text.partition(b"\r\n")
        method, target, _ = line.decode("ascii").split(" ")
        address, headers = urlsplit(target), HEADERS.parsebytes(fields)
        if address.path != "/upload" or headers["Authorization"] != f"Bearer {TOKEN}":
            raise Refused(f"{method} {address.path}, or its token")
        if method == "HEAD":
            service.tell_if_known(self, parse_qs(address.query))
            return True
        if method != "POST" or headers.get_content_type() != "multipart/form-data":
            raise Refused(f"{method} of {headers.get_content_type()}")
        if headers["Expect"]:
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")  # else curl waits a second
        self.boundary = b"--" + headers.get_boundary("").encode("ascii")
        self.body, self.stated = int(headers.get("Content-Length", "0")), None
        self.step = self.part
        return True

    def part(self, _service: "StandIn") -> bool:
        """The headers of the form's next part. The file is the last one."""
        if (text := self.taken(END_OF_HEADERS)) is None:
            return False
        begins, _, fields = text.partition(b"\r\n")
        headers = HEADERS.parsebytes(fields)
        name = headers.get_param("name", header="Content-Disposition")
        if begins != self.boundary or headers.get_content_disposition() != "form-data":
            raise Refused("a part that is none")
        if name == "filesize":
            self.step = self.size
        elif name == "file" and headers.get_filename():
            self.file_begins()
        else:
            raise Refused(f"part {name}")
        return True

    def size(self, _service: "StandIn") -> bool:
        """What the form says of it."""
        if (text := self.taken(b"\r\n")) is None:
            return False
        self.stated = int(text)
        self.step = self.part
        return True

    def file_begins(self) -> None:
        """All but the form's end is the file."""
        self.left = self.body - len(self.boundary) - len(b"\r\n--\r\n")
        if self.stated not in {None, self.left}:
            raise Refused(f"{self.left} bytes instead of {self.stated}")
        self.digests = [hashlib.sha256() for _ in self.digests]
        del self.waiting[: self.hashed(memoryview(self.waiting))]
        self.step = self.end

    def hashed(self, data: memoryview) -> int:
        """How much of `data` was the file's."""
        with data[: self.left] as content:
            for digest in self.digests:
                digest.update(content)
            self.left -= len(content)
            self.body -= len(content)
            return len(content)

    def end(self, service: "StandIn") -> bool:
        """The form's end, and the answer."""
        if self.left or len(self.waiting) < self.body:
            return False
        end = bytes(self.waiting[: self.body])
        del self.waiting[: self.body]
        if end != b"\r\n" + self.boundary + b"--\r\n":
            raise Refused("a form without its end")
        service.take(self, self.digests[0].hexdigest())
        self.step = self.head
        return True


class StandIn:
    """Serves until its standard input is closed."""

    def __init__(self, latency: float, times: int) -> None:
        self.latency = latency
        self.times = times
        self.arrived: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.refused = ""
        self._later: list[tuple[float, int, Client, bytes]] = []
        self._number = 0
        self._received = bytearray(RECEIVE)

    def tell_if_known(self, client: Client, asked: Mapping[str, list[str]]) -> None:
        """Answers to HEAD. Raises `Refused`."""
        (sha256,) = asked.get("contentHash", [""])
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise Refused(f"contentHash {sha256}")
        self.counts["HEAD"] += 1
        line = b"200 OK" if sha256 in self.arrived else b"404 Not Found"
        self.answer(client, b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\n\r\n")

    def take(self, client: Client, sha256: str) -> None:
        """All of a file has come."""
        self.counts["POST"] += 1
        self.counts["sent twice"] += sha256 in self.arrived
        self.arrived.setdefault(sha256, time.monotonic_ns() // 1000)
        head = b"HTTP/1.1 201 Created\r\nContent-Length: 64\r\n\r\n"
        self.answer(client, head + sha256.encode())

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
            selector.register(connection, selectors.EVENT_READ, Client(connection, self.times))
            return
        client: Client = key.data
        try:
            length = client.connection.recv_into(self._received)
        except ConnectionResetError:  # whoever it was has ended
            length = 0
        if not length or not self._gets_on(client, length):
            selector.unregister(client.connection)
            client.connection.close()

    def _gets_on(self, client: Client, length: int) -> bool:
        """Takes in what was received; whether the connection is worth keeping."""
        now = time.monotonic_ns() // 1000
        self.counts["last us"] = now
        self.counts["first us"] = self.counts["first us"] or now
        self.counts["bytes"] += length
        try:
            with memoryview(self._received) as received:
                client.feed(self, received[:length])
        except (Refused, ValueError) as error:
            self.refused = self.refused or str(error)
            return False
        return True

    def _until_next(self) -> float | None:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def _answer_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, client, data = heapq.heappop(self._later)
            client.connection.sendall(data)


if __name__ == "__main__":
    service = StandIn(float(sys.argv[1]), int(sys.argv[2]))
    before = time.process_time_ns()
    service.serve()
    service.counts["cpu us"] = (time.process_time_ns() - before) // 1000
    seen = {"counts": service.counts, "arrived": service.arrived, "refused": service.refused}
    print(json.dumps(seen), flush=True)
