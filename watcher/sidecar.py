"""What a sidecar is like: its one line, as GNU `sha256sum` writes it and as its `-c` reads it, and
its time. Pure."""

import os
import re

NAME_MAX = 255
"""Bytes of a file name on every file system that a share can be on."""

MAX_LINE = 1 + 64 + 2 + 2 * NAME_MAX + 2
"""Bytes of the longest line: mark, hash, two blanks, a name all of escapes, CR and LF."""


class ForeignRecord(Exception):
    """Something that is not ours stands where the record belongs; it is never overwritten."""


def sidecar_line(name: str, sha256: str) -> bytes:
    """What `sha256sum` prints for `name`, its escapes for odd names included."""
    plain, escaped = os.fsencode(name), _escaped(name)
    mark = b"\\" if escaped != plain else b""
    return mark + sha256.encode("ascii") + b"  " + escaped + b"\n"


def line_length(name: str) -> int:
    """Bytes of `sidecar_line` for `name`."""
    plain, escaped = os.fsencode(name), _escaped(name)
    return 64 + 2 + len(escaped) + 1 + (escaped != plain)


def _escaped(name: str) -> bytes:
    # A carriage return stays as it is: GNU coreutils writes `\r` since 9.0, but older ones and
    # `shasum` cannot read that, and all of them read the plain one.
    return os.fsencode(name).replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


def claimed_hash(text: bytes, name: str) -> str | None:
    r"""The hash that `text` claims for `name`; None if it is only the beginning of a line, as an
    interrupted copy leaves it. Raises `ForeignRecord` for anything else.

    Liberal where another tool may have written the line: `*` for a blank, capitals, CRLF, `\r`.
    """
    marked = text.startswith(b"\\")
    body, written = (text[1:], _escaped(name)) if marked else (text, os.fsencode(name))
    read = re.escape(written)
    if marked:
        read = read.replace(re.escape(b"\r"), rb"(?:\r|\\r)")
    line = re.fullmatch(rb"([0-9a-fA-F]{64}) [ *]" + read + rb"\r?\n?", body)
    if line is not None:
        return line[1].decode("ascii").lower()
    if _is_torn(body, written):
        return None
    raise ForeignRecord(name)


def _is_torn(text: bytes, written: bytes) -> bool:
    digits = len(text) - len(text.lstrip(b"0123456789abcdef"))
    rest = text[digits:]
    return digits <= 64 and (not rest or (digits == 64 and (b"  " + written).startswith(rest)))


def hash_for_another(text: bytes) -> str | None:
    """The hash in a whole line that `sidecar_line` can have written, whatever the name."""
    line = re.fullmatch(rb"\\?([0-9a-f]{64})  [^/\n]+\n", text)
    return line and line[1].decode("ascii")


_GRAINS = (100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""Nanoseconds that file systems keep times to: NTFS and SMB 100 ns, then 1 us, 1 ms, exFAT 10 ms,
ext3 1 s, FAT 2 s."""


def same_time(record_ns: int, image_ns: int) -> bool:
    """Equal, as far as the record's file system keeps times: a mirror may be on a coarser one.
    (What this lets through on a finer one, the change time catches.)"""
    return record_ns == image_ns or any(
        record_ns % grain == 0 and image_ns // grain * grain == record_ns for grain in _GRAINS
    )
