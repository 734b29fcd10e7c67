"""The form that a file is sent in."""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping

from watcher.inspection import Format
from watcher.openfile import OpenFile
from watcher.pace import NoPace, Pace
from watcher.pieces import READ, FileChanged, FilePart, Piece

MEDIA_TYPES: Mapping[Format, str] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "tiff": "image/tiff",
    "webp": "image/webp",
}


class FileBody:
    """The multipart body of an upload, streamed from an open file; its length is known ahead.

    It may wait for long until it is sent, and be sent again: if the file has changed by then,
    or by its end, this raises `FileChanged` before the form is whole. `sha256` is of what was
    inspected; of what was really sent, the service returns it. `on_sent` is told how many of its
    bytes are handed over, again and again.
    """

    def __init__(self, file: OpenFile, sha256: str, *, form: Format, pace: Pace | NoPace) -> None:
        self.sha256 = sha256
        self._file = file
        self._pace = pace
        self.on_sent: Callable[[int], None] = lambda _: None
        self.boundary = secrets.token_hex(16)
        self._size = size = file.stamp.size
        self._head = (
            f"--{self.boundary}\r\n"
            'Content-Disposition: form-data; name="filesize"\r\n\r\n'
            f"{size}\r\n"
            f"--{self.boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{safe_name(file.name)}"\r\n'
            f"Content-Type: {MEDIA_TYPES[form]}\r\n\r\n"
        ).encode("ascii")
        self._tail = f"\r\n--{self.boundary}--\r\n".encode("ascii")
        self.length = len(self._head) + size + len(self._tail)

    def __iter__(self) -> Iterator[Piece]:
        """The body from its beginning; a small file in one piece, which is one packet less."""
        self.on_sent(0)
        if self._size <= min(READ, self._pace.piece):
            self._pace.keep(self._size)
            whole = b"".join((self._head, self._whole(), self._tail))
            if not self._file.unchanged:
                raise FileChanged
            yield whole
            self.on_sent(self._size)
            return
        if not self._file.unchanged:
            raise FileChanged
        yield self._head
        for offset in range(0, self._size, self._pace.piece):
            length = min(self._pace.piece, self._size - offset)
            self._pace.keep(length)
            yield FilePart(self._file.fd, offset, length, self.on_sent)
        # (Not for other rights, or another name: what took long to send would be sent in vain.)
        if not self._file.still_holds(self.sha256):
            raise FileChanged
        yield self._tail

    def _whole(self) -> bytes:
        part, content = FilePart(self._file.fd, 0, self._size), b""
        while len(content) < self._size:
            content += part.read(len(content), self._size)
        return content


def safe_name(name: str) -> str:
    """An ASCII name that no header can be broken with; it has no meaning to the service."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]
