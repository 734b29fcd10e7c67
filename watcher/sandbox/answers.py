"""What the stand-in says: answers, and refusals in the documented shape."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

_NO_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `Content-Length` is added when it is encoded."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self, *, head: bool, close: bool) -> bytes:
        """The whole answer in one piece, without its body if the request was a `HEAD`."""
        lines = [status_line(self.status)]
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}")
        if self.status not in _NO_BODY:
            lines.append(f"Content-Length: {len(self.body)}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if close:
            lines.append("Connection: close")
        top = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return top if head or self.status in _NO_BODY else top + self.body


class Refused(Exception):
    """Raised where a request turns out to be wrong; becomes the documented error body."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def answer(self, path: str) -> Answer:
        """The answer that refuses a request for `path`."""
        return error(self.status, self.message, path=path, headers=self.headers)


def error(
    status: int, message: str, *, path: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """The error body of the service: timestamp, status, error, message, path."""
    content = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "status": status,
        "error": phrase(status),
        "message": message,
        "path": path,
    }
    return as_json(content, status=status, headers=headers)


def as_json(
    content: object, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Answer:
    """`content` as a JSON answer."""
    body = json.dumps(content).encode()
    return Answer(status, body, content_type="application/json", headers=headers or {})


def text(body: str, *, status: int = HTTPStatus.OK, kind: str = "plain") -> Answer:
    """A `text/plain` (or other `text/*`) answer."""
    return Answer(status, body.encode(), content_type=f"text/{kind};charset=UTF-8")


def status_line(status: int) -> str:
    """The first line of an answer, without its line end."""
    return f"HTTP/1.1 {status} {phrase(status)}"


def phrase(status: int) -> str:
    """The words that belong to a status code; a code that nobody registered is `Unknown`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
