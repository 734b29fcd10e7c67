"""Receiving one upload: the multipart form, strictly, streamed to a hash and a temporary file."""

import hashlib
import re
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Literal

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from watcher.sandbox import images
from watcher.sandbox.answers import Refused
from watcher.sandbox.exchange import Body

Check = Literal["decode", "none"]
"""How an upload is judged: every pixel decoded, or only hashed (for load)."""

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+", re.IGNORECASE)
_FILE_NAME = re.compile(rb"[^\x00-\x1f\x7f]{1,1024}")
_PART_HEADERS = frozenset({"content-disposition", "content-type"})
_FILESIZE = re.compile(rb"[0-9]{1,15}")
_MAX_FIELD = 64
_Write = Callable[[bytes], None]


@dataclass(frozen=True)
class Received:
    """A file that has come in whole. `content_type` is what the client called it, or empty."""

    sha256: str
    size: int
    content_type: str
    file_name: str


def receive(body: Body, content_type: str, *, check: Check) -> Received:
    """Read an upload's form to its end and judge the file.

    Raises `Refused`: 400 for a form that is not as documented, 422 for an image that is not.
    Holds one piece of the body at a time in memory.
    """
    boundary = _boundary(content_type)
    with tempfile.TemporaryFile() if check == "decode" else nullcontext() as file:
        form = _Form(file)
        _parse(body, boundary, form)
        received = form.result()
        if file:
            file.flush()
            images.check(file)
    return received


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not _BOUNDARY.fullmatch(boundary):
        raise _bad("Content-Type must be multipart/form-data with a boundary")
    return boundary


def _parse(body: Body, boundary: bytes, form: "_Form") -> None:
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": form.part_begins,
            "on_header_field": form.header_name,
            "on_header_value": form.header_value,
            "on_header_end": form.header_ends,
            "on_headers_finished": form.headers_end,
            "on_part_data": form.part_data,
            "on_part_end": form.part_ends,
        },
    )
    tail = b""
    try:
        while piece := body.read():
            parser.write(piece)
            tail = (tail + piece)[-len(boundary) - 8 :]
    except FormParserError as problem:
        raise _bad(f"malformed multipart: {problem}") from problem
    if not tail.removesuffix(b"\r\n").endswith(b"\r\n--" + boundary + b"--"):
        raise _bad("malformed multipart: it does not end with the closing boundary")


class _Form:
    """What has been found in the form so far. Owned by the connection's thread.

    Its methods are the parser's callbacks; each raises `Refused` for what is not documented.
    """

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0
        self._file_name = ""
        self._content_type = ""
        self._field = bytearray()
        self._seen: set[str] = set()
        self._headers: dict[str, str] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._write: _Write = self._write_field

    def result(self) -> Received:
        """The file, once all has been parsed."""
        if "file" not in self._seen:
            raise _bad("Required part 'file' is not present")
        if "filesize" in self._seen and int(self._field) != self._size:
            raise _bad(f"filesize is {int(self._field)}, but the file has {self._size} bytes")
        return Received(self._hash.hexdigest(), self._size, self._content_type, self._file_name)

    def part_begins(self) -> None:
        self._headers = {}

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_ends(self) -> None:
        name = self._name.decode("latin-1").lower()
        if name not in _PART_HEADERS or name in self._headers:
            raise _bad(f"header {name} of a part is not expected, or comes twice")
        self._headers[name] = self._value.decode("latin-1").strip()
        self._name.clear()
        self._value.clear()

    def headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition"))
        name = options.get(b"name", b"").decode("latin-1")
        if kind != b"form-data" or name in self._seen:
            raise _bad("a part without Content-Disposition form-data, or one that comes twice")
        self._seen.add(name)
        if name == "file":
            self._file_begins(options.get(b"filename", b""))
        elif name == "filesize" and b"filename" not in options:
            self._write = self._write_field
        else:
            raise _bad(f"part '{name}' is not expected")

    def _file_begins(self, file_name: bytes) -> None:
        content_type = self._headers.get("content-type", "")
        if not _FILE_NAME.fullmatch(file_name):
            raise _bad("part 'file' has no proper filename")
        if content_type and not _MEDIA_TYPE.fullmatch(content_type):
            raise _bad("part 'file' has a malformed Content-Type")
        self._file_name = file_name.decode("utf-8", "replace")
        self._content_type = content_type
        self._write = self._write_file

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._write(data[start:end])

    def part_ends(self) -> None:
        if self._write == self._write_field and not _FILESIZE.fullmatch(self._field):
            raise _bad("filesize is not a number of bytes")

    def _write_file(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._size += len(piece)
        if self._file:
            self._file.write(piece)

    def _write_field(self, piece: bytes) -> None:
        self._field += piece
        if len(self._field) > _MAX_FIELD:
            raise _bad("filesize is too long")


def _bad(message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, message)
