"""Nobody leads the daemon out of a share: not by links, not by swaps, not by odd files."""

import ctypes
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.factories import (
    HARD_NAMES,
    ROOT,
    left_open,
    mounted,
    open_descriptors,
    opened_folder,
    without_override,
)
from watcher.errors import FileUnreadable, RecordUnwritable, ShareGone
from watcher.tree import (
    NotThere,
    Translated,
    Tree,
    look,
    open_regular,
    reading,
    rename_to_free,
    split,
    stamp_of,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "share" / "a" / "b").mkdir(parents=True)
    (tmp_path / "share" / "a" / "b" / "x.jpg").write_bytes(b"inside")
    (tmp_path / "outside" / "b").mkdir(parents=True)
    (tmp_path / "outside" / "b" / "x.jpg").write_bytes(b"secret")
    return tmp_path / "share"


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert not left_open(before)


def content(root: Path, path: str) -> bytes:
    """What the daemon would read at a relative path."""
    folder, name = split(path)
    with Tree(str(root)).folder(folder) as images:
        fd = open_regular(name, images)
        try:
            return os.read(fd, 1000)
        finally:
            os.close(fd)


def test_a_file_is_reached_component_by_component(root: Path) -> None:
    assert content(root, "a/b/x.jpg") == b"inside"


@pytest.mark.parametrize("path", ["a/b/x.jpg", "a/b", "a"])
@pytest.mark.parametrize("way", ["absolute", "relative", "dangling", "loop", "inside"])
def test_a_link_at_any_component_leads_nowhere(root: Path, path: str, way: str) -> None:
    place = root / path
    moved = place.rename(root / "moved")
    target = {
        "absolute": root.parent / "outside" / "b" / ("x.jpg" if path.endswith("jpg") else ""),
        "relative": Path("../" * len(place.relative_to(root).parts)) / "outside",
        "dangling": Path("/nonexistent"),
        "loop": Path(place.name),
        "inside": moved,
    }[way]
    place.symlink_to(target)
    with pytest.raises(NotThere):
        content(root, "a/b/x.jpg")


def test_a_folder_that_was_swapped_for_a_link_after_it_was_entered_changes_nothing(
    root: Path,
) -> None:
    with Tree(str(root)).folder("a/b") as images:
        (root / "a").rename(root / "was a")
        (root / "a").symlink_to(root.parent / "outside")
        fd = open_regular("x.jpg", images)
        assert os.read(fd, 100) == b"inside"
        os.close(fd)
    with pytest.raises(NotThere):
        content(root, "a/b/x.jpg")


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert content(tmp_path / "link", "a/b/x.jpg") == b"inside"


def plant(path: Path, kind: str) -> None:
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(path.parent / "x.jpg")
        case "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # an address holds 107 bytes
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
            os.chdir(here)
        case "device" | "block device":
            if not ROOT:
                pytest.skip("needs root, to make a device")
            form = stat.S_IFCHR if kind == "device" else stat.S_IFBLK
            os.mknod(path, form | 0o666, os.makedev(1, 5) if kind == "device" else 0)


