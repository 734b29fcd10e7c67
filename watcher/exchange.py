"""One question and its answer, as all the rest knows it: whoever carries it, and over what."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, Self

from watcher.pieces import Piece

NOTHING: Mapping[str, str] = MappingProxyType({})


class Terms(NamedTuple):
    """What the settings say of connections. Times are in seconds; `slowest` is the rate, in bytes
    a second, for which an exchange's deadline makes room; the others are as in the file."""

    timeout_seconds: float
    slowest: float
    ca_file: str
    proxy: str


class Answer(NamedTuple):
    """What came back: status, headers (names in lower case), the first bytes of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Body(Protocol):
    """What is sent: its exact length in bytes, and the bytes. Its errors pass through unchanged."""

    length: int

    def __iter__(self) -> Iterator[Piece]:
        """The bytes, from the beginning, in pieces."""
        ...


class Connection(Protocol):
    """Owned by one thread, which closes it."""

    def exchange(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] = NOTHING,
        headers: Mapping[str, str],
        body: Body | bytes = b"",
    ) -> Answer:
        """Sends one request and reads its answer, within a deadline that grows with the size.

        A `query` goes behind a `url` that has none. Raises `ServiceTrouble` if there is no answer,
        and whatever `body` raises.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
