"""The scan: every image on the share, once, by names and `stat`s alone."""

import builtins
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.factories import (
    HARD_NAMES,
    HASH,
    NAMES,
    PROPERTY,
    a_share,
    drop,
    left_open,
    made_read_only,
    open_descriptors,
    opened_folder,
    without_override,
)
from watcher import scan as scanning
from watcher.errors import ShareGone
from watcher.ignores import Ignores
from watcher.record import State, state_of, write_note, write_sidecar
from watcher.scan import Found, Unreadable, scan, walk
from watcher.share import Share
from watcher.tree import NotThere, Tree, stamp_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


def found(share: Share, below: str = "") -> list[str]:
    return [file.path for file in scan(share, below) if isinstance(file, Found)]


def test_all_images_are_found_in_order_and_nothing_else(root: Path) -> None:
    for name in ("b.jpg", "a.JPG", "z/q/deep.tif", "c/x.png", "c/y.webp"):
        drop(root / name, b"x" * len(name))
    for name in ("notes.txt", ".hidden.jpg", ".folder/x.jpg", "@eaDir/x.jpg", "raw.nef", "jpg"):
        drop(root / name)
    assert found(a_share(root)) == ["a.JPG", "b.jpg", "c/x.png", "c/y.webp", "z/q/deep.tif"]
    assert {file.size for file in scan(a_share(root)) if isinstance(file, Found)} == {5, 7, 12, 8}


def test_one_folder_and_what_is_below_it(root: Path) -> None:
    for name in ("a.jpg", "in/b.jpg", "in/side/c.jpg", "inner/d.jpg"):
        drop(root / name)
    assert found(a_share(root), "in") == ["in/b.jpg", "in/side/c.jpg"]
    assert found(a_share(root), "gone") == []


def test_each_file_comes_with_what_its_record_says(root: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    for share, records in (
        (a_share(root), root),
        (a_share(tmp_path / "two", mirror=str(mirror)), mirror),
    ):
        records.mkdir(exist_ok=True)
        place = Path(share.root)
        images = {state: drop(place / f"{state}.jpg") for state in ("uploaded", "rejected", "none")}
        with opened_folder(records) as fd:
            status = images["uploaded"].stat()
            common: dict[str, Any] = {"stamp": stamp_of(status), "mode": 0o644, "folder": fd}
            write_sidecar("uploaded.jpg", HASH, **common)
            common["stamp"] = stamp_of(images["rejected"].stat())
            write_note("rejected.jpg", "Why", when=datetime.now(UTC), **common)
        drop(place / "stale.jpg")
        drop(records / "stale.jpg.sha256", b"")
        states = {f.path: f.state for f in scan(share) if isinstance(f, Found)}
        assert states == {f"{state}.jpg": state for state in (*images, "stale")}


def test_a_mirror_that_has_nothing_yet_means_no_record(root: Path, tmp_path: Path) -> None:
    drop(root / "deep" / "a.jpg")
    (tmp_path / "mirror").mkdir()
    (file,) = scan(a_share(root, mirror=str(tmp_path / "mirror")))
    assert isinstance(file, Found)
    assert file.state == "none"


@given(
    names=st.sets(NAMES.map(lambda raw: raw[:200] + b".jpg"), max_size=12),
    size=st.integers(1, 5),
)
@settings(PROPERTY, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_slices_of_a_large_folder_hold_every_file_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, names: set[bytes], size: int
) -> None:
    monkeypatch.setattr(scanning, "SLICE", size)
    for old in root.iterdir():
        old.unlink()
    for raw in names:
        (root / os.fsdecode(raw)).touch()
    expected = sorted(os.fsdecode(raw) for raw in names if not raw.startswith((b".", b"~$")))
    assert found(a_share(root)) == expected


def test_folders_are_met_once_however_many_slices_their_parent_has(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "SLICE", 2)
    for number in range(7):
        drop(root / f"{number}.jpg")
        drop(root / f"folder{number}" / "x.jpg")
    paths = found(a_share(root))
    assert len(paths) == len(set(paths)) == 14


def test_names_keep_their_bytes(root: Path) -> None:
    for raw in HARD_NAMES:
        drop(root / os.fsdecode(raw) / os.fsdecode(raw))
    expected = sorted(f"{os.fsdecode(raw)}/{os.fsdecode(raw)}" for raw in HARD_NAMES)
    assert sorted(found(a_share(root))) == expected


def test_links_and_what_is_no_file_are_no_candidates(root: Path, tmp_path: Path) -> None:
    outside = drop(tmp_path / "outside" / "secret.jpg")
    (root / "link.jpg").symlink_to(outside)
    (root / "folder-link").symlink_to(outside.parent)
    (root / "loop").symlink_to(root)
    (root / "self.jpg").symlink_to("self.jpg")
    (root / "folder.jpg").mkdir()
    os.mkfifo(root / "fifo.jpg")
    drop(root / "real.jpg")
    assert found(a_share(root)) == ["real.jpg"]


def test_a_folder_swapped_for_a_link_before_it_is_listed_is_left_out(
    root: Path, tmp_path: Path
) -> None:
    outside = drop(tmp_path / "outside" / "secret.jpg").parent
    drop(root / "a.jpg")
    drop(root / "folder" / "b.jpg")
    files = scan(a_share(root))
    assert next(files).path == "a.jpg"
    (root / "folder").rename(tmp_path / "moved")
    (root / "folder").symlink_to(outside)
    assert not list(files)


def test_what_disappears_meanwhile_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        drop(root / f"{number}.jpg")
    real = scanning._with_state

    def late(*arguments: Any, bare: bool) -> list[Found]:
        (root / "1.jpg").unlink(missing_ok=True)
        return real(*arguments, bare=bare)

    monkeypatch.setattr(scanning, "_with_state", late)
    assert found(a_share(root)) == ["0.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("beside", "asked"),
    [
        ("", []),
        ("x.jpg.sha256", ["a.jpg"]),
        ("x.jpg.rejected.txt", ["a.jpg"]),
        ("X.JPG.SHA256", ["a.jpg"]),
        ("x.jpg.sha256/folder", ["a.jpg"]),
        ("in a mirror", ["a.jpg"]),
    ],
)
def test_records_are_asked_for_only_where_there_may_be_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, beside: str, asked: list[str]
) -> None:
    mirror = root.parent / "mirror"
    (mirror / "folder").mkdir(parents=True)
    drop(root / "folder" / "a.jpg")
    if beside.lower().startswith("x"):
        drop(root / "folder" / beside, b"torn")
    names: list[str] = []

    def noted(image: os.stat_result, name: str, folder: int) -> State:
        names.append(name)
        return state_of(image, name, folder)

    monkeypatch.setattr(scanning, "state_of", noted)
    share = a_share(root, mirror=str(mirror) if beside == "in a mirror" else None)
    assert [file.state for file in scan(share) if isinstance(file, Found)] == ["none"]
    assert names == asked


