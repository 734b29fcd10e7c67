"""The counting of one share: each image once, in the state that the daemon would say."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.factories import (
    HARD_NAMES,
    HASH,
    PATIENCE,
    PROPERTY,
    Clock,
    a_share,
    drop,
    left_open,
    mounted,
    open_descriptors,
    opened_folder,
    without_override,
)
from tests.end_to_end.fuse_share import FuseShare, needs_fuse
from watcher.commands import census, counting
from watcher.commands.census import NEWEST, Stock, Stocktaking
from watcher.commands.counting import Count, Counted, count_once
from watcher.commands.kinds import kind_of
from watcher.errors import RecordUnwritable, ShareGone
from watcher.ignores import IMAGE, Ignores
from watcher.record import write_note, write_sidecar
from watcher.scan import Found, scan
from watcher.share import Share
from watcher.tree import stamp_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GIF = b"GIF89a" + bytes(40)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


def upload(path: Path, beside: Path | None = None) -> None:
    """Records it as the daemon does."""
    status = path.stat()
    with opened_folder(beside or path.parent) as folder:
        write_sidecar(path.name, HASH, stamp=stamp_of(status), mode=status.st_mode, folder=folder)


def reject(path: Path, text: str = "Why: It is a GIF.\n\nWhat to do: Export it.") -> None:
    status = path.stat()
    with opened_folder(path.parent) as folder:
        write_note(
            path.name,
            text,
            when=NOW,
            stamp=stamp_of(status),
            mode=status.st_mode,
            folder=folder,
        )


def stock_of(share: Share) -> Stock:
    before = open_descriptors()
    try:
        return Stocktaking(share).run()
    finally:
        assert not left_open(before)


def states(stock: Stock) -> tuple[int, int, int, int]:
    return stock.uploaded, stock.rejected, stock.waiting, stock.ignored


# Every image once


def test_each_image_is_in_one_state_and_the_states_add_up(root: Path) -> None:
    upload(drop(root / "a/up.jpg"))
    reject(drop(root / "a/no.jpg"))
    drop(root / "a/new.JPG")
    upload(changed := drop(root / "changed.png"))
    drop(changed, b"another image")
    for ignored in ("a/._up.jpg", "draft.tif", "Selects/deep/1.jpg", "@eaDir/up.jpg/thumb.jpg"):
        drop(root / ignored)
    for other in (
        "a/notes.txt",
        "a/x.NEF",
        "y.heic",
        "z.psd",
        "z2.psd",
        "._x.nef",
        "Selects/a.gif",
    ):
        drop(root / other)
    (root / "link.jpg").symlink_to("a/up.jpg")
    (root / "folder.jpg").mkdir()
    os.mkfifo(root / "fifo.jpg")
    stock = stock_of(a_share(root, ignores=Ignores(["Selects/", "draft*"])))
    assert states(stock) == (1, 1, 2, 4)
    assert stock.images == 8
    assert dict(stock.not_sent) == {"RAW": 1, "HEIC": 1, "PSD": 2}
    assert (stock.left_out, stock.unreadable) == (0, 0)


FOLDERS = st.sampled_from([b"", b"a", b".hidden", b"@eaDir", b"Selects", b"a/Selects", b"\xff"])
ENDINGS = st.sampled_from([b".jpg", b".TIF", b".nef", b".txt", b".jpg.sha256", b".tmp", b""])


@settings(PROPERTY, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(FOLDERS, st.sampled_from(HARD_NAMES[:-1]), ENDINGS), unique=True, max_size=25
    )
)
def test_the_sum_is_the_number_of_images_there(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[bytes, bytes, bytes]]
) -> None:
    root = tmp_path_factory.mktemp("share")
    for folder, name, ending in files:
        path = os.path.join(os.fsencode(root), folder)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, name + ending), "wb"):
            pass
    share = a_share(root, ignores=Ignores(["Selects/", "*dash*"]))
    stock = stock_of(share)
    names = [name for _, _, inside in os.walk(root) for name in inside]
    assert stock.images == len([name for name in names if IMAGE.match(name)])
    candidates = len([each for each in scan(share) if isinstance(each, Found)])
    assert stock.uploaded + stock.rejected + stock.waiting == candidates


def test_a_mirror_is_where_the_records_are_looked_for(root: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "a").mkdir(parents=True)
    upload(drop(root / "a/up.jpg"), mirror / "a")
    drop(root / "b/new.jpg")
    long_name = drop(root / f"b/{'n' * 240}.jpg", GIF)
    assert states(stock_of(a_share(root, mirror=str(mirror)))) == (1, 1, 1, 0)
    long_name.unlink()
    mirror.rename(tmp_path / "elsewhere")
    with pytest.raises(RecordUnwritable):
        stock_of(a_share(root, mirror=str(mirror)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.NEF", "RAW"),
        ("a.b.cr3", "RAW"),
        ("x.hif", "HEIC"),
        ("x.psb", "PSD"),
        ("x.jpg", None),
        ("x.txt", None),
        ("nef", None),
        (".nef", None),
        ("._x.nef", None),
        ("~$x.psd", None),
    ],
)
def test_the_kinds_of_images_that_are_not_sent(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


# What is left out is told


def test_snapshots_are_not_counted_and_that_is_told(root: Path) -> None:
    for name in (".snapshot/hourly/a.jpg", "#snapshot/a.jpg", ".zfs/a.jpg", ".hidden/a.jpg"):
        drop(root / name)
    drop(root / ".hidden/.snapshots/1/a.jpg")
    stock = stock_of(a_share(root))
    assert states(stock) == (0, 0, 0, 1)
    assert stock.left_out == 4


def test_ignored_folders_without_end_are_left_and_that_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "MAX_IGNORED_NAMES", 5)
    for number in range(20):
        drop(root / f"@eaDir/{number}.jpg")
    drop(root / "#recycle/x.jpg")
    stock = stock_of(a_share(root))
    assert states(stock) == (0, 0, 0, 5)
    assert stock.left_out == 2


def test_another_file_system_in_an_ignored_folder_is_not_entered(root: Path) -> None:
    (root / ".hidden").mkdir()
    with mounted(root / ".hidden/mount", "size=1m") as point:
        drop(point / "a.jpg")
        stock = stock_of(a_share(root))
    assert (stock.images, stock.left_out) == (0, 1)


def test_an_ignored_folder_that_may_not_be_entered_or_goes_is_no_trouble(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(root / ".closed/a.jpg").parent.chmod(0)
    drop(root / ".gone/a.jpg")
    moved = root / ".elsewhere"
    enter = Stocktaking._ignored_folder

    def goes_first(self: Stocktaking, top: str, device: int) -> None:
        if top == ".gone":
            (root / top).rename(moved)
        enter(self, top, device)

    monkeypatch.setattr(Stocktaking, "_ignored_folder", goes_first)
    with without_override():
        stock = stock_of(a_share(root))
    assert stock.left_out == 1
    assert stock.unreadable == 0


def test_a_folder_that_cannot_be_read_is_told_and_the_others_are_counted(root: Path) -> None:
    drop(root / "closed/a.jpg").parent.chmod(0)
    drop(root / "deep/closed/a.jpg").parent.chmod(0)
    drop(root / "open/a.jpg")
    with without_override():
        stock = stock_of(a_share(root))
    assert (stock.waiting, stock.unreadable) == (1, 2)
    assert stock.unreadable_folder == "closed: it cannot be read: Permission denied"


# Rejections


def test_the_newest_rejections_are_kept_with_their_reason(root: Path) -> None:
    for number in range(NEWEST + 5):
        text = f"Why: Reason {number},\nwrapped.\n\nWhat to do: Nothing."
        reject(path := drop(root / f"{number % 3}/{number}.jpg"), text)
        note = path.with_name(f"{path.name}.rejected.txt")
        wait_for_another_time(note, text, path)
    stock = stock_of(a_share(root))
    assert stock.rejected == NEWEST + 5
    assert [each.why for each in stock.newest] == [
        f"Reason {number}, wrapped." for number in range(NEWEST + 4, 4, -1)
    ]
    assert stock.newest[0].path == "2/14.jpg"


def wait_for_another_time(note: Path, text: str, image: Path) -> None:
    """Until the kernel's clock for files, which moves in steps, has moved on."""
    written = note.stat().st_ctime_ns
    while drop(note.with_name("clock")).stat().st_ctime_ns <= written:
        reject(image, text)
        written = note.stat().st_ctime_ns


