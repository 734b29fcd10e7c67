"""Files that were only renamed: the record follows without a look, or goes; it is never wrong."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.core.factories import HARD_NAMES, a_share, change_after
from tests.core.studio import Studio, beside, claim, sha256, state_beside, status
from tests.end_to_end.pictures import picture
from watcher import journey, openfile
from watcher.candidate import Candidate
from watcher.errors import FileUnreadable
from watcher.outcomes import (
    AlreadyKnown,
    Changed,
    Gone,
    NotSettled,
    Outcome,
    Rejected,
    Standing,
    Uploaded,
)
from watcher.record import LONGEST_NAME
from watcher.sandbox import Sandbox

OLD, NEW = "in/old.jpg", "out/new.jpg"
CONTENT, OTHER = picture(1), picture(2)
NOTE = ".rejected.txt"


class Renamed:
    """An image that was sent and recorded and then seen to be renamed."""

    def __init__(self, studio: Studio, old: str = OLD, new: str = NEW) -> None:
        self.studio, self.path = studio, new
        self.old = studio.drop(old, CONTENT)
        assert isinstance(studio.take(old), Uploaded | AlreadyKnown)
        self.new = studio.root / new
        self.new.parent.mkdir(parents=True, exist_ok=True)
        self.old.rename(self.new)
        self.candidate.moved_from, self.candidate.intact = old, time.time_ns()
        self.asked = len(studio.service.requests)

    @property
    def candidate(self) -> Candidate:
        return self.studio.candidate(self.path)

    @property
    def record(self) -> Path:
        """The record at the old name."""
        return beside(self.old)

    def take(self) -> Outcome:
        return self.studio.take(self.path)

    def come_to_its_end(self) -> Outcome:
        """As the daemon would; the old record stays until then."""
        for _ in range(5):
            match outcome := self.take():
                case NotSettled(_, seconds):
                    self.studio.clock.advance(seconds)
                case Changed():
                    pass
                case _:
                    return outcome
            assert self.record.exists()
        raise AssertionError(f"it never comes to rest: {outcome}")

    def replant(self, content: bytes) -> None:
        """Other content in the old record, with its time."""
        modified = self.record.stat().st_mtime_ns
        self.record.write_bytes(content)
        os.utime(self.record, ns=(modified, modified))

    def asked_nothing(self) -> bool:
        return len(self.studio.service.requests) == self.asked


@pytest.fixture
def renamed(studio: Studio) -> Renamed:
    return Renamed(studio)


RENAMED = AlreadyKnown(None, sha256(CONTENT), len(CONTENT), how="renamed")


def test_a_file_that_was_only_renamed_keeps_its_record_unread(
    renamed: Renamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = status(renamed.new)
    with monkeypatch.context() as patch:
        patch.delattr(journey, "inspect")
        patch.delattr(openfile.Digest, "finish")
        assert renamed.take() == RENAMED
    assert renamed.asked_nothing()
    assert status(renamed.new) == before
    assert claim(renamed.new) == sha256(CONTENT)
    assert state_beside(renamed.new) == "uploaded"
    assert not list(renamed.old.parent.iterdir())
    assert renamed.candidate.moved_from is None
    assert renamed.take() == Standing(rejected=False)


@pytest.mark.parametrize("raw", HARD_NAMES)
def test_its_names_make_no_difference(studio: Studio, raw: bytes) -> None:
    name = os.fsdecode(raw)
    for old, new in ((f"a/{name}", "b/usual.jpg"), ("b/usual.jpg", f"b/{name}")):
        renamed = Renamed(studio, old, new)
        assert renamed.take() == RENAMED
        assert claim(renamed.new) == sha256(CONTENT)
        assert not renamed.record.exists()
        renamed.new.unlink()
        beside(renamed.new).unlink()


def test_a_file_renamed_over_another_takes_that_ones_record(studio: Studio) -> None:
    studio.drop(NEW, OTHER)
    assert isinstance(studio.take(NEW), Uploaded)
    renamed = Renamed(studio)
    assert renamed.take() == RENAMED
    assert claim(renamed.new) == sha256(CONTENT)
    studio.assert_no_false_record()


# Not carried: it is looked at like any other


def content_changed_too(renamed: Renamed) -> None:
    renamed.candidate.intact = 0


def record_has_another_time(renamed: Renamed) -> None:
    os.utime(renamed.record, ns=(1, 1))


def record_is_torn(renamed: Renamed) -> None:
    renamed.replant(renamed.record.read_bytes()[:-4])


CASES: tuple[Callable[[Renamed], None], ...] = (
    content_changed_too,
    record_has_another_time,
    record_is_torn,
)


@pytest.mark.parametrize("case", CASES)
def test_a_record_that_may_not_be_the_files_is_not_believed_and_goes(
    renamed: Renamed, case: Callable[[Renamed], None]
) -> None:
    case(renamed)
    outcome = renamed.come_to_its_end()
    assert isinstance(outcome, AlreadyKnown)
    assert outcome.how == "equal_content"
    assert outcome.image is not None
    assert claim(renamed.new) == sha256(CONTENT)
    assert not renamed.record.exists()


def test_a_foreign_file_at_the_old_records_place_is_not_believed_and_stays(
    renamed: Renamed,
) -> None:
    foreign = b"x" * len(renamed.record.read_bytes())
    renamed.replant(foreign)
    outcome = renamed.come_to_its_end()
    assert isinstance(outcome, AlreadyKnown)
    assert outcome.how == "equal_content"
    assert renamed.record.read_bytes() == foreign


def test_a_record_that_another_image_got_since_is_not_carried(renamed: Renamed) -> None:
    """It came to the old name, got its record there, and went on; then this one, which nobody had
    looked at yet, was renamed once more. Both have the same time."""
    renamed.record.unlink()
    other = renamed.studio.drop(OLD, OTHER)
    os.utime(other, ns=(renamed.new.stat().st_mtime_ns,) * 2)
    assert isinstance(renamed.studio.take(OLD), Uploaded)
    other.unlink()
    renamed.new.rename(renamed.new.with_name("once more.jpg"))
    renamed.new.with_name("once more.jpg").rename(renamed.new)
    renamed.come_to_its_end()
    renamed.studio.assert_no_false_record()
    assert claim(renamed.new) == sha256(CONTENT)


def test_while_somebody_writes_nothing_is_carried(renamed: Renamed) -> None:
    with renamed.new.open("r+b") as file:
        outcome = renamed.take()
        assert isinstance(outcome, NotSettled)
        assert outcome.reason == "being_written"
        assert not beside(renamed.new).exists()
        assert renamed.record.exists()
        file.write(OTHER)
        file.truncate()
        os.utime(file.fileno(), ns=(1, renamed.record.stat().st_mtime_ns + 5_000_000_001))
    outcome = renamed.come_to_its_end()
    assert isinstance(outcome, Uploaded)
    assert claim(renamed.new) == outcome.sha256 == sha256(OTHER)
    assert not renamed.record.exists()


def test_where_nobody_can_say_who_writes_nothing_is_carried(
    renamed: Renamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openfile, "writers", lambda _: "unknown")
    outcome = renamed.come_to_its_end()
    assert isinstance(outcome, AlreadyKnown)
    assert outcome.how == "asked"
    assert not renamed.record.exists()


def test_an_old_name_that_is_taken_again_keeps_its_record(renamed: Renamed) -> None:
    renamed.old.write_bytes(OTHER)
    outcome = renamed.come_to_its_end()
    assert isinstance(outcome, AlreadyKnown)
    assert outcome.how == "equal_content"
    assert claim(renamed.old) == sha256(CONTENT)  # not current; the file's own look mends it
    assert state_beside(renamed.old) == "stale"
    assert isinstance(renamed.studio.take(OLD), Uploaded)
    renamed.studio.assert_no_false_record()


def test_a_foreign_file_at_the_new_records_place_rejects_it_in_the_end(renamed: Renamed) -> None:
    beside(renamed.new).write_bytes(b"my notes")
    assert renamed.take() == Changed()
    assert not renamed.candidate.intact
    outcome = renamed.take()
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "foreign_sidecar"
    assert beside(renamed.new).read_bytes() == b"my notes"
    assert not renamed.record.exists()


def test_a_new_name_too_long_for_a_record_is_rejected(studio: Studio) -> None:
    renamed = Renamed(studio, OLD, "n" * (LONGEST_NAME - 3) + ".jpg")
    outcome = renamed.come_to_its_end()
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "name_too_long"
    assert not renamed.record.exists()


@pytest.mark.parametrize("moment", ["opened", "recording", "recorded"])
def test_a_write_with_the_time_set_back_makes_no_false_record(
    renamed: Renamed, moment: str
) -> None:
    def rewrite() -> None:
        before = renamed.new.stat()
        renamed.new.write_bytes(OTHER)
        os.utime(renamed.new, ns=(1, before.st_mtime_ns))
        change_after(renamed.new, before.st_ctime_ns)
        renamed.candidate.intact = 0  # as its event does

    renamed.studio.when(moment, rewrite)
    assert renamed.take() == Changed()
    assert renamed.studio.meddling.all_done
    assert not beside(renamed.new).exists()
    assert isinstance(renamed.come_to_its_end(), Uploaded)
    assert not renamed.record.exists()
    renamed.studio.assert_no_false_record()


# Gone, or rejected before


def test_the_old_record_of_a_file_that_went_on_goes(renamed: Renamed) -> None:
    renamed.new.unlink()
    assert renamed.take() == Gone()
    assert not renamed.record.exists()
    assert renamed.candidate.moved_from is None


def test_the_old_record_of_a_file_that_came_back_stays(renamed: Renamed) -> None:
    renamed.new.rename(renamed.old)
    assert renamed.take() == Gone()
    assert claim(renamed.old) == sha256(CONTENT)


def test_an_old_folder_that_went_along_is_no_trouble(renamed: Renamed) -> None:
    renamed.record.unlink()
    renamed.old.parent.rmdir()
    assert isinstance(renamed.take(), AlreadyKnown)


def test_a_note_goes_from_the_old_name_and_comes_at_the_new(studio: Studio) -> None:
    old, new = studio.drop("a.jpg", b"no image"), studio.root / "b.jpg"
    assert isinstance(studio.take("a.jpg"), Rejected)
    old.rename(new)
    candidate = studio.candidate("b.jpg")
    candidate.moved_from, candidate.intact = "a.jpg", time.time_ns()
    assert isinstance(studio.take("b.jpg"), Rejected)
    assert beside(new, NOTE).exists()
    assert not beside(old, NOTE).exists()


# Mirrors


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Studio, Path]]:
    """A studio whose records are in a mirror, and that."""
    mirror = tmp_path / "records"
    mirror.mkdir()
    with Sandbox() as service:
        studio = Studio(tmp_path, service, monkeypatch, mirror=str(mirror))
        with studio.connection:
            yield studio, mirror


def test_a_record_in_a_mirror_is_carried_there(mirrored: tuple[Studio, Path]) -> None:
    studio, records = mirrored
    image = studio.drop(OLD, CONTENT)
    studio.take(OLD)
    (studio.root / "out").mkdir()
    image.rename(studio.root / NEW)
    candidate = studio.candidate(NEW)
    candidate.moved_from, candidate.intact = OLD, time.time_ns()
    assert studio.take(NEW) == RENAMED
    assert claim(records / NEW) == sha256(CONTENT)
    assert not list((records / "in").iterdir())
    # And on with the whole folder.
    (studio.root / "out").rename(studio.root / "in" / "there")
    studio.share.move_records("out", "in/there")
    assert studio.take("in/there/new.jpg") == Standing(rejected=False)


def test_a_record_in_a_mirror_goes_though_the_folder_of_its_image_went_too(
    mirrored: tuple[Studio, Path],
) -> None:
    studio, records = mirrored
    studio.drop(OLD, CONTENT)
    studio.take(OLD)
    shutil.rmtree(studio.root / "in")
    assert studio.take(OLD) == Gone()
    assert list((records / "in").iterdir())  # nothing is concluded from absence
    studio.candidate(OLD).vanished = True
    assert studio.take(OLD) == Gone()
    assert not list((records / "in").iterdir())


@pytest.mark.parametrize("before", [False, True])
def test_the_record_of_a_file_that_goes_just_when_it_was_looked_at_goes_too(
    studio: Studio, *, before: bool
) -> None:
    image = studio.drop(OLD, CONTENT)
    studio.take(OLD)
    os.utime(image)
    candidate = studio.candidate(OLD)
    candidate.vanished = before

    def goes() -> None:
        image.unlink()
        candidate.vanished = True  # by the observer, while the worker has it

    studio.when("looked", goes)
    assert studio.take(OLD) == Gone()
    assert not list(image.parent.iterdir())


def test_a_file_that_was_seen_to_go_and_cannot_be_looked_at_is_still_one_that_went(
    studio: Studio,
) -> None:
    image = studio.drop(OLD, CONTENT)
    studio.take(OLD)
    image.unlink()
    studio.candidate(OLD).vanished = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journey, "look", _denied)
        with pytest.raises(FileUnreadable):
            studio.take(OLD)
    assert studio.take(OLD) == Gone()
    assert not list(image.parent.iterdir())


def _denied(_name: str, _folder: int) -> os.stat_result:
    raise FileUnreadable("it cannot be read: Input/output error")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    mirror = tmp_path / "mirror"
    (mirror / "a" / "deep").mkdir(parents=True)
    (mirror / "a" / "deep" / "x.jpg.sha256").write_text("a's")
    return mirror


@pytest.mark.parametrize("target", ["b", "new/below/b", "left/empty"])
def test_a_folders_records_in_a_mirror_follow_it(tmp_path: Path, mirror: Path, target: str) -> None:
    (mirror / "left" / "empty").mkdir(parents=True)
    share = a_share(tmp_path / "share", mirror=str(mirror))
    assert share.move_records("a", target)
    assert (mirror / target / "deep" / "x.jpg.sha256").read_text() == "a's"
    assert not (mirror / "a").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_in_a_mirror_is_overwritten_by_records_that_follow(
    tmp_path: Path, mirror: Path, kind: str
) -> None:
    there = mirror / "b"
    if kind == "file":
        there.write_text("b's")
    elif kind == "link":
        there.symlink_to(tmp_path)
    else:
        there.mkdir()
        (there / "y.jpg.sha256").write_text("b's")
    before = there.lstat().st_ino
    assert not a_share(tmp_path / "share", mirror=str(mirror)).move_records("a", "b")
    assert there.lstat().st_ino == before
    assert kind != "file" or there.read_text() == "b's"
    assert kind != "folder" or [path.name for path in there.iterdir()] == ["y.jpg.sha256"]
    assert (mirror / "a" / "deep" / "x.jpg.sha256").read_text() == "a's"


@pytest.mark.parametrize("source", ["nothing", "a/nothing", "nothing/below"])
def test_records_that_are_not_there_need_not_follow(
    tmp_path: Path, mirror: Path, source: str
) -> None:
    assert not a_share(tmp_path / "share", mirror=str(mirror)).move_records(source, "b")
    assert [path.name for path in mirror.iterdir()] == ["a"]


def test_records_beside_the_images_went_along(tmp_path: Path) -> None:
    share = a_share(tmp_path / "share")
    (tmp_path / "share" / "a").mkdir()
    assert share.move_records("a", "b")
    assert [path.name for path in (tmp_path / "share").iterdir()] == ["a"]
