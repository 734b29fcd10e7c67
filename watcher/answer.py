"""One answer of HTTP/1.1, out of the bytes as they come, by httptools (the parser of Node.js).

It reads as liberally as is safe, because an oddity that some proxy has in each answer would hold up
all images: a length said twice, length and chunks at once, folded headers, lines without a carriage
return. What comes behind an answer is never taken for the next one.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import httptools

MAX_FRAMING = 64 << 10
"""Bytes of an answer that are not its body: status, headers, the sizes of chunks."""

MAX_INTERIM = 16
"""1xx answers before the real one that are put up with."""

_START = b"HTTP/"
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"^content-length[ \t]*:([^\r\n]*)\r?\n", re.IGNORECASE | re.MULTILINE)

Headers = Sequence[tuple[bytes, bytes]]


class Received(NamedTuple):
    """An answer: status, headers with lower-case names, as much of the body as was wanted."""

    status: int
    headers: Headers
    body: bytes


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
        self._head = bytearray()
        self._interim = 0
        self._status = 0
        self._parts = _Parts(at_most)
        self._parser = _parser(self._parts)
        self._behind_head = 0
        self._says_its_end = False
        self._is_last = False

    def feed(self, data: bytes) -> None:
        """Takes what came next, b"" for the connection's end. Raises `BrokenAnswerError`."""
        if not data:
            self._connection_ended()
        elif self._status:
            self._feed_body(data)
        else:
            self._feed_head(data)

    def _connection_ended(self) -> None:
        if not self._status:
            raise BrokenAnswerError("it closed the connection without an answer")
        if self._says_its_end:
            raise BrokenAnswerError("it closed the connection in the midst of its answer")
        self._parts.complete = True

    @property
    def done(self) -> bool:
        """Whether no more of it is wanted."""
        return self._parts.complete or len(self._parts.body) > self._at_most

    @property
    def leaves_connection(self) -> bool:
        """Whether another question may be asked on its connection."""
        return self._parts.complete and not (self._is_last or self._parts.trailed)

    def received(self) -> Received:
        """What there is of it."""
        headers, body = tuple(self._parts.headers), self._parts.body
        return Received(self._status, headers, bytes(body[: self._at_most]))

    # Head

    def _feed_head(self, data: bytes) -> None:
        seen = max(0, len(self._head) - 2)
        self._head += data if self._head else data.lstrip(b"\r\n")
        while end := _BLANK_LINE.search(self._head, seen):
            head, rest = bytes(self._head[: end.end()]), bytes(self._head[end.end() :])
            self._take_head(head)
            if self._status:
                self._begin_body(rest)
                return
            self._head[:], seen = rest.lstrip(b"\r\n"), 0
        if self._head[: len(_START)] != _START[: len(self._head)]:
            raise BrokenAnswerError("this is no answer of HTTP")
        if len(self._head) > MAX_FRAMING:
            raise BrokenAnswerError("it sends headers without end")

    def _take_head(self, head: bytes) -> None:
        """One that is interim is passed over."""
        try:
            self._parser.feed_data(_with_one_length(head))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BrokenAnswerError(f"this is no answer of HTTP: {error}") from error
        status = self._parser.get_status_code()
        if status < 100:
            raise BrokenAnswerError(f"this is no answer of HTTP: its status is {status}")
        if status >= 200:
            self._status = status
            return
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise BrokenAnswerError("it sends interim answers without end")
        self._parts = _Parts(self._at_most)
        self._parser = _parser(self._parts)

    def _begin_body(self, rest: bytes) -> None:
        headers = self._parts.headers
        names = {name for name, _ in headers}
        values = b",".join(value for name, value in headers if name == b"connection")
        kept = {token.strip() for token in values.lower().split(b",")}
        old = self._parser.get_http_version() < "1.1"
        self._says_its_end = not names.isdisjoint((b"content-length", b"transfer-encoding"))
        self._is_last = b"close" in kept or (old and b"keep-alive" not in kept)
        if self._bodiless:
            self._parts.complete, self._parts.trailed = True, bool(rest)
            return
        self._is_last |= not (self._says_its_end or self._parts.complete)
        if rest:
            self._feed_body(rest)

    # Body

    def _feed_body(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._parts.complete:
                raise BrokenAnswerError(f"this is no answer of HTTP: {error}") from error
            self._parts.trailed = True
        self._behind_head += len(data)
        if not self.done and self._behind_head - len(self._parts.body) > MAX_FRAMING:
            raise BrokenAnswerError("it sends chunks and trailers without end")


class _Parts:
    """What the parser tells. It does not know the parser, so that neither has to wait for the
    collector."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._in_body = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.complete = False
        self.trailed = False

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of what comes behind it."""
        self.trailed = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or, behind the last chunk, a trailer, which is of no use to us."""
        if not self._in_body:
            self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The blank line."""
        self._in_body = True

    def on_body(self, data: bytes) -> None:
        """A part of the body, or of that of what comes behind it."""
        if not self.complete and len(self.body) <= self._at_most:
            self.body += data

    def on_message_complete(self) -> None:
        """The end of the answer."""
        self.complete = True


def _parser(parts: _Parts) -> httptools.HttpResponseParser:
    parser = httptools.HttpResponseParser(parts)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_version=True,
        lenient_chunked_length=True,
        lenient_optional_cr_before_lf=True,
        lenient_spaces_after_chunk_size=True,
    )
    return parser


def _with_one_length(head: bytes) -> bytes:
    """Equal lengths count as one (RFC 9110, 8.6), but the parser refuses them."""
    said = _LENGTH.findall(head)
    values = {value.strip() for line in said for value in line.split(b",")}
    if len(values) != 1 or (len(said) == 1 and b"," not in said[0]):
        return head
    status_line, _, headers = head.partition(b"\n")
    return b"%b\nContent-Length: %b\n%b" % (status_line, *values, _LENGTH.sub(b"", headers))
