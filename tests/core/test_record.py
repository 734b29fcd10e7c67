"""Sidecars and notes on a real file system: what counts as current, what is never overwritten."""

import errno
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.core.factories import (
    HARD_NAMES,
    HASH,
    NAMES,
    OTHER_HASH,
    PROPERTY,
    ROOT,
    change_after,
    left_open,
    made_read_only,
    mounted,
    open_descriptors,
    opened_folder,
    without_override,
)
from watcher import placing, record
from watcher.errors import RecordsGone, RecordUnwritable
from watcher.ignores import Ignores
from watcher.placing import put_in_place, temporary
from watcher.record import (
    LONGEST_NAME,
    NOTE,
    NOTE_TITLE,
    SIDECAR,
    claimed_before,
    note_of,
    recorded_hash,
    remove_note,
    remove_sidecar,
    state_beside,
    state_of,
    write_note,
    write_sidecar,
)
from watcher.sidecar import NAME_MAX, ForeignRecord, sidecar_line
from watcher.tree import open_regular, stamp_of

NAME = "a.jpg"
LINE = sidecar_line(NAME, HASH)
TEMPORARY = re.compile(r"\.autoretouch-[0-9a-f]{16}\.tmp")
WHEN = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)


class Desk:
    """One folder with one image in it, and what is done to its record."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.folder = folder
        self.name = name
        self.image = folder / name
        self.sidecar = folder / (name + SIDECAR)
        self.note = folder / (name + NOTE)

    def state(self) -> str:
        with opened_folder(self.folder) as fd:
            return state_of(self.image.stat(), self.name, fd)

    def recorded(self) -> str | None:
        with opened_folder(self.folder) as fd:
            return recorded_hash(self.name, fd)

    def write_sidecar(self, sha256: str = HASH, *, into: Path | None = None) -> None:
        status = self.image.stat()
        with opened_folder(into or self.folder) as fd:
            write_sidecar(self.name, sha256, stamp=stamp_of(status), mode=status.st_mode, folder=fd)

    def write_note(self, text: str = "Why: because.", *, into: Path | None = None) -> None:
        status = self.image.stat()
        with opened_folder(into or self.folder) as fd:
            write_note(
                self.name,
                text,
                when=WHEN,
                stamp=stamp_of(status),
                mode=status.st_mode,
                folder=fd,
            )

    def remove_note(self) -> None:
        with opened_folder(self.folder) as fd:
            remove_note(self.name, fd)

    def remove_sidecar(self) -> None:
        with opened_folder(self.folder) as fd:
            remove_sidecar(self.name, fd)

    def stamp_record(self, path: Path) -> None:
        """Makes a record's modification time that of the image."""
        os.utime(path, ns=(0, self.image.stat().st_mtime_ns), follow_symlinks=False)

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "share"
    folder.mkdir()
    desk = Desk(folder)
    desk.image.write_bytes(b"image")
    return desk


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert not left_open(before)


# Current or not


def test_a_sidecar_is_one_line_stamped_like_its_image(desk: Desk) -> None:
    os.utime(desk.image, ns=(1, 1_600_000_000_123_456_789))
    assert desk.state() == "none"
    desk.write_sidecar()
    assert desk.sidecar.read_bytes() == LINE
    assert desk.sidecar.stat().st_mtime_ns == desk.image.stat().st_mtime_ns
    assert desk.state() == "uploaded"
    assert desk.names == {NAME, NAME + SIDECAR}


@given(raw=NAMES)
@settings(PROPERTY, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_can_have_a_record(tmp_path: Path, raw: bytes) -> None:
    assume(len(raw + NOTE.encode()) <= NAME_MAX)
    desk = Desk(tmp_path, os.fsdecode(raw))
    desk.image.write_bytes(b"image")
    desk.write_note()
    assert desk.state() == "rejected"
    desk.write_sidecar()
    assert (desk.state(), desk.recorded()) == ("uploaded", HASH)
    desk.remove_sidecar()
    desk.image.unlink()
    assert not desk.names


def test_the_longest_name_that_can_have_a_sidecar_has_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "n" * (LONGEST_NAME - 4) + ".jpg")
    desk.image.write_bytes(b"image")
    assert desk.state() == "none"  # though a note's name is too long for the file system
    desk.write_sidecar()
    assert desk.state() == "uploaded"


