"""The talk on one connection: request by request, each answered or met with a fault."""

import socket
from collections.abc import Callable
from io import BufferedReader
from threading import Event

from watcher.sandbox.answers import Answer, Refused
from watcher.sandbox.endpoints import Endpoints
from watcher.sandbox.exchange import Exchange, linger, read_request
from watcher.sandbox.policy import FaultPolicy
from watcher.sandbox.record import Record, Seen


class Service:
    """What all connections have in common, called by their threads.

    Its only state is `latency_seconds`, the wait before each answer; the rest guards itself.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        record: Record,
        policy: FaultPolicy,
        latency_seconds: float,
        on_request: Callable[[str], None] | None,
    ) -> None:
        self.latency_seconds = latency_seconds
        self._endpoints = endpoints
        self._record = record
        self._policy = policy
        self._on_request = on_request

    def serve(self, connection: socket.socket, stopping: Event) -> None:
        """Answer requests until either side ends the connection.

        Raises `HungUp` where a fault ended it, `Stopping`, and `OSError` if the client broke it.
        """
        self._record.count("connections")
        with connection.makefile("rb") as stream:
            try:
                while self._answer_next(stream, connection, stopping):
                    pass
            except Refused as refusal:  # not even a request
                self._record.count("malformed")
                connection.sendall(refusal.answer("").encoded(head=False, close=True))
                linger(connection)

    def _answer_next(
        self, stream: BufferedReader, connection: socket.socket, stopping: Event
    ) -> bool:
        """Whether the connection can be used again."""
        request = read_request(stream)
        if request is None:
            return False
        exchange = Exchange(request, stream, connection, site=self, stopping=stopping)
        self._record.begin()
        try:
            self._act(exchange)
        finally:
            exchange.finish()
            self._record.end()
        if not exchange.reusable and not exchange.body.finished:
            exchange.linger()
        return exchange.reusable

    def _act(self, exchange: Exchange) -> None:
        fault = self._policy.take(exchange.request)
        if fault is None:
            exchange.send(exchange.ordinary())
            return
        exchange.fault = type(fault).__name__
        fault(exchange)

    def respond(self, exchange: Exchange) -> Answer:
        """The ordinary answer; the body has been read when it returns."""
        return self._endpoints.respond(exchange)

    def received(self, count: int) -> None:
        """`count` more bytes of a body have come in."""
        self._record.received(count)

    def answering(self, exchange: Exchange, status: int) -> None:
        """`status` is about to be sent, or 0: the exchange ends without an answer."""
        seen = _seen(exchange, status)
        self._record.answering(seen, self._endpoints.kind(exchange.request))
        if self._on_request:
            self._on_request(_line(seen))


def _seen(exchange: Exchange, status: int) -> Seen:
    query = exchange.request.query
    return Seen(
        method=exchange.request.method,
        path=exchange.request.path,
        content_hash=exchange.content_hash or query.get("contentHash", ""),
        organization=query.get("organization", ""),
        status=status,
        bytes_received=exchange.body.received,
        fault=exchange.fault,
    )


def _line(seen: Seen) -> str:
    parts = [seen.method, seen.path, str(seen.status or "no answer")]
    if seen.bytes_received:
        parts.append(f"{seen.bytes_received:,} bytes")
    if seen.content_hash:
        parts.append(seen.content_hash[:12])
    if seen.fault:
        parts.append(f"({seen.fault})")
    return ascii(" ".join(parts))[1:-1]