def test_a_name_too_long_for_a_record_is_a_rejection(root: Path) -> None:
    drop(root / ("n" * 245 + ".jpg"))
    upload(drop(root / ("n" * 244 + ".jpg")))
    stock = stock_of(a_share(root))
    assert states(stock) == (1, 1, 0, 0)
    assert stock.newest[0].why == "Its name is too long (249 bytes) for a record beside it."


def test_where_no_note_can_stand_the_image_itself_is_looked_at(root: Path) -> None:
    long_name = "n" * 240 + ".jpg"  # 244 bytes: a sidecar fits, a note does not
    drop(root / long_name, GIF)
    drop(root / f"m{long_name[1:]}", b"\xff\xd8\xff\xe0 a JPEG without its end")
    drop(root / "gif.jpg", GIF)
    drop(root / "gif.jpg.rejected.txt", b"a photographer's own words")
    drop(root / "own.jpg", GIF)
    drop(root / "own.jpg.rejected.txt", b"")  # torn by a crash: it will be written again
    stock = stock_of(a_share(root))
    assert states(stock) == (0, 2, 2, 0)
    assert {each.why for each in stock.newest} == {"It is a GIF image, whatever its name says."}


def test_a_foreign_sidecar_whose_note_is_foreign_too_is_a_rejection(root: Path) -> None:
    for name in ("a.jpg", "noted_soon.jpg", "torn.jpg"):
        drop(root / name, b"\xff\xd8\xff\xe0 a JPEG without its end")
        drop(root / f"{name}.sha256", b"d4d4" if name == "torn.jpg" else b"my own list")
        if name != "noted_soon.jpg":
            drop(root / f"{name}.rejected.txt", b"my own words")
    stock = stock_of(a_share(root))
    assert states(stock) == (0, 1, 2, 0)
    assert stock.newest[0].path == "a.jpg"
    assert "own" not in stock.newest[0].why


