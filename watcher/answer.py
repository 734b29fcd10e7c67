"""One answer of HTTP/1.1, out of the bytes as they come, by httptools (the parser of Node.js).

It reads as liberally as is safe, because an oddity that some proxy has in each answer would hold up
all images: length and chunks at once, folded headers, lines without a carriage return. What comes
behind an answer is never taken for the next one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import httptools

MAX_FRAMING = 64 << 10
"""Bytes of an answer that are not its body: status, headers, the sizes of chunks."""

MAX_INTERIM = 16
"""1xx answers before the real one that are put up with."""

Headers = Sequence[tuple[bytes, bytes]]


class Received(NamedTuple):
    """An answer: status, headers with lower-case names, as much of the body as was wanted, and
    whether that is all of it."""

    status: int
    headers: Headers
    body: bytes
    whole: bool


class BrokenAnswerError(Exception):
    """What came is no answer of HTTP, or it breaks off."""


class AnswerReader:
    """Reads one answer. Owned by one thread.

    Keeps `at_most` bytes of its body. `bodiless`: it has none whatever its headers say, because
    `HEAD` or `CONNECT` was asked.
    """

    def __init__(self, *, at_most: int, bodiless: bool = False) -> None:
        self._at_most = at_most
        self._bodiless = bodiless
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._fed = 0
        self._interim = 0
        self._says_its_end = False
        self._is_last = False
        self._complete = False
        self._trailed = False

    def feed(self, data: bytes) -> None:
        """Takes what came next, b"" for the connection's end. Raises `BrokenAnswerError`."""
        if not data:
            self._connection_ended()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                raise BrokenAnswerError(f"this is no answer of HTTP: {error}") from error
            self._trailed = True
        self._fed += len(data)
        if self._interim > MAX_INTERIM:
            raise BrokenAnswerError("it sends interim answers without end")
        if not self.done and self._fed - len(self._body) > MAX_FRAMING:
            raise BrokenAnswerError("it sends headers without end")

    def _connection_ended(self) -> None:
        if not self._status:
            raise BrokenAnswerError("it closed the connection without an answer")
        if self._says_its_end:
            raise BrokenAnswerError("it closed the connection in the midst of its answer")
        self._complete = self._is_last = True

    @property
    def done(self) -> bool:
        """Whether no more of it is wanted."""
        return self._complete or len(self._body) > self._at_most

    @property
    def leaves_connection(self) -> bool:
        """Whether another question may be asked on its connection."""
        return self._complete and not (self._is_last or self._trailed)

    def received(self) -> Received:
        """What there is of it; no more is taken then."""
        del (
            self._parser
        )  # it knows us as we know it: without this, both would wait for the collector
        whole = len(self._body) <= self._at_most
        return Received(self._status, self._headers, bytes(self._body[: self._at_most]), whole)

    # What the parser tells

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of what comes behind it."""
        self._trailed = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or, behind the last chunk, a trailer, which is of no use to us."""
        if self._status:
            return
        name = name.lower()
        self._headers.append((name, value))
        if name in {b"content-length", b"transfer-encoding"}:
            self._says_its_end = True
        elif name == b"connection":
            self._is_last = b"close" in value.lower()

    def on_headers_complete(self) -> None:
        """The blank line."""
        status = self._parser.get_status_code()
        if self._complete:
            return
        if 100 <= status < 200:
            self._interim += 1
            self._headers.clear()
            self._says_its_end = self._is_last = False
            return
        self._status = status
        if self._bodiless:
            self._is_last |= self._parser.get_http_version() == "1.0"
            self._complete = True

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._complete:
            self._trailed = True
        elif len(self._body) <= self._at_most:
            self._body += data

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self._status and not self._complete:
            self._complete = True
            self._is_last = not self._parser.should_keep_alive()
