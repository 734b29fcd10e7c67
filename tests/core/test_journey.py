"""One file's way, with real files and the service's stand-in: each outcome, and what it leaves.

What happens to a file on its way is in `test_journey_changes`.
"""

import errno
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tests.core.factories import HARD_NAMES, HASH, a_share, without_override
from tests.core.studio import (
    INCOMPLETE,
    LONG_AGO,
    SETTLE,
    Studio,
    beside,
    claim,
    everything,
    sha256,
    status,
)
from tests.end_to_end.pictures import REJECTED, picture
from watcher import journey, openfile, placing
from watcher.claims import REMEMBERED_SECONDS, SOONEST_SECONDS
from watcher.errors import FileUnreadable, RecordUnwritable, ServiceTrouble, ShareGone
from watcher.inspection import Source, Verdict, inspect
from watcher.outcomes import (
    AlreadyKnown,
    Changed,
    Gone,
    Held,
    NotSettled,
    Outcome,
    Rehearsed,
    Rejected,
    Standing,
    Uploaded,
)
from watcher.record import NOTE_TITLE
from watcher.rehearsal import Rehearsal
from watcher.sandbox import faults
from watcher.settling import HOLED, OPEN_SECONDS, TWICE
from watcher.tokens import GivenToken

# The usual ways


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_sent_and_recorded_and_not_touched(studio: Studio, form: str) -> None:
    content = picture(3, form)
    image = studio.drop("in/deep/a.jpg", content)
    before = status(image)
    outcome = studio.take("in/deep/a.jpg")
    assert isinstance(outcome, Uploaded)
    assert (outcome.sha256, outcome.size) == (sha256(content), len(content))
    assert (outcome.image.format, outcome.image.width, outcome.image.height) == (
        form.lower(),
        64,
        48,
    )
    assert studio.service.uploads[outcome.sha256].count == 1
    assert claim(image) == outcome.sha256
    assert status(image) == before
    assert studio.take("in/deep/a.jpg") == Standing(rejected=False)
    assert studio.service.counters["HEAD /upload"] == studio.posts == 1


@pytest.mark.parametrize("raw", HARD_NAMES)
def test_a_name_makes_no_difference(studio: Studio, raw: bytes) -> None:
    name = os.fsdecode(raw)
    image = studio.drop(f"{name}/{name}", picture())
    assert isinstance(studio.take(f"{name}/{name}"), Uploaded)
    assert claim(image) == sha256(picture())


def test_content_that_the_service_has_is_not_sent(studio: Studio) -> None:
    image = studio.drop("a.jpg", picture())
    studio.service.add_known(sha256(picture()))
    outcome = studio.take("a.jpg")
    assert isinstance(outcome, AlreadyKnown)
    assert outcome.how == "asked"
    assert claim(image) == sha256(picture())
    assert not studio.posts


def test_a_sidecar_whose_stamp_alone_is_old_is_stamped_again_if_the_service_agrees(
    studio: Studio,
) -> None:
    image = studio.drop("a.jpg", picture())
    studio.take("a.jpg")
    asked = len(studio.service.requests)
    os.utime(image)
    studio.clock.advance(REMEMBERED_SECONDS)
    outcome = studio.take("a.jpg")
    assert isinstance(outcome, AlreadyKnown)
    assert outcome.how == "asked"
    assert studio.take("a.jpg") == Standing(rejected=False)
    assert len(studio.service.requests) == asked + 1


def test_a_right_hash_that_somebody_else_wrote_does_not_say_that_the_service_has_it(
    studio: Studio,
) -> None:
    image = studio.drop("a.jpg", picture())
    beside(image).write_text(f"{sha256(picture())}  a.jpg\n")
    assert isinstance(studio.take("a.jpg"), Uploaded)
    assert claim(image) == sha256(picture())