KINDS = ["FIFO", "folder", "link", "socket", "device", "block device"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_opened_and_nothing_blocks(root: Path, kind: str) -> None:
    plant(root / "a" / "b" / "odd.jpg", kind)
    with opened_folder(root / "a" / "b") as folder:
        with pytest.raises(NotThere):
            look("odd.jpg", folder)
        with pytest.raises(NotThere):
            open_regular("odd.jpg", folder)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
def test_only_folders_are_entered(root: Path, kind: str) -> None:
    plant(root / "odd", kind)
    for path in ("odd", "odd/below"):
        with pytest.raises(NotThere):
            Tree(str(root)).open_folder(path)


@pytest.mark.parametrize("raw", HARD_NAMES)
def test_names_keep_their_bytes(root: Path, raw: bytes) -> None:
    name = os.fsdecode(raw)
    (root / name).mkdir()
    (root / name / name).write_bytes(raw)
    assert content(root, f"{name}/{name}") == raw


@pytest.mark.parametrize("path", ["n" * 256, "/".join(["d" * 255] * 20), "missing/x.jpg"])
def test_a_path_that_cannot_be_is_not_there(root: Path, path: str) -> None:
    with pytest.raises(NotThere):
        content(root, path)


def test_a_path_longer_than_one_call_takes_is_reached_all_the_same(root: Path) -> None:
    folder = "/".join(["d" * 200] * 30)
    os.close(Tree(str(root)).open_folder(folder, create=True))
    with Tree(str(root)).folder(folder) as deep:
        os.close(os.open("x.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    assert content(root, f"{folder}/x.jpg") == b""


def test_a_root_that_is_missing_or_no_folder_is_the_shares_trouble(root: Path) -> None:
    for place in (root / "nothing", root / "a" / "b" / "x.jpg"):
        with pytest.raises(ShareGone, match=f"cannot enter {place}"):
            Tree(str(place)).open_folder("")
        with pytest.raises(RecordUnwritable):
            Tree(str(place), missing=RecordUnwritable).open_folder("a")


def test_missing_folders_are_made_where_that_is_wanted_and_links_are_not_followed(
    root: Path,
) -> None:
    tree = Tree(str(root))
    os.close(tree.open_folder("new/and/deep", create=True))
    os.close(tree.open_folder("new/and/deep", create=True))
    assert (root / "new" / "and" / "deep").is_dir()
    (root / "link").symlink_to(root.parent / "outside")
    with pytest.raises(NotThere):
        tree.open_folder("link/made", create=True)
    assert not (root.parent / "outside" / "made").exists()


def test_a_share_that_must_be_a_mount_is_gone_when_it_is_none(root: Path) -> None:
    tree = Tree(str(root), require_mount=True)
    with pytest.raises(ShareGone, match="nothing is mounted"):
        tree.open_folder("")
    with mounted(root, "size=1m"):
        os.close(tree.open_folder(""))
    with pytest.raises(ShareGone):
        tree.open_folder("a")


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (errno.ENOENT, NotThere),
        (errno.ENOTDIR, NotThere),
        (errno.ELOOP, NotThere),
        (errno.ENAMETOOLONG, NotThere),
        (errno.EACCES, FileUnreadable),
        (errno.EIO, FileUnreadable),
        (errno.ESTALE, ShareGone),
        (errno.ENOTCONN, ShareGone),
        (errno.EHOSTDOWN, ShareGone),
        (errno.ETIMEDOUT, ShareGone),
        (errno.ENODEV, ShareGone),
    ],
)
def test_what_the_file_system_says_is_the_files_fault_or_the_shares(
    code: int, meaning: type[Exception]
) -> None:
    with pytest.raises(meaning), Translated("x.jpg"):
        raise OSError(code, os.strerror(code))
    if meaning is not NotThere:
        with pytest.raises(meaning), reading:
            raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("locked", ["a/b/x.jpg", "a/b", "a"])
def test_what_may_not_be_read_or_entered_is_unreadable(root: Path, locked: str) -> None:
    mode = (root / locked).stat().st_mode
    (root / locked).chmod(0)
    with without_override(), pytest.raises(FileUnreadable, match="Permission denied"):
        content(root, "a/b/x.jpg")
    (root / locked).chmod(mode)
    assert content(root, "a/b/x.jpg") == b"inside"


def test_a_root_that_may_not_be_entered_is_the_shares_trouble(root: Path) -> None:
    root.chmod(0)
    with without_override(), pytest.raises(ShareGone, match="Permission denied"):
        Tree(str(root)).open_folder("")
    root.chmod(0o755)


def test_looking_tells_what_a_write_changes(root: Path) -> None:
    path = root / "a" / "b" / "x.jpg"
    with opened_folder(path.parent) as folder:
        before = stamp_of(look("x.jpg", folder))
        assert before == stamp_of(path.stat())
        path.write_bytes(b"other content")
        assert stamp_of(look("x.jpg", folder)) != before


@pytest.mark.parametrize("knows_renameat2", [True, False])
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_rename_never_goes_over_what_is_there(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, knows_renameat2: bool
) -> None:
    if not knows_renameat2:
        without_renameat2(monkeypatch)
    (root / "new").write_bytes(b"new")
    place = root / "place"
    match kind:
        case "file":
            place.touch()
        case "folder":
            place.mkdir()
        case _:
            place.symlink_to("/no")
    with opened_folder(root) as folder:
        with pytest.raises(FileExistsError):
            rename_to_free("new", "place", folder)
        assert (root / "new").exists()
        rename_to_free("new", "free", folder)
    assert (root / "free").read_bytes() == b"new"
    assert not (root / "new").exists()


def test_a_rename_that_fails_otherwise_says_why(root: Path) -> None:
    with opened_folder(root) as folder, pytest.raises(FileNotFoundError):
        rename_to_free("missing", "free", folder)


def without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS and older FUSE."""
    from watcher import tree  # noqa: PLC0415 - a module, to be patched

    class Old:
        @staticmethod
        def renameat2(*_: object) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(tree, "_libc", Old)