def test_the_scan_opens_no_file_and_leaves_no_folder_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        drop(root / "folder" / f"{number}.jpg")
        drop(root / "folder" / f"{number}.jpg.sha256", b"torn")
    opened: list[object] = []
    real_os_open, real_open = os.open, builtins.open

    def os_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if not flags & os.O_DIRECTORY:
            opened.append(path)
        return real_os_open(path, flags, *rest, **options)

    def any_open(path: Any, *rest: Any, **options: Any) -> Any:
        opened.append(path)
        return real_open(path, *rest, **options)

    before = open_descriptors()
    monkeypatch.setattr(os, "open", os_open)
    monkeypatch.setattr(builtins, "open", any_open)
    open_between: set[str] = set()
    for _ in scan(a_share(root)):
        open_between |= left_open(before)  # an open folder would make an unmount fail
    monkeypatch.undo()
    assert not opened
    assert not open_between


def test_a_share_that_is_gone_is_an_error_and_never_an_empty_share(root: Path) -> None:
    share = a_share(root)
    root.rmdir()
    with pytest.raises(ShareGone):
        list(scan(share))


def test_a_share_that_goes_in_the_middle_is_an_error(root: Path, tmp_path: Path) -> None:
    drop(root / "a.jpg")
    drop(root / "folder" / "b.jpg")
    files = scan(a_share(root))
    assert next(files).path == "a.jpg"
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(ShareGone):
        list(files)


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_that_cannot_be_listed_is_named_and_the_others_go_on(
    root: Path, mode: int
) -> None:
    for name in ("a", "locked", "z"):
        drop(root / name / "x.jpg")
    (root / "locked").chmod(mode)
    with without_override():
        answers = list(scan(a_share(root)))
    (root / "locked").chmod(0o755)
    assert [answer.path for answer in answers] == ["a/x.jpg", "locked", "z/x.jpg"]
    (unreadable,) = (answer for answer in answers if isinstance(answer, Unreadable))
    assert "Permission denied" in unreadable.why


def test_a_walk_through_the_folders_tells_that_it_goes_on_at_each_name(root: Path) -> None:
    """A folder of very many files, listed over a slow line, would else look like a hang."""
    for number in range(5):
        drop(root / "in" / f"{number}.jpg")
    entered, told = list[str](), list[int]()
    walk(
        a_share(root), lambda folder, *_: entered.append(folder), lambda: told.append(len(entered))
    )
    assert entered == ["", "in"]
    assert told == [1] + 5 * [2]


def test_a_folder_of_a_mirror_that_may_not_be_entered_keeps_no_other_from_being_scanned(
    root: Path, tmp_path: Path
) -> None:
    """Its images are candidates: their own way tells what is wrong, and where."""
    for name in ("a", "locked", "z"):
        drop(root / name / "x.jpg")
    locked = tmp_path / "mirror" / "locked"
    locked.mkdir(parents=True)
    locked.chmod(0)
    with without_override():
        files = list(scan(a_share(root, mirror=str(tmp_path / "mirror"))))
    locked.chmod(0o755)
    assert [(file.path, file.state) for file in files if isinstance(file, Found)] == [
        (f"{name}/x.jpg", "none") for name in ("a", "locked", "z")
    ]


def test_folders_too_deep_for_one_path_are_not_descended_to(root: Path) -> None:
    part = "d" * 250
    os.close(Tree(str(root)).open_folder("/".join([part] * 20), create=True))
    drop(root / part / "a.jpg")
    assert found(a_share(root)) == [f"{part}/a.jpg"]
    with pytest.raises(NotThere):
        Tree(str(root)).open_folder("n" * 300)


def test_a_shares_own_patterns_are_kept_to(root: Path) -> None:
    for name in ("CaptureOne/Cache/x.jpg", "in/CaptureOne/y.jpg", "keep/z.jpg", "in/draft-1.jpg"):
        drop(root / name)
    share = a_share(root, ignores=Ignores(["CaptureOne/", "draft-*"]))
    assert found(share) == ["keep/z.jpg"]


def test_a_read_only_share_can_be_scanned(tmp_path: Path) -> None:
    with made_read_only(tmp_path / "ro", lambda folder: drop(folder / "a.jpg")) as folder:
        assert found(a_share(folder)) == ["a.jpg"]
