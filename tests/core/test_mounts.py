"""What a path is mounted on, by the kernel's own table."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.factories import mounted, opened_folder
from watcher import mounts
from watcher.mounts import Mount, is_mount_point, mount_id, mount_of

TABLE = """\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /srv/photos rw - nfs4 server:/photos rw,vers=4.2
31 22 0:31 / /srv/photos/local rw,relatime shared:3 master:2 - xfs /dev/vdb rw
32 22 0:32 / /srv/with\\040blank rw - cifs //server/share rw
33 22 0:33 / /srv/twice rw - tmpfs none rw
34 33 0:34 / /srv/twice rw - fuse.sshfs host: rw
35 22 0:35 /sub /srv/back\\134slash rw - btrfs /dev/vdc rw
""".splitlines(keepends=True)


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("/", 22),
        ("/srv", 22),
        ("/srv/photos", 30),
        ("/srv/photos/2024/a", 30),
        ("/srv/photos2", 22),
        ("/srv/photos/local/x", 31),
        ("/srv/photos/localized", 30),
        ("/srv/with blank/x", 32),
        ("/srv/twice/x", 34),
        ("/srv/back\\slash/x", 35),
    ],
)
def test_a_path_is_on_the_nearest_mount_above_it(path: str, identifier: int) -> None:
    mount = mount_of(path, TABLE)
    assert mount is not None
    assert mount.identifier == identifier


def test_without_a_table_nothing_is_known() -> None:
    assert mount_of("/srv", []) is None


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "fuse", "fuse.sshfs", "fuse.gvfsd-fuse", "fuseblk", "9p",
     "virtiofs", "ceph", "glusterfs", "lustre", "vboxsf"],
)  # fmt: skip
def test_file_systems_that_others_change_unseen_are_known(kind: str) -> None:
    assert not Mount(1, "/", kind).announced


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "vfat", "exfat", "ntfs3", "fusectl"]
)
def test_local_file_systems_announce_their_changes(kind: str) -> None:
    assert Mount(1, "/", kind).announced


def test_the_real_table_is_understood(tmp_path: Path) -> None:
    before = mount_of(str(tmp_path))
    assert before is not None
    with mounted(tmp_path / "two words\\", "size=1m") as point:
        found = mount_of(str(point / "x"))
        assert found is not None
        assert (found.point, found.kind, found.announced) == (str(point), "tmpfs", True)
        assert found.identifier != before.identifier
        (tmp_path / "link").symlink_to(point)
        assert mount_of(str(tmp_path / "link")) == found
        with opened_folder(point) as fd:
            assert mount_id(fd) == found.identifier
    assert mount_of(str(tmp_path / "two words\\")) == before


def test_one_mount_after_another_at_the_same_place_can_be_told_apart(tmp_path: Path) -> None:
    seen = set()
    with mounted(tmp_path / "share", "size=1m") as point:
        seen.add(mount_of(str(point)))
        with mounted(point, "size=1m"):
            seen.add(mount_of(str(point)))
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


def test_odd_names_of_other_mounts_are_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = b"/media/\xff\xc3\xbc\r\x1b\x85"
    line = b"40 22 0:60 / " + odd + b" rw - vfat /dev/sdf1 rw,label=- -\n"
    (tmp_path / "mountinfo").write_bytes(TABLE[0].encode() + line)
    monkeypatch.setattr(mounts, "MOUNTINFO", str(tmp_path / "mountinfo"))
    assert mount_of("/srv") == Mount(22, "/", "ext4")
    assert mount_of(os.fsdecode(odd + b"/a")) == Mount(40, os.fsdecode(odd), "vfat")


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
        assert mount_of(str(point / "below")) != mount_of(str(source))
