"""What an open file is on, as the kernel says."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.factories import mounted, opened_folder
from watcher import mounts
from watcher.mounts import file_system, is_announced, is_mount_point, keeps_times, mount_id

EXT4, TMPFS, NFS, SMB2, FUSE, FAT = 0xEF53, 0x01021994, 0x6969, 0xFE534D42, 0x65735546, 0x4D44


@pytest.mark.parametrize(
    ("kind", "announced", "keeps"),
    [
        (EXT4, True, True),
        (TMPFS, True, True),
        (NFS, False, True),
        (SMB2, False, True),
        (FUSE, False, False),
        (FAT, True, False),
    ],
)
def test_what_a_file_system_tells_depends_on_its_kind(
    monkeypatch: pytest.MonkeyPatch, kind: int, *, announced: bool, keeps: bool
) -> None:
    monkeypatch.setattr(mounts, "file_system", lambda _: kind)
    assert is_announced(0) is announced
    assert keeps_times(0) is keeps


def test_the_kinds_are_the_kernels_numbers(tmp_path: Path) -> None:
    with mounted(tmp_path / "share", "size=1m") as point, opened_folder(point) as fd:
        assert file_system(fd) == TMPFS
    fd = os.open("/proc/self", os.O_RDONLY)
    assert file_system(fd) == 0x9FA0  # procfs
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        file_system(fd)


def test_one_mount_after_another_at_the_same_place_can_be_told_apart(tmp_path: Path) -> None:
    seen = set()
    with mounted(tmp_path / "share", "size=1m") as point:
        with opened_folder(point) as fd:
            seen.add(mount_id(fd))
        with mounted(point, "size=1m"), opened_folder(point) as fd:
            seen.add(mount_id(fd))
    assert len(seen) == 2


def test_a_mount_point_is_told_from_a_folder(tmp_path: Path) -> None:
    with mounted(tmp_path / "share", "size=1m") as point:
        (point / "below").mkdir()
        for path, answer in ((point, True), (point / "below", False), (tmp_path, False)):
            with opened_folder(path) as fd:
                assert is_mount_point(fd) is answer
        (tmp_path / "link").symlink_to(point)
        fd = os.open(tmp_path / "link", os.O_RDONLY | os.O_DIRECTORY)
        assert is_mount_point(fd)
        os.close(fd)


@contextmanager
def bound(source: Path, point: Path) -> Iterator[None]:
    mount = ["mount", "--bind", str(source), str(point)]
    answer = subprocess.run(mount, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"cannot bind a folder here: {answer.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


def test_a_bind_mount_on_the_same_file_system_counts_too(tmp_path: Path) -> None:
    source, point = tmp_path / "source", tmp_path / "point"
    (source / "below").mkdir(parents=True)
    point.mkdir()
    with bound(source, point):
        assert point.stat().st_dev == tmp_path.stat().st_dev
        for path, answer in ((point, True), (point / "below", False), (source, False)):
            with opened_folder(path) as fd:
                assert is_mount_point(fd) is answer
        with opened_folder(point / "below") as here, opened_folder(source) as there:
            assert mount_id(here) != mount_id(there)