def test_nothing_of_a_foreign_file_in_the_notes_place_is_shown(root: Path) -> None:
    for name, text in (
        ("a.jpg", "Why: a secret of a fellow photographer"),
        ("b.jpg", "This image was not sent to AutoRetouch.\nnothing else"),
    ):
        image = drop(root / name)
        note = drop(root / f"{name}.rejected.txt", text.encode())
        os.utime(note, ns=(image.stat().st_mtime_ns,) * 2)
    stock = stock_of(a_share(root))
    assert states(stock) == (0, 2, 0, 0)  # as the daemon has it: a current note
    assert {each.why for each in stock.newest} == {
        "The file in the place of its note is not ours.",
        "Its note tells no reason.",
    }


def test_a_note_that_cannot_be_read_is_told(root: Path) -> None:
    reject(drop(root / "a.jpg"))
    (root / "a.jpg.rejected.txt").chmod(0)
    with without_override():
        stock = stock_of(a_share(root))
    assert [each.why for each in stock.newest] == ["Its note cannot be read."]


def test_what_cannot_be_read_waits(root: Path) -> None:
    drop(root / "a.jpg")
    drop(root / "a.jpg.sha256", b"x").chmod(0)
    drop(root / f"{'n' * 240}.jpg").chmod(0)  # nor can an image that has no room for a note
    with without_override():
        assert states(stock_of(a_share(root))) == (0, 0, 2, 0)


def test_what_goes_between_two_looks_is_not_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg"):
        reject(drop(root / name))
    look = Stocktaking._look_closer

    def goes_first(self: Stocktaking) -> None:
        if self._folder == "a":
            (root / "a/1.jpg").unlink(missing_ok=True)
        elif self._folder == "b" and (root / "b").exists():
            (root / "b").rename(root / "d")
        elif self._folder == "c":
            (root / "c").chmod(0)
        look(self)

    monkeypatch.setattr(Stocktaking, "_look_closer", goes_first)
    with without_override():
        stock = stock_of(a_share(root))
    assert stock.unreadable == 1
    assert stock.rejected == 1


def test_many_rejections_of_one_folder_are_looked_at_in_parts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "_TOGETHER", 2)
    for number in range(5):
        reject(drop(root / f"{number}.jpg"))
    assert states(stock_of(a_share(root))) == (0, 5, 0, 0)


