"""Which file on which share is meant: relative paths, links, mirrors, names of every kind."""

import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given

from tests.core.factories import NAMES, PROPERTY
from watcher.commands import locate as locate_module
from watcher.commands.locate import (
    Location,
    NoSuchPlace,
    Silent,
    in_time,
    is_folder,
    is_there,
    locate,
)
from watcher.errors import ShareGone
from watcher.share import Share


@pytest.fixture
def share(tmp_path: Path) -> Share:
    (tmp_path / "share").mkdir()
    return Share(str(tmp_path / "share"))


@given(name=NAMES)
@PROPERTY
def test_any_name_in_a_share_is_found_by_its_whole_path(name: bytes) -> None:
    share, path = Share("/srv/photos"), os.fsdecode(name)
    assert locate(f"/srv/photos/Monday/{path}", [share]).path == f"Monday/{path}"


def test_a_relative_path_is_one_from_here(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir(f"{share.root}/Monday")
    monkeypatch.chdir(f"{share.root}/Monday")
    assert locate("a.jpg", [share]).path == "Monday/a.jpg"
    assert locate("../b.jpg", [share]).path == "b.jpg"
    assert locate("..", [share]).path == ""
    assert locate("./x/../a.jpg", [share]).path == "Monday/a.jpg"


def test_a_link_to_a_share_or_into_it_is_followed(share: Share, tmp_path: Path) -> None:
    os.mkdir(f"{share.root}/Monday")
    (tmp_path / "photos").symlink_to(share.root)
    (tmp_path / "monday").symlink_to(f"{share.root}/Monday")
    assert locate(str(tmp_path / "photos/a.jpg"), [share]).path == "a.jpg"
    assert locate(str(tmp_path / "monday/a.jpg"), [share]).path == "Monday/a.jpg"


def test_a_link_in_a_share_is_left_for_the_daemon_to_judge(share: Share, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "photos").symlink_to(share.root)
    os.symlink(tmp_path / "elsewhere", f"{share.root}/link")
    assert locate(f"{share.root}/link/a.jpg", [share]).path == "link/a.jpg"
    assert locate(str(tmp_path / "photos/link/a.jpg"), [share]).path == "link/a.jpg"


def test_a_share_that_is_a_link_is_found_by_both_paths(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "photos").symlink_to(tmp_path / "disk")
    share = Share(str(tmp_path / "photos"))
    for root in ("photos", "disk"):
        assert locate(str(tmp_path / root / "a.jpg"), [share]) == Location(share, "a.jpg")


def test_a_record_leads_to_its_image_in_a_mirror_too(tmp_path: Path) -> None:
    share = Share(str(tmp_path / "share"), mirror=str(tmp_path / "mirror"))
    found = locate(str(tmp_path / "mirror/Monday/a.jpg.sha256"), [share])
    assert found == Location(share, "Monday/a.jpg.sha256", mirrored=True)
    assert found.image == "Monday/a.jpg"
    assert found.shown == str(tmp_path / "mirror/Monday/a.jpg.sha256")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a.jpg", "../share2/a.jpg", "x/../../y"])
def test_what_is_in_no_share_is_told_in_one_line(
    path: str, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(share.root)
    with pytest.raises(NoSuchPlace, match=r"leads nowhere|is in none of the shares: .*share"):
        locate(path, [share])


def test_a_current_folder_that_is_gone_is_told(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as here:
        monkeypatch.chdir(here)
    with pytest.raises(NoSuchPlace, match="the current folder is gone"):
        locate("a.jpg", [share])


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate_module, "HUNG_SECONDS", 0.05)
    never = threading.Event()
    with pytest.raises(Silent, match="photos: no answer from its file server"):
        in_time(never.wait, what="photos")
    never.set()


def test_a_share_is_there_or_it_is_told_why_not(share: Share, tmp_path: Path) -> None:
    is_there(share)
    with pytest.raises(ShareGone, match="No such file"):
        is_there(Share(str(tmp_path / "gone")))
    assert is_folder(Location(share, ""))
    assert not is_folder(Location(share, "gone"))