def test_a_changed_image_makes_its_record_old(desk: Desk) -> None:
    for write, current in ((desk.write_sidecar, "uploaded"), (desk.write_note, "rejected")):
        write()
        assert desk.state() == current
        desk.image.write_bytes(b"other")
        os.utime(desk.image, ns=(1, desk.image.stat().st_mtime_ns + 1_000_000_007))
        assert desk.state() == "stale"


def test_a_change_that_kept_size_and_modification_time_is_told_by_the_change_time(
    desk: Desk,
) -> None:
    desk.write_sidecar()
    modified = desk.image.stat().st_mtime_ns
    change_after(desk.image, desk.sidecar.stat().st_ctime_ns)
    desk.image.write_bytes(b"egami")
    os.utime(desk.image, ns=(modified, modified))
    assert desk.state() == "stale"
    desk.write_sidecar()
    assert desk.state() == "uploaded"


def test_a_change_in_the_future_says_nothing_until_its_time_has_come(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock was set back: no record can be as young as that image."""
    desk.write_sidecar()
    modified = desk.image.stat().st_mtime_ns
    change_after(desk.image, desk.sidecar.stat().st_ctime_ns)
    os.utime(desk.image, ns=(modified, modified))
    changed = desk.image.stat().st_ctime_ns
    for now, state in ((changed - 1, "uploaded"), (changed, "stale")):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda now=now: now)
            assert desk.state() == state


@pytest.mark.parametrize("size", [0, len(LINE) - 1, len(LINE) + 1])
def test_a_sidecar_of_another_length_is_not_current(desk: Desk, size: int) -> None:
    desk.write_sidecar()
    os.truncate(desk.sidecar, size)
    desk.stamp_record(desk.sidecar)
    assert desk.state() == "stale"


@pytest.mark.parametrize("grain", [100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000])
def test_a_coarser_file_system_keeps_a_record_current(desk: Desk, grain: int) -> None:
    time = 1_600_000_001_987_654_321
    os.utime(desk.image, ns=(time, time))
    desk.write_sidecar()
    kept = time // grain * grain
    for moment, state in (
        (kept, "uploaded"),
        (kept - 13 * grain, "stale"),
        (kept + grain, "stale"),
        (time + 1, "stale"),
        (time - 1, "stale"),
    ):
        os.utime(desk.sidecar, ns=(moment, moment))
        assert desk.state() == state, moment


def test_a_current_sidecar_goes_before_a_note_and_an_empty_note_says_nothing(desk: Desk) -> None:
    desk.write_note()
    desk.sidecar.write_bytes(LINE)
    desk.stamp_record(desk.sidecar)
    assert desk.state() == "uploaded"
    desk.sidecar.unlink()
    assert desk.state() == "rejected"
    desk.note.write_bytes(b"")
    desk.stamp_record(desk.note)
    assert desk.state() == "stale"


# Whatever else has a sidecar's name

DAMAGED = {
    "empty": b"",
    "a mark": b"\\",
    "half a hash": HASH[:30].encode(),
    "a hash": HASH.encode(),
    "half a name": LINE[:-3],
}

Plant = Callable[[Path], object]


def plant_link(path: Path) -> None:
    target = path.parent.parent / "outside"
    target.write_bytes(LINE)
    path.symlink_to(target)


def plant_hard_link(path: Path) -> None:
    target = path.parent.parent / "outside"
    target.write_bytes(b"somebody's")
    path.hardlink_to(target)


def plant_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # an address holds 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def plant_device(path: Path) -> None:
    if not ROOT:
        pytest.skip("needs root, to make a device")
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: endless


FOREIGN: dict[str, Plant] = {
    "text": lambda path: path.write_bytes(b"my notes\n"),
    "huge text": lambda path: path.write_bytes(b"x" * 100_000),
    "a path's line": lambda path: path.write_bytes(sidecar_line("raw/a.jpg", HASH)),
    "two lines": lambda path: path.write_bytes(LINE * 2),
    "link": plant_link,
    "link as long as a sidecar": lambda path: path.symlink_to("x" * len(LINE)),
    "dangling link": lambda path: path.symlink_to("/nonexistent/place"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "folder": lambda path: path.mkdir(),
    "FIFO": os.mkfifo,
    "socket": plant_socket,
    "device": plant_device,
    "hard link to another's file": plant_hard_link,
}


def fingerprint(path: Path) -> object:
    status = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
    link = os.readlink(path) if path.is_symlink() else None
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, content, link


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_torn_sidecar_claims_nothing_and_is_replaced(desk: Desk, kind: str) -> None:
    desk.sidecar.write_bytes(DAMAGED[kind])
    desk.stamp_record(desk.sidecar)
    assert (desk.state(), desk.recorded()) == ("stale", None)
    desk.write_sidecar()
    assert (desk.state(), desk.recorded()) == ("uploaded", HASH)


def test_a_sidecar_with_another_hash_is_ours_and_is_replaced(desk: Desk) -> None:
    desk.write_sidecar(OTHER_HASH)
    assert desk.recorded() == OTHER_HASH
    desk.write_sidecar(HASH)
    assert desk.recorded() == HASH


def test_a_whole_line_for_another_name_is_ours_and_is_replaced(desk: Desk) -> None:
    """Both were renamed or copied together."""
    desk.sidecar.write_bytes(sidecar_line("other.jpg", OTHER_HASH))
    desk.write_sidecar()
    assert (desk.state(), desk.recorded()) == ("uploaded", HASH)
    desk.sidecar.write_bytes(sidecar_line("other.jpg", OTHER_HASH))
    desk.write_note()
    assert desk.names == {NAME, NAME + NOTE}


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (sidecar_line(NAME, HASH), "uploaded"),
        (sidecar_line(NAME[::-1], HASH), "stale"),
        (b"-" * len(sidecar_line(NAME, HASH)), "stale"),
        (sidecar_line("longer than that.jpg", HASH), "stale"),
    ],
)
def test_a_sidecar_that_looks_current_is_so_only_with_the_images_name_if_it_is_read(
    desk: Desk, line: bytes, state: str
) -> None:
    desk.sidecar.write_bytes(line)
    desk.stamp_record(desk.sidecar)
    image = desk.image.stat()
    with opened_folder(desk.folder) as fd:
        assert state_beside(image, NAME, fd, read=True) == state
        by_stat = "uploaded" if len(line) == len(sidecar_line(NAME, HASH)) else "stale"
        assert state_beside(image, NAME, fd) == by_stat


def test_one_that_looks_current_and_cannot_be_read_is_believed(desk: Desk) -> None:
    desk.write_sidecar()
    desk.sidecar.chmod(0)
    with without_override(), opened_folder(desk.folder) as fd:
        assert state_beside(desk.image.stat(), NAME, fd, read=True) == "uploaded"


def test_no_sidecar_is_current_beside_an_empty_image(desk: Desk) -> None:
    """As after a power cut, which took the image and left its record."""
    desk.write_sidecar()
    assert desk.state() == "uploaded"
    os.truncate(desk.image, 0)
    desk.write_sidecar()
    assert desk.state() == "stale"


def test_a_record_that_goes_between_two_looks_is_none_and_not_anothers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:

    def late(name: str, folder: int) -> int:
        os.unlink(name, dir_fd=folder)
        return open_regular(name, folder)

    monkeypatch.setattr(record, "open_regular", late)
    desk.write_sidecar()
    assert desk.recorded() is None
    desk.write_note()
    with opened_folder(desk.folder) as fd:
        assert note_of(NAME, fd) == "none"


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_is_never_current_and_never_overwritten(desk: Desk, kind: str) -> None:
    FOREIGN[kind](desk.sidecar)
    desk.stamp_record(desk.sidecar)
    before = fingerprint(desk.sidecar)
    assert desk.state() == "stale"
    with pytest.raises(ForeignRecord):
        desk.recorded()
    with pytest.raises(ForeignRecord):
        desk.write_sidecar()
    desk.remove_sidecar()
    desk.write_note()
    assert fingerprint(desk.sidecar) == before
    assert desk.state() == "rejected"
    assert desk.names == {NAME, NAME + SIDECAR, NAME + NOTE}
    outside = desk.folder.parent / "outside"
    assert not outside.exists() or outside.read_bytes() in {LINE, b"somebody's"}


def test_what_turns_up_in_the_very_moment_of_writing_is_not_overwritten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = record._lstat

    def look_and_plant(name: str, folder: int) -> os.stat_result | None:
        found = look(name, folder)
        if name == NAME + SIDECAR:
            desk.sidecar.write_bytes(b"planted")
        return found

    monkeypatch.setattr(record, "_lstat", look_and_plant)
    with pytest.raises(FileExistsError):
        desk.write_sidecar()
    assert desk.sidecar.read_bytes() == b"planted"
    assert desk.names == {NAME, NAME + SIDECAR}


# Notes


def test_a_note_says_for_people_which_file_why_and_when(desk: Desk) -> None:
    desk.write_note("Why: it is a RAW file.\n\nWhat to do: export it.")
    text = desk.note.read_text()
    assert text.splitlines()[0].encode() + b"\n" == NOTE_TITLE
    assert f"File: {NAME}\n" in text
    assert "Why: it is a RAW file.\n\nWhat to do: export it.\n" in text
    assert "2024-05-17 09:30:00 UTC" in text
    assert desk.note.stat().st_mtime_ns == desk.image.stat().st_mtime_ns
    assert desk.state() == "rejected"


@pytest.mark.parametrize("raw", HARD_NAMES)
def test_a_note_is_plain_text_whatever_the_name(tmp_path: Path, raw: bytes) -> None:
    if len(raw + NOTE.encode()) > NAME_MAX:
        pytest.skip("this name has no room for a note")
    desk = Desk(tmp_path, os.fsdecode(raw))
    desk.image.write_bytes(b"")
    desk.write_note()
    lines = desk.note.read_text(encoding="utf-8").split("\n")
    assert len([line for line in lines if line.startswith("File: ")]) == 1
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 10


def test_sidecar_and_note_take_each_others_place(desk: Desk) -> None:
    desk.write_sidecar()
    desk.write_note()
    assert desk.names == {NAME, NAME + NOTE}
    desk.write_sidecar()
    assert desk.names == {NAME, NAME + SIDECAR}


@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if "line" not in kind])
def test_a_note_never_goes_over_a_foreign_file(desk: Desk, kind: str) -> None:
    desk.write_sidecar()
    change_after(desk.image, desk.sidecar.stat().st_ctime_ns)
    FOREIGN[kind](desk.note)
    before = fingerprint(desk.note)
    with pytest.raises(ForeignRecord):
        desk.write_note()
    desk.remove_note()
    assert fingerprint(desk.note) == before
    desk.write_sidecar()  # an image that is accepted does not care
    assert desk.state() == "uploaded"
    assert fingerprint(desk.note) == before


@pytest.mark.parametrize("text", [b"", NOTE_TITLE[:10], NOTE_TITLE, NOTE_TITLE + b"edited"])
def test_a_note_of_ours_is_replaced_and_taken_away_even_if_torn(desk: Desk, text: bytes) -> None:
    desk.note.write_bytes(text)
    desk.write_note()
    assert desk.note.read_bytes().startswith(NOTE_TITLE + b"\n")
    desk.note.write_bytes(text)
    desk.write_sidecar()
    assert desk.names == {NAME, NAME + SIDECAR}


def test_what_is_not_there_can_be_removed(desk: Desk) -> None:
    desk.remove_note()
    desk.remove_sidecar()
    assert desk.names == {NAME}


# Modes and groups


@pytest.mark.parametrize(
    ("image", "sidecar"),
    [
        (0o600, 0o600),
        (0o640, 0o640),
        (0o644, 0o644),
        (0o664, 0o644),
        (0o777, 0o644),
        (0o604, 0o604),
        (0o444, 0o644),
    ],
)
def test_whoever_may_read_the_image_may_read_its_record_and_nobody_else(
    desk: Desk, image: int, sidecar: int
) -> None:
    desk.image.chmod(image)
    umask = os.umask(0o077)
    try:
        desk.write_sidecar()
        assert stat.S_IMODE(desk.sidecar.stat().st_mode) == sidecar
        desk.write_note()
        assert stat.S_IMODE(desk.note.stat().st_mode) == sidecar
    finally:
        os.umask(umask)


def test_a_record_has_the_group_that_the_folder_gives(desk: Desk) -> None:
    if not ROOT:
        pytest.skip("needs root, to give a folder to a group that one is not in")
    os.chown(desk.folder, -1, 4242)
    desk.folder.chmod(0o2775)
    desk.write_sidecar()
    assert desk.sidecar.stat().st_gid == 4242
    desk.write_note()
    assert desk.note.stat().st_gid == 4242


# Mirrors


def test_a_mirrored_record_is_current_by_the_same_rules(desk: Desk, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    desk.write_sidecar(into=mirror)
    assert desk.names == {NAME}
    with opened_folder(mirror) as fd:
        assert state_of(desk.image.stat(), NAME, fd) == "uploaded"
        assert recorded_hash(NAME, fd) == HASH
    change_after(desk.image, (mirror / (NAME + SIDECAR)).stat().st_ctime_ns)
    with opened_folder(mirror) as fd:
        assert state_of(desk.image.stat(), NAME, fd) == "stale"


# What cannot be written


def fill_desk(folder: Path) -> None:
    (folder / NAME).write_bytes(b"image")


@pytest.mark.parametrize("kind", ["sidecar", "note"])
def test_a_folder_that_cannot_be_written_to_is_said_so_and_nothing_is_left_behind(
    tmp_path: Path, kind: str
) -> None:
    with made_read_only(tmp_path / "share", fill_desk) as folder:
        desk = Desk(folder)
        with pytest.raises(RecordUnwritable, match=r"cannot write 'a\.jpg\.(sha256|rejected)"):
            (desk.write_sidecar if kind == "sidecar" else desk.write_note)()
        assert desk.names == {NAME}


def test_a_record_that_cannot_be_removed_is_said_so(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        fill_desk(folder)
        Desk(folder).write_note()

    with made_read_only(tmp_path / "share", fill) as folder:
        with pytest.raises(RecordUnwritable):
            Desk(folder).write_sidecar()
        assert Desk(folder).names == {NAME, NAME + NOTE}


@pytest.mark.parametrize("kind", ["sidecar", "note"])
@pytest.mark.parametrize("lacking", ["space", "inodes"])
def test_a_full_file_system_leaves_the_old_record_and_no_temporary_file(
    tmp_path: Path, kind: str, lacking: str
) -> None:
    options = "size=32k" if lacking == "space" else "size=1m,nr_inodes=4"
    with mounted(tmp_path / "share", options) as folder:
        fill_desk(folder)
        desk = Desk(folder)
        desk.sidecar.write_bytes(b"")
        filler = folder / "filler"
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012 - until it is full
            for number in range(1000):
                name = "filler" if lacking == "space" else f"filler{number}"
                with (folder / name).open("ab", buffering=0) as file:
                    if lacking == "space":
                        file.write(b"x" * 4096)
        before = desk.names
        with pytest.raises(RecordUnwritable, match="No space left"):
            desk.write_sidecar() if kind == "sidecar" else write_only_the_note(desk)
        assert desk.names == before
        assert desk.sidecar.read_bytes() == b""
        assert filler in set(folder.iterdir()) or lacking == "inodes"


def write_only_the_note(desk: Desk) -> None:
    """With a foreign sidecar, which stays, so that no place becomes free."""
    desk.sidecar.unlink()
    desk.sidecar.touch()
    stamp = stamp_of(desk.image.stat())
    with opened_folder(desk.folder) as fd:
        put_in_place(desk.note.name, NOTE_TITLE, over=False, stamp=stamp, mode=0o644, folder=fd)


def killed_in_the_middle(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a kill at the worst moment leaves: the temporary file."""
    with monkeypatch.context() as patch:
        patch.setattr(placing, "rename_to_free", lambda *_: os._exit(0))
        if (child := os.fork()) == 0:
            try:
                desk.write_sidecar()
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    (name,) = desk.names - {NAME}
    return desk.folder / name


def test_temporary_files_are_hidden_from_people_and_from_the_scan(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = killed_in_the_middle(desk, monkeypatch)
    assert TEMPORARY.fullmatch(left.name)
    assert Ignores().file(left.name) is not None
    assert desk.state() == "none"


@pytest.mark.parametrize("planted", [None, "text", "link", "hard link to another's file", "FIFO"])
def test_what_a_kill_left_behind_or_somebody_planted_is_cleared_by_the_next_write(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, planted: str | None
) -> None:
    left = killed_in_the_middle(desk, monkeypatch)
    if planted:
        left.unlink()
        FOREIGN[planted](left)
    outside = desk.folder.parent / "outside"
    before = outside.read_bytes() if outside.exists() else None
    desk.write_sidecar()
    assert desk.names == {NAME, NAME + SIDECAR}
    assert desk.sidecar.read_bytes() == LINE
    assert (outside.read_bytes() if outside.exists() else None) == before


@pytest.mark.parametrize("kind", ["sidecar", "note"])
def test_a_folder_planted_under_the_temporary_name_keeps_no_record_from_being_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    record_file = desk.sidecar if kind == "sidecar" else desk.note
    left = desk.folder / temporary(record_file.name)
    left.mkdir()
    (left / "somebody's").write_text("file")
    write = desk.write_sidecar if kind == "sidecar" else desk.write_note
    names: list[str] = []
    open_new = placing._open_new

    def noting_names(name: str, folder: int) -> tuple[int, str]:
        fd, name = open_new(name, folder)
        names.append(name)
        return fd, name

    monkeypatch.setattr(placing, "_open_new", noting_names)
    for _ in range(2):
        write()
        assert desk.state() == ("uploaded" if kind == "sidecar" else "rejected")
        assert desk.names == {NAME, record_file.name, left.name}
    assert all(Ignores().file(name) is not None for name in names)
    assert len(set(names)) == 2
    (desk.remove_sidecar if kind == "sidecar" else desk.remove_note)()
    assert desk.names == {NAME, left.name}
    assert [path.name for path in left.iterdir()] == ["somebody's"]


def test_a_file_system_that_refuses_modes_still_takes_records(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", refuse)  # as SMB mounts do
    desk.write_sidecar()
    assert desk.state() == "uploaded"


def test_a_short_write_is_no_record(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda _fd, data: len(data) - 1)  # as at a quota's limit
    with pytest.raises(RecordUnwritable, match="No space left"):
        desk.write_sidecar()
    assert desk.names == {NAME}


@pytest.mark.parametrize(
    ("code", "meaning"), [(errno.EIO, RecordUnwritable), (errno.EHOSTDOWN, RecordsGone)]
)
@pytest.mark.parametrize(
    "step",
    [
        lambda desk, _: desk.write_sidecar(),
        lambda desk, _: desk.write_note(),
        lambda desk, _: desk.remove_sidecar(),
        lambda desk, _: desk.remove_note(),
        lambda desk, fd: state_beside(desk.image.stat(), NAME, fd),
        lambda _, fd: claimed_before(0, NAME, fd, mtime_ns=0),
    ],
)
def test_a_file_system_that_answers_nothing_about_records_is_their_trouble(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    step: Callable[[Desk, int], object],
    code: int,
    meaning: type[Exception],
) -> None:
    """A folder on SMB is entered from what the kernel remembers, though the server is down."""

    def down(*_: object, **__: object) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    image = desk.image.stat()
    with opened_folder(desk.folder) as fd, monkeypatch.context() as patch:
        patch.setattr(type(desk.image), "stat", lambda _: image)
        patch.setattr(os, "stat", down)
        with pytest.raises(RecordUnwritable, match=os.strerror(code)) as raised:
            step(desk, fd)
    assert type(raised.value) is meaning