# In threads of their own


def counted(*shares: Share) -> tuple[Counted, ...]:
    return count_once(shares, lambda _: None)


def test_shares_are_counted_each_and_one_that_is_gone_is_said_so(
    root: Path, tmp_path: Path
) -> None:
    drop(root / "a.jpg")
    good, gone = counted(a_share(root), Share(root=str(tmp_path / "gone")))
    assert good.stock is not None
    assert (good.stock.waiting, good.trouble) == (1, "")
    assert gone.stock is None
    assert gone.trouble == f"cannot enter {tmp_path}/gone: No such file or directory"


def test_a_fault_of_this_program_is_no_trouble_of_the_share(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stocktaking, "run", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        counted(a_share(root))


@needs_fuse
def test_a_share_that_hangs_holds_up_neither_the_others_nor_the_end(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "HUNG_SECONDS", 0.4)
    drop(root / "a.jpg")
    for name in ("behind", "mount"):
        (tmp_path / name).mkdir()
    drop(tmp_path / "behind/b.jpg")
    with FuseShare(tmp_path / "mount", tmp_path / "behind") as fuse:
        fuse.hang()
        hung, good = counted(Share(root=str(tmp_path / "mount")), a_share(root))
        assert hung.stock is None
        assert "not answered" in hung.trouble
        assert good.stock is not None
        fuse.go_on()
        (again,) = counted(Share(root=str(tmp_path / "mount")))
        assert again.stock is not None
        assert again.stock.waiting == 1


class Held:
    """A scan that gets nowhere until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def __call__(self, *_: object, **__: object) -> Iterator[Found]:
        self.let_go.wait(PATIENCE)
        yield Found("a.jpg", 1, "none")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    scan = Held()
    monkeypatch.setattr(census, "scan", scan)
    yield scan
    scan.let_go.set()


def test_a_large_folder_is_not_taken_for_a_share_that_hangs(root: Path, held: Held) -> None:
    clock = Clock()
    count = Count(a_share(root), clock=clock)
    for _ in range(10):
        clock.advance(6)
        assert count.look().at is None  # the second question is asked ...
        probe = under_way(count)._probe
        if probe is not None:
            probe.result(PATIENCE)  # ... and answered
    held.let_go.set()
    assert finished(count).stock is not None


def test_a_process_that_was_stopped_for_long_blames_no_share(root: Path, held: Held) -> None:
    clock = Clock()
    count = Count(a_share(root), clock=clock)
    clock.advance(1_000)
    assert count.look().at is None
    held.let_go.set()
    assert finished(count).trouble == ""


def test_a_share_that_answers_again_is_counted_after_all(
    root: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    monkeypatch.setattr(counting._UnderWay, "_ask", lambda _: silent.wait(PATIENCE))
    clock = Clock()
    count = Count(a_share(root), clock=clock)
    count.look()
    for _ in range(3):
        clock.advance(6)
        result = count.look()
    assert result.trouble == "it has not answered for 10 seconds"
    silent.set()
    held.let_go.set()
    under_way(count).future.result(PATIENCE)
    assert count.look().trouble == ""


def test_counting_anew_takes_a_tenth_of_the_time(root: Path, held: Held) -> None:
    clock = Clock()
    count = Count(a_share(root), clock=clock)
    clock.advance(4)
    held.let_go.set()
    first = finished(count)
    assert (first.seconds, count.images) == (4, 0)
    clock.advance(35)
    assert count.look() is first
    assert count._under_way is None
    clock.advance(1)
    count.look()
    assert finished(count).stock is not first.stock


def under_way(count: Count) -> Any:
    assert count._under_way is not None
    return count._under_way


def finished(count: Count) -> Counted:
    under_way(count).future.result(PATIENCE)
    return count.look()


def test_a_share_that_fails_in_the_midst_gives_no_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Iterator[Found]:
        yield Found("a.jpg", 1, "none")
        raise ShareGone("the file system answers: Stale file handle")

    monkeypatch.setattr(census, "scan", fails)
    (result,) = counted(a_share(root))
    assert result.stock is None
    assert result.trouble == "the file system answers: Stale file handle"
