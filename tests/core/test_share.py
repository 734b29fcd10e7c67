"""Where a share's record is kept, beside the images or mirrored elsewhere; and who reads how much
of it at once."""

import threading
from pathlib import Path

import pytest

from tests.core.factories import (
    PATIENCE,
    ROOT,
    a_share,
    ended,
    in_thread,
    made_read_only,
    without_override,
)
from watcher import share as share_module
from watcher.access import shares_of
from watcher.errors import MirrorFolderBarred, RecordUnwritable
from watcher.settings import load
from watcher.share import HUGE, LARGE, READERS, Share


def records_in(share: Share, folder: str, *, create: bool = False) -> Path | None:
    """The folder that the record of `folder`'s images is in."""
    with (
        share.tree.folder(folder) as images,
        share.records(folder, images, create=create) as records,
    ):
        return None if records is None else Path(f"/proc/self/fd/{records}").readlink()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "share" / "a" / "b").mkdir(parents=True)
    return tmp_path / "share"


def test_beside_means_in_the_images_very_folder(images: Path) -> None:
    assert records_in(a_share(images), "a/b") == images / "a" / "b"


def test_a_mirror_has_the_same_tree_made_when_it_is_needed(images: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    share = a_share(images, mirror=str(mirror))
    assert records_in(share, "") == mirror
    assert records_in(share, "a/b") is None
    assert not list(mirror.iterdir())
    assert records_in(share, "a/b", create=True) == mirror / "a" / "b"
    assert records_in(share, "a/b") == mirror / "a" / "b"


def test_a_mirror_that_is_missing_is_not_the_shares_fault(images: Path, tmp_path: Path) -> None:
    share = a_share(images, mirror=str(tmp_path / "missing"))
    for create in (False, True):
        with pytest.raises(RecordUnwritable, match="missing"):
            records_in(share, "a", create=create)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_in_a_mirrors_place_is_said_and_not_followed(
    images: Path, tmp_path: Path, kind: str
) -> None:
    mirror, outside = tmp_path / "mirror", tmp_path / "outside"
    mirror.mkdir()
    outside.mkdir()
    if kind == "file":
        (mirror / "a").write_text("in the way")
    else:
        (mirror / "a").symlink_to(outside)
    share = a_share(images, mirror=str(mirror))
    assert records_in(share, "a/b") is None
    with pytest.raises(RecordUnwritable, match="'a/b'"):
        records_in(share, "a/b", create=True)
    assert not list(outside.iterdir())


def test_a_mirror_that_cannot_be_written_to_is_said_so(images: Path, tmp_path: Path) -> None:
    with made_read_only(tmp_path / "mirror", lambda _: None) as mirror:
        share = a_share(images, mirror=str(mirror))
        assert records_in(share, "a/b") is None
        with pytest.raises(RecordUnwritable, match="Read-only" if ROOT else "Permission"):
            records_in(share, "a/b", create=True)


@pytest.mark.parametrize(("create", "what"), [(False, "enter"), (True, "make or enter")])
def test_one_folder_of_a_mirror_that_may_not_be_entered_is_named(
    images: Path, tmp_path: Path, what: str, *, create: bool
) -> None:
    locked = tmp_path / "mirror" / "a"
    locked.mkdir(parents=True)
    locked.chmod(0)
    share = a_share(images, mirror=str(tmp_path / "mirror"))
    told = f"cannot {what} the folder 'a' in .*mirror: Permission denied"
    with without_override(), pytest.raises(MirrorFolderBarred, match=told):
        records_in(share, "a", create=create)
    locked.chmod(0o755)


@pytest.mark.parametrize(
    ("size", "at_once"),
    [(LARGE - 1, READERS + 2), (LARGE, READERS), (HUGE - 1, READERS), (HUGE, 1)],
)
def test_few_large_files_are_read_at_once_but_any_number_of_small_ones(
    tmp_path: Path, size: int, at_once: int
) -> None:
    share = a_share(tmp_path)
    inside, go_on = threading.Semaphore(0), threading.Event()

    def read() -> None:
        with share.readers(size):
            inside.release()
            go_on.wait(PATIENCE)

    readers = [in_thread(read) for _ in range(READERS + 2)]
    for _ in range(at_once):
        assert inside.acquire(timeout=PATIENCE)
    assert not inside.acquire(timeout=0.1)  # it must not come, so there is nothing to wait for
    go_on.set()
    assert ended(*readers)


@pytest.mark.parametrize("size", [LARGE, HUGE])
def test_large_files_that_are_never_read_to_their_end_do_not_hold_up_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(share_module, "READ_SECONDS", 0.05)
    share = a_share(tmp_path)
    inside, go_on = threading.Semaphore(0), threading.Event()

    def read() -> None:
        with share.readers(size) as place:
            assert place
            inside.release()
            go_on.wait(PATIENCE)

    readers = [in_thread(read) for _ in range(READERS + 1)]
    for _ in readers:
        assert inside.acquire(timeout=PATIENCE)
    go_on.set()
    assert ended(*readers)


def test_who_is_abandoned_has_no_place_on_it_any_more(tmp_path: Path) -> None:
    share = a_share(tmp_path)
    share.abandon(threading.current_thread())
    for places in (share.readers(LARGE), share.readers(HUGE), share.uploads):
        with places as place:
            assert not place


@pytest.mark.parametrize(("count", "of_one"), [(1, 4), (2, 3)])
def test_where_there_are_others_a_share_has_not_all_places_of_those_who_send(
    tmp_path: Path, count: int, of_one: int
) -> None:
    blocks = "".join(f'[[share]]\npath = "{tmp_path}/{number}"\n' for number in range(count))
    config = tmp_path / "config.toml"
    config.write_text(f"{blocks}[upload]\nparallel = 4\n")
    for share in shares_of(load(str(config), {})):
        inside, go_on = threading.Semaphore(0), threading.Event()

        def send(share: Share = share) -> None:
            with share.uploads:
                inside.release()  # noqa: B023 - it ends within the loop
                go_on.wait(PATIENCE)  # noqa: B023 - as above

        senders = [in_thread(send) for _ in range(5)]
        for _ in range(of_one):
            assert inside.acquire(timeout=PATIENCE)
        assert not inside.acquire(timeout=0.1)  # as above
        go_on.set()
        assert ended(*senders)