@pytest.mark.parametrize("text", [b"", b"d4d4", f"{HASH}  a.jpg\n".encode()])
def test_a_sidecar_that_is_torn_or_lies_is_not_believed(studio: Studio, text: bytes) -> None:
    image = studio.drop("a.jpg", picture())
    beside(image).write_bytes(text)
    assert isinstance(studio.take("a.jpg"), Uploaded)
    assert claim(image) == sha256(picture())


@pytest.mark.parametrize(("name", "rejection"), REJECTED.items(), ids=REJECTED)
def test_what_is_no_image_for_the_service_gets_a_note_and_is_never_sent(
    studio: Studio, name: str, rejection: tuple[bytes, str]
) -> None:
    content, reason = rejection
    image = studio.drop(name, content)
    before = status(image)
    outcome = studio.take(name)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason
    note = beside(image, ".rejected.txt").read_bytes()
    assert note.startswith(NOTE_TITLE)
    assert f"File: {name}\n".encode() in note
    assert status(image) == before
    assert studio.take(name) == Standing(rejected=True)
    assert not studio.service.requests
    image.write_bytes(picture(8))
    assert isinstance(studio.take(name), Uploaded)
    assert not beside(image, ".rejected.txt").exists()


@pytest.mark.parametrize("code", [400, 413, 415, 422])
def test_what_the_service_refuses_gets_a_note_with_its_words(studio: Studio, code: int) -> None:
    image = studio.drop("a.jpg", picture())
    studio.service.fault(faults.Status(code), method="POST")
    assert studio.take("a.jpg") == Rejected("refused_by_service", "Told to fail")
    assert b"It says: Told to fail" in beside(image, ".rejected.txt").read_bytes()
    assert not beside(image).exists()
    beside(image, ".rejected.txt").unlink()
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_a_hash_of_other_content_is_never_written_down(studio: Studio) -> None:
    image = studio.drop("a.jpg", picture())
    studio.service.fault(faults.OtherHash(), method="POST")
    with pytest.raises(ServiceTrouble, match="hash of other content"):
        studio.take("a.jpg")
    assert not beside(image).exists()
    assert isinstance(studio.take("a.jpg"), AlreadyKnown)


def test_an_answer_that_is_lost_costs_a_question_and_no_second_upload(studio: Studio) -> None:
    studio.drop("a.jpg", picture())
    studio.service.fault(faults.DieAfterWork(), method="POST")
    with pytest.raises(ServiceTrouble):
        studio.take("a.jpg")
    assert isinstance(studio.take("a.jpg"), AlreadyKnown)
    assert studio.service.uploads[sha256(picture())].count == 1


def test_a_file_that_waits_for_the_service_is_not_read_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = studio.drop("a.jpg", picture())
    studio.service.fault(faults.Status(503), method="HEAD")
    with pytest.raises(ServiceTrouble):
        studio.take("a.jpg")
    with monkeypatch.context() as patch:
        patch.delattr(journey, "inspect")
        assert isinstance(studio.take("a.jpg"), Uploaded)
    image.write_bytes(picture(2))
    assert isinstance(studio.take("a.jpg"), Uploaded)
    assert claim(image) == sha256(picture(2))


def test_what_is_gone_or_no_file_is_left_alone(studio: Studio) -> None:
    (studio.root / "folder.jpg").mkdir()
    (studio.root / "link.jpg").symlink_to("/etc/hostname")
    os.mkfifo(studio.root / "fifo.jpg")
    for path in ("a.jpg", "no/a.jpg", "folder.jpg", "link.jpg", "fifo.jpg", "link.jpg/a.jpg"):
        assert studio.take(path) == Gone()
    assert len(list(studio.root.iterdir())) == 3


# Names


@pytest.mark.parametrize("content", [picture(), b"no image"])
def test_a_name_too_long_for_a_sidecar_is_rejected_in_the_log_alone(
    studio: Studio, content: bytes
) -> None:
    name = "n" * 245 + ".jpg"
    studio.drop(name, content)
    assert studio.take(name) == Rejected("name_too_long", "249 bytes", noted=False)
    assert [path.name for path in studio.root.iterdir()] == [name]


