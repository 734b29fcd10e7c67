import os

import pytest

from tests.inspection.samples import opened
from watcher.inspection import source
from watcher.inspection.source import CHUNK, MAX_READ, Damaged, EndMissing, Source


def test_what_is_there_is_read_and_what_is_not_is_said() -> None:
    with opened(b"0123456789") as fd:
        file = Source(fd, 10)
        assert file.read(2, 3) == b"234"
        assert file.read_some(8, 5) == b"89"
        assert file.read_some(20, 5) == b""
        with pytest.raises(EndMissing, match="ends at byte 10, before byte 13"):
            file.read(8, 5)


def test_what_is_appended_later_is_not_seen() -> None:
    with opened(b"0123456789") as fd:
        assert Source(fd, 5).read_some(0, 10) == b"01234"


def test_a_file_that_shrank_ends_where_it_ends() -> None:
    with opened(bytes(CHUNK) + b"0123456789") as fd:
        file = Source(fd, CHUNK + 10)
        os.ftruncate(fd, CHUNK + 4)
        assert file.read_some(CHUNK, 10) == b"0123"
        with pytest.raises(EndMissing):
            file.read(CHUNK, 10)
        os.ftruncate(fd, 2)
        assert Source(fd, CHUNK + 10).head == b"\0\0"


def test_what_is_read_is_shown_once() -> None:
    data = bytes(range(256)) * 1024
    seen: list[tuple[int, bytes]] = []
    with opened(data) as fd:
        file = Source(fd, len(data), lambda offset, piece: seen.append((offset, piece)))
        assert file.read(5, 10) == data[5:15]
        assert file.read(CHUNK - 5, 10) == data[CHUNK - 5 : CHUNK + 5]
    assert seen == [(0, data[:CHUNK]), (CHUNK - 5, data[CHUNK - 5 : CHUNK + 5])]


def test_no_read_is_longer_than_the_bound() -> None:
    with opened(b"", size=4 * MAX_READ) as fd:
        file = Source(fd, 4 * MAX_READ)
        assert len(file.read(1, MAX_READ)) == MAX_READ
        for offset, length in ((0, MAX_READ + 1), (-1, 1), (0, -1)):
            with pytest.raises(Damaged):
                file.read_some(offset, length)


def test_all_reads_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_SCANNED", 100)
    with opened(bytes(90)) as fd:
        file = Source(fd, 90)
        file.read(0, 90)
        file.read(0, 10)
        with pytest.raises(Damaged):
            file.read(0, 1)
