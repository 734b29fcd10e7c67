"""Accepting connections on loopback, a thread for each, and ending them all."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from threading import Event, Lock, Thread, current_thread

from watcher.sandbox.exchange import HungUp, Stopping

HOST = "127.0.0.1"
_BACKLOG = 512
_ACCEPT_PAUSE_SECONDS = 0.01

Serve = Callable[[socket.socket, Event], None]
"""Talks on one connection until it ends, or until the event is set."""


class Listener:
    """One period of listening. Owned by the thread that starts and stops the sandbox.

    It owns the listening socket, the accepting thread and the connections' threads; the lock
    guards the table of open connections.
    """

    def __init__(
        self,
        port: int,
        *,
        serve: Serve,
        on_broken: Callable[[], None],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._serve = serve
        self._on_broken = on_broken
        self._tls = tls
        self._stopping = Event()
        self._lock = Lock()
        self._open: dict[Thread, socket.socket] = {}
        self._socket = socket.create_server((HOST, port), backlog=_BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._acceptor = Thread(target=self._accept, name="sandbox-accept", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Stop listening, break each connection, and join all threads."""
        self._stopping.set()
        self._socket.shutdown(socket.SHUT_RDWR)  # on Linux this wakes `accept`
        self._acceptor.join()
        self._socket.close()
        with self._lock:
            threads = list(self._open)
            for connection in self._open.values():
                _break(connection)
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._stopping.is_set():
                    return
                self._on_broken()  # the client gave up before it was accepted, or no descriptors
                self._stopping.wait(_ACCEPT_PAUSE_SECONDS)
                continue
            self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            try:
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            except OSError:
                connection.close()
                self._on_broken()
                return
        thread = Thread(target=self._run, args=[connection], name="sandbox-conn", daemon=True)
        with self._lock:
            self._open[thread] = connection
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            self._serve(connection, self._stopping)
        except OSError:
            self._on_broken()
        except (HungUp, Stopping):
            return
        finally:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        with self._lock:
            del self._open[current_thread()]
            connection.close()


def _break(connection: socket.socket) -> None:
    """Wake whoever reads or writes there.

    By the plain socket's method: that of a TLS socket would pull the encryption from under the
    thread that is using it.
    """
    with contextlib.suppress(OSError):  # the client has ended it already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
