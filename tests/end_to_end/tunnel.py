"""A small proxy on loopback: it opens tunnels to one place, whatever name is asked for."""

import base64
import socket
import threading
from contextlib import suppress
from typing import Self


class Tunnel:
    """Answers CONNECT; all else is refused. `asked` holds the names, in order.

    With `login` ("user:password") it wants that one. Each connection has two threads.
    """

    def __init__(self, to_port: int, *, login: str = "") -> None:
        self._to_port = to_port
        self._login = base64.b64encode(login.encode()).decode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[str] = []
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._open):
            with suppress(OSError):  # it has ended already
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for end in (self._listener, *self._open):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self._start(self._serve, client)

    def _start(self, work: object, *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = client.recv(1)
            if not byte:
                return
            head += byte
        method, target, _ = head.decode().split(maxsplit=2)
        self.asked.append(target)
        if method != "CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        if f"Basic {self._login}" not in head.decode() and self._login:
            client.sendall(b"HTTP/1.1 407 Who Are You\r\nContent-Length: 0\r\n\r\n")
            return
        server = socket.create_connection(("127.0.0.1", self._to_port))
        self._open.append(server)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._start(_pour, server, client)
        _pour(client, server)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # either side may break
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