def test_a_name_too_long_for_a_note_can_still_be_sent_or_rejected(studio: Studio) -> None:
    name = "n" * 244 + ".jpg"
    image = studio.drop(name, b"no image")
    assert isinstance(studio.take(name), Rejected)
    assert [path.name for path in studio.root.iterdir()] == [name]
    image.write_bytes(picture())
    assert isinstance(studio.take(name), Uploaded)
    assert claim(image) == sha256(picture())


# Settled?


def quiet(studio: Studio, image: Path) -> None:
    """From now on the clock is exactly that of the image's last change."""
    studio.clock.wall_ns = image.stat().st_ctime_ns


def test_a_file_is_left_alone_until_it_has_been_quiet(studio: Studio) -> None:
    image = studio.drop("a.jpg", picture())
    quiet(studio, image)
    studio.clock.advance(SETTLE / 4)
    assert studio.take("a.jpg") == NotSettled("quiet_time", SETTLE * 3 / 4)
    image.write_bytes(picture(2))
    quiet(studio, image)
    assert studio.take("a.jpg") == NotSettled("quiet_time", SETTLE)
    studio.clock.advance(SETTLE)
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_a_file_that_is_open_for_writing_waits_until_its_writer_is_through(
    studio: Studio,
) -> None:
    image = studio.drop("a.jpg", picture())
    with image.open("r+b"):
        for _ in range(3):
            assert studio.take("a.jpg") == NotSettled("being_written", SETTLE)
            studio.clock.advance(OPEN_SECONDS / 4)
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_a_file_that_stays_open_for_an_hour_without_a_change_is_as_any_other(
    studio: Studio,
) -> None:
    """As a program does it that never closes it, or an NFS 4 client that has a delegation."""
    image = studio.drop("a.jpg", picture())
    with image.open("r+b") as file:
        studio.take("a.jpg")
        studio.clock.advance(OPEN_SECONDS)
        file.write(picture(2))  # so it begins anew
        file.flush()
        assert studio.take("a.jpg") == NotSettled("being_written", SETTLE)
        studio.clock.advance(OPEN_SECONDS)
        assert isinstance(studio.take("a.jpg"), Uploaded)


def test_where_the_kernel_cannot_say_who_writes_the_quiet_is_watched_twice(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openfile, "writers", lambda _fd: "unknown")
    studio.drop("a.jpg", picture())
    assert studio.take("a.jpg") == NotSettled("quiet_time", TWICE * SETTLE)
    studio.clock.advance(TWICE * SETTLE - 1)
    assert studio.take("a.jpg") == NotSettled("quiet_time", 1)
    studio.clock.advance(1)
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_a_hole_lengthens_the_wait_and_no_more(studio: Studio) -> None:
    image = studio.drop("a.tif", picture(1, "TIFF"))
    os.truncate(image, 100_000)
    quiet(studio, image)
    studio.clock.advance(SETTLE)
    assert studio.take("a.tif") == NotSettled("quiet_time", (HOLED - 1) * SETTLE)
    studio.clock.advance((HOLED - 1) * SETTLE)
    assert isinstance(studio.take("a.tif"), Uploaded)


def test_where_nobody_can_say_who_writes_a_hole_is_waited_out_as_a_missing_end_is(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openfile, "writers", lambda _fd: "unknown")
    image = studio.drop("a.tif", picture(1, "TIFF"))
    os.truncate(image, 100_000)
    for _ in range(3):
        outcome = studio.take("a.tif")
        assert isinstance(outcome, NotSettled)
        assert outcome.reason == "being_written"
        studio.clock.advance(INCOMPLETE / 3)
    assert isinstance(studio.take("a.tif"), Uploaded)


