"""The hash of an open file, of which its inspection has read a part already."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PROPERTY, file_of
from tests.sandbox.client import picture
from watcher.inspection import Image, Source, inspect
from watcher.openfile import HASH_PIECE, Digest, OpenFile
from watcher.settling import Observation, Writers
from watcher.tree import stamp_of

CONTENT = os.urandom(1000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


PARTS = st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 400)))


@given(parts=PARTS)
@PROPERTY
def test_whatever_was_read_of_it_before_the_hash_is_that_of_the_whole_file(
    parts: list[tuple[int, int]],
) -> None:
    told: list[int] = []
    with file_of(CONTENT) as fd:
        digest = Digest(fd, len(CONTENT), told.append)
        for offset, length in parts:
            digest.take(offset, CONTENT[offset : offset + length])
        assert digest.finish() == sha256(CONTENT)
    assert min(told) > 0
    assert sum(told) == len(CONTENT)


def test_the_hash_of_nothing() -> None:
    with file_of(b"") as fd:
        assert Digest(fd, 0).finish() == sha256(b"")


def test_a_file_that_shrinks_has_the_hash_of_what_is_left_and_one_that_grows_ends() -> None:
    with file_of(CONTENT) as fd:
        assert Digest(fd, len(CONTENT) + 1).finish() == sha256(CONTENT)
        os.ftruncate(fd, 10 * HASH_PIECE)
        digest = Digest(fd, len(CONTENT))
        digest.finish()
        assert digest._at <= HASH_PIECE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_inspection_shows_what_it_reads_and_so_spares_the_hash_a_jpegs_second_read(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = picture(form, size=(1200, 900))
    read = 0
    real = os.pread

    def counting(fd: int, length: int, offset: int) -> bytes:
        nonlocal read
        data = real(fd, length, offset)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    with file_of(content) as fd:
        digest = Digest(fd, len(content))
        assert isinstance(inspect(Source(fd, len(content), digest.take)), Image)
        assert digest.finish() == sha256(content)
    if form == "JPEG":
        assert read < 1.1 * len(content) + 8192


@pytest.mark.parametrize("size", [0, 5_000])
def test_a_file_that_is_emptied_just_then_has_no_hole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(size))
    with path.open("rb") as file:
        status = path.stat()
        seen = Observation(stamp_of(status), 0)
        opened = OpenFile.of(file.fileno(), status, path.name, seen=seen, recorded=None)
        os.truncate(path, 0)
        assert opened.hole == "none"


@pytest.mark.parametrize("writers", ["unknown", "none"])
def test_where_holes_are_not_told_of_the_blocks_that_are_there_tell_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writers: Writers
) -> None:
    """As on NFS 3, where nobody knows who writes either."""
    path = tmp_path / "a.tif"
    for size, hole in ((100_000, "none"), (900_000, {"unknown": "likely"}.get(writers, "none"))):
        path.write_bytes(bytes(range(256)) * 390)
        os.truncate(path, size)
        with path.open("rb") as file:
            status = path.stat()
            seen = Observation(stamp_of(status), 0)
            opened = OpenFile.of(file.fileno(), status, path.name, seen=seen, recorded=None)
            monkeypatch.setattr(os, "lseek", lambda *_, size=size: size)
            assert opened._replace(writers=writers).hole == hole
            monkeypatch.undo()
            assert opened.hole == ("told" if size == 900_000 else "none")
