"""The one place that knows httpx: one question and its answer over one kept-alive connection.

Whatever goes wrong on the way becomes `ServiceTrouble` here, with words for people. What the
answer means is decided in `service` and `tokens`.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import h11
import httpx

from watcher.errors import ConfigurationError, ServiceTrouble

MAX_ANSWER = 64 << 10
"""Bytes of an answer that are read; nothing documented is longer than a few hundred."""

MIN_BYTES_PER_SECOND = 16_000
"""A body slower than this does not arrive (128 kbit/s): the deadline of an exchange allows for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers (names in lower case), the first `MAX_ANSWER` bytes, and
    whether those are all."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool


class Body(Protocol):
    """What is sent: its exact length in bytes, and the bytes. Its errors pass through unchanged."""

    length: int

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, once, in pieces."""
        ...


class Connection:
    """One connection to one host, opened when needed. Owned by one thread.

    (A pool shared by threads loses requests to EBADF, encode/httpcore#1110, and costs more
    processor the larger it is.) Never follows a redirect, which would send the file elsewhere;
    never asks for compression, which could unpack to gigabytes; believes no environment variable.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext,
        timeout_seconds: float,
        user_agent: str,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout_seconds
        self._clock = clock
        self._client = httpx.Client(
            verify=ssl_context,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
            transport=transport,
        )

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Body | bytes = b"",
    ) -> Answer:
        """Sends one request and reads its answer, within a deadline that grows with the size.

        Raises `ServiceTrouble` if there is no answer, and whatever `body` raises.
        """
        length = len(body) if isinstance(body, bytes) else body.length
        deadline = self._clock() + self._timeout + length / MIN_BYTES_PER_SECOND
        try:
            request = self._client.build_request(
                method,
                url,
                headers={**headers, "Content-Length": str(length)} if length else headers,
                content=self._in_time(body, deadline) if length else None,
            )
            response = self._client.send(request, stream=True)
            try:
                return self._read(response, deadline)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.StreamError, h11.ProtocolError, ssl.SSLError) as error:
            raise ServiceTrouble(_in_words(error)) from error

    def _in_time(self, body: Body | bytes, deadline: float) -> Iterator[bytes]:
        for piece in (body,) if isinstance(body, bytes) else body:
            self._check(deadline)
            yield piece

    def _read(self, response: httpx.Response, deadline: float) -> Answer:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise ServiceTrouble("the answer is compressed, which was not asked for")
        pieces, length, whole = [], 0, True
        for piece in response.iter_raw(MAX_ANSWER):
            self._check(deadline)
            pieces.append(piece)
            length += len(piece)
            if length > MAX_ANSWER:
                whole = False
                break
        return Answer(response.status_code, response.headers, b"".join(pieces)[:MAX_ANSWER], whole)

    def _check(self, deadline: float) -> None:
        if self._clock() > deadline:
            raise ServiceTrouble("no complete answer within the deadline")

    def close(self) -> None:
        """Closes the connection, if one is open."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trust(ca_file: str) -> ssl.SSLContext:
    """The certificates to believe: the usual ones, and those in `ca_file` if it is not "".

    Made once and shared: it takes some 90 ms. Raises `ConfigurationError`.
    """
    context = httpx.create_ssl_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"[api] ca_file: {ca_file!a} cannot be used: {error}. Give the path of a PEM file."
            ) from error
    return context


def _in_words(error: Exception) -> str:
    match error:
        case httpx.ConnectTimeout():
            return "no connection within the time allowed"
        case httpx.TimeoutException():
            return "no answer within the time allowed"
        case httpx.ConnectError():
            return f"cannot connect: {error}"
        case _:
            return f"the connection failed ({type(error).__name__}: {error})"