def test_an_end_that_is_missing_is_waited_for_and_at_last_said_to_be_missing(
    studio: Studio,
) -> None:
    image = studio.drop("a.jpg", picture()[:-2])
    outcome = studio.take("a.jpg")
    assert isinstance(outcome, NotSettled)
    assert outcome.reason == "incomplete"
    assert 0 < outcome.seconds < INCOMPLETE
    assert not beside(image, ".rejected.txt").exists()
    studio.clock.advance(INCOMPLETE)
    rejected = studio.take("a.jpg")
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "incomplete"
    with image.open("ab") as file:
        file.write(picture()[-2:])
    assert isinstance(studio.take("a.jpg"), Uploaded)
    assert [path.name for path in sorted(studio.root.iterdir())] == ["a.jpg", "a.jpg.sha256"]


# Trouble with the file, the share or the record


@pytest.mark.parametrize(
    ("code", "error"), [(errno.EIO, FileUnreadable), (errno.ESTALE, ShareGone)]
)
@pytest.mark.parametrize("place", [(openfile, "writers"), (journey, "inspect")])
def test_a_file_that_cannot_be_read_is_said_to_be_so(
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[ModuleType, str],
    code: int,
    error: type[Exception],
) -> None:
    def bad_sector(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    studio.drop("a.jpg", picture())
    with monkeypatch.context() as patch:
        patch.setattr(*place, bad_sector)
        with pytest.raises(error, match=os.strerror(code)):
            studio.take("a.jpg")
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_a_file_that_may_not_be_read_is_said_to_be_so(studio: Studio) -> None:
    image = studio.drop("a.jpg", picture())
    image.chmod(0)
    with without_override(), pytest.raises(FileUnreadable, match="Permission denied"):
        studio.take("a.jpg")
    image.chmod(0o600)
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_a_share_that_is_gone_concludes_nothing(studio: Studio, tmp_path: Path) -> None:
    studio.drop("a.jpg", picture())
    studio.root.rename(tmp_path / "unmounted")
    with pytest.raises(ShareGone):
        studio.take("a.jpg")
    (tmp_path / "unmounted").rename(studio.root)
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_an_upload_whose_sidecar_cannot_be_written_is_not_lost(
    tmp_path: Path, studio: Studio
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    studio.share = a_share(studio.root, mirror=str(mirror))
    studio.drop("in/a.jpg", picture())
    studio.when("sent", mirror.rmdir)
    with pytest.raises(RecordUnwritable):
        studio.take("in/a.jpg")
    studio.clock.advance(LONG_AGO)  # or it would be known from the claims
    mirror.mkdir()
    outcome = studio.take("in/a.jpg")
    assert isinstance(outcome, AlreadyKnown)
    assert studio.service.uploads[sha256(picture())].count == 1
    assert claim(mirror / "in" / "a.jpg") == sha256(picture())
    assert [path.name for path in (studio.root / "in").iterdir()] == ["a.jpg"]


FOREIGN: dict[str, Callable[[Path], object]] = {
    "text": lambda place: place.write_bytes(b"my own list\n"),
    "folder": lambda place: place.mkdir(),
    "link": lambda place: place.symlink_to(place.parent.parent / "outside"),
    "FIFO": os.mkfifo,
}


@pytest.mark.parametrize("moment", ["before", "hashed", "sent", "recording"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_under_a_sidecars_name_is_told_and_never_overwritten(
    studio: Studio, kind: str, moment: str
) -> None:
    image = studio.drop("a.jpg", picture())
    (studio.root.parent / "outside").write_bytes(b"outside")

    def plant() -> None:
        FOREIGN[kind](beside(image))

    if moment == "before":
        plant()
    else:
        studio.when(moment, plant)
        assert studio.take("a.jpg") == Changed()
    planted = beside(image).lstat()
    outcome = studio.take("a.jpg")
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "foreign_sidecar"
    assert b"a.jpg" in beside(image, ".rejected.txt").read_bytes()
    assert beside(image).lstat() == planted
    assert (studio.root.parent / "outside").read_bytes() == b"outside"
    assert studio.take("a.jpg") == Standing(rejected=True)
    if kind == "folder":
        beside(image).rmdir()
    else:
        beside(image).unlink()
    beside(image, ".rejected.txt").unlink()
    assert isinstance(studio.take("a.jpg"), Uploaded | AlreadyKnown)
    assert claim(image) == sha256(picture())


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_under_a_notes_name_stays(studio: Studio, kind: str) -> None:
    image = studio.drop("a.jpg", b"no image")
    note = beside(image, ".rejected.txt")
    (studio.root.parent / "outside").write_bytes(b"outside")
    FOREIGN[kind](note)
    planted = note.lstat()
    assert isinstance(studio.take("a.jpg"), Rejected)
    image.write_bytes(picture())
    assert isinstance(studio.take("a.jpg"), Uploaded)
    assert note.lstat() == planted
    assert (studio.root.parent / "outside").read_bytes() == b"outside"


# Once


def test_equal_content_under_way_is_waited_for_and_then_not_even_asked_for(
    studio: Studio,
) -> None:
    content, organization = picture(), studio.service.organization
    image = studio.drop("copy.jpg", content)
    with studio.claims.claim(sha256(content), organization):
        outcome = studio.take("copy.jpg")
        assert outcome == NotSettled("equal_content_under_way", SOONEST_SECONDS)
        studio.claims.done(sha256(content), organization)
    done = studio.take("copy.jpg")
    assert isinstance(done, AlreadyKnown)
    assert done.how == "equal_content"
    assert claim(image) == sha256(content)
    assert not studio.service.requests


def test_of_two_equal_files_one_is_sent_and_one_is_known(studio: Studio) -> None:
    for path in ("a.jpg", "in/b.jpg"):
        studio.drop(path, picture())
    assert isinstance(studio.take("a.jpg"), Uploaded)
    assert isinstance(studio.take("in/b.jpg"), AlreadyKnown)
    assert [seen.method for seen in studio.service.requests] == ["HEAD", "POST"]


def test_equal_content_of_the_organization_that_was_chosen_at_an_earlier_login_is_asked_for(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.share = replace(studio.share, organization="")
    for number, (chosen, how) in enumerate(
        [("first", None), ("first", "equal_content"), ("second", "asked")]
    ):
        monkeypatch.setattr(GivenToken, "organization", chosen)
        studio.drop(f"{number}.jpg", picture())
        outcome = studio.take(f"{number}.jpg")
        assert (outcome.how if isinstance(outcome, AlreadyKnown) else None) == how
    assert studio.service.counters["HEAD /upload"] == 2


@pytest.mark.parametrize(
    ("content", "times"),
    [(picture(), 1), (picture(form="TIFF", size=(300, 300)), 2), (picture()[:-2], 2)],
    ids=["small", "large", "incomplete"],
)
def test_what_equal_content_is_is_remembered_of_small_images(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, content: bytes, times: int
) -> None:
    inspected: list[Source] = []

    def counted(source: Source) -> Verdict:
        inspected.append(source)
        return inspect(source)

    monkeypatch.setattr(journey, "inspect", counted)
    studio.clock.wall_ns += int(INCOMPLETE * 1e9)
    for path in ("a.jpg", "b.jpg"):
        studio.drop(path, content)
    first, second = studio.take("a.jpg"), studio.take("b.jpg")
    assert len(inspected) == times
    match first, second:
        case Uploaded(), AlreadyKnown():
            assert first.image == second.image
        case _:
            assert first == second
            assert isinstance(first, Rejected)


def test_a_claim_ends_with_the_journey_however_that_ends(studio: Studio) -> None:
    studio.drop("a.jpg", picture())
    studio.service.fault(faults.Status(503), method="POST")
    with pytest.raises(ServiceTrouble):
        studio.take("a.jpg")
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_nothing_is_asked_while_the_service_is_to_be_left_alone(studio: Studio) -> None:
    image = studio.drop("a.jpg", picture())
    studio.drop("b.jpg", b"no image")
    studio.admitted = False
    assert studio.take("a.jpg") == Held()
    assert not studio.service.requests
    assert not beside(image).exists()
    assert isinstance(studio.take("b.jpg"), Rejected)  # which needs no service
    studio.admitted = True
    assert isinstance(studio.take("a.jpg"), Uploaded)


def test_a_place_among_the_uploads_is_held_while_sending_and_no_longer(studio: Studio) -> None:
    class Places:
        taken = 0
        at: list[int]

        def __enter__(self) -> bool:
            self.taken += 1
            return True

        def __exit__(self, *_: object) -> None:
            self.taken -= 1

    places = Places()
    places.at = []
    studio.journey = studio.new_journey(places)
    for moment in ("hashed", "known?", "half_sent"):
        studio.meddling.do(moment, lambda: places.at.append(places.taken))
    studio.drop("a.jpg", picture(size=(90, 90)))
    assert isinstance(studio.take("a.jpg"), Uploaded)
    assert (places.at, places.taken) == ([0, 0, 1], 0)


def test_who_is_abandoned_while_it_waits_to_read_a_large_file_does_not_read_it(
    studio: Studio,
) -> None:
    studio.drop("large.tif", picture(form="TIFF", size=(700, 700)))
    studio.drop("small.jpg", picture())
    studio.share.large_reads.abandon(threading.current_thread())
    assert studio.take("large.tif") == Held()
    assert studio.candidate("large.tif").hashed is None
    assert isinstance(studio.take("small.jpg"), Uploaded)


def test_who_is_abandoned_while_it_waits_to_send_sends_nothing(studio: Studio) -> None:
    studio.drop("a.jpg", picture())
    studio.share.uploads.abandon(threading.current_thread())
    assert studio.take("a.jpg") == Held()
    assert not studio.posts


def test_where_no_name_can_be_as_long_as_the_records_the_file_is_rejected_without_a_note(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: object) -> None:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))

    monkeypatch.setattr(placing, "rename_to_free", too_long)
    image = studio.drop("a.jpg", picture())
    outcome = studio.take("a.jpg")
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.noted) == ("name_too_long", False)
    studio.drop("b.jpg", b"no image")
    outcome = studio.take("b.jpg")
    assert isinstance(outcome, Rejected)
    assert not outcome.noted
    assert {path.name for path in image.parent.iterdir()} == {"a.jpg", "b.jpg"}


def test_a_file_with_a_hole_that_stays_open_is_not_taken_however_long(studio: Studio) -> None:
    image = studio.drop("a.tif", picture(1, "TIFF"))
    os.truncate(image, 100_000)
    with image.open("r+b"):
        for _ in range(3):
            outcome = studio.take("a.tif")
            assert isinstance(outcome, NotSettled)
            assert outcome.reason == "being_written"
            studio.clock.advance(OPEN_SECONDS)


# Rehearsed


def test_a_rehearsal_tells_all_and_touches_and_sends_nothing(studio: Studio) -> None:
    studio.drop("good.jpg", picture())
    studio.drop("bad.jpg", b"no image")
    studio.drop("arriving.jpg", picture()[:-2])
    studio.drop("n" * 249 + ".jpg", picture())
    studio.drop("foreign.jpg", picture())
    studio.drop("foreign.jpg.sha256", b"not ours")
    studio.drop("done.jpg", picture(5))
    studio.take("done.jpg")
    asked, before = len(studio.service.requests), everything(studio.root)
    rehearsal = studio.new_journey(nullcontext(enter_result=True), of=Rehearsal)

    def rehearse(path: str) -> Outcome:
        return rehearsal.take(studio.candidate(path))

    def would(path: str) -> object:
        outcome = rehearse(path)
        assert isinstance(outcome, Rehearsed)
        return outcome.would.reason if isinstance(outcome.would, Rejected) else outcome.size

    assert would("good.jpg") == len(picture())
    assert would("bad.jpg") == "not_an_image"
    assert would("n" * 249 + ".jpg") == "name_too_long"
    assert would("foreign.jpg") == "foreign_sidecar"
    assert rehearse("missing.jpg") == Gone()
    assert rehearse("done.jpg") == Standing(rejected=False)
    assert isinstance(rehearse("arriving.jpg"), NotSettled)
    assert everything(studio.root) == before
    assert len(studio.service.requests) == asked
