"""`retry`: our notes go, nothing else does, and the daemon looks again."""

import os
import shutil
from pathlib import Path

import pytest

from tests.commands.shares import Commands, beside
from tests.core.factories import made_read_only
from tests.core.studio import everything
from tests.end_to_end.fuse_share import FuseShare, needs_fuse
from tests.end_to_end.pictures import picture, raw
from tests.end_to_end.running import Installation
from watcher import settings
from watcher.commands import locate

NOTE = ".rejected.txt"
HOSTILE = os.fsdecode(b"[red]\xff\n.tif")


def rejected(installed: Installation, *names: str) -> list[Path]:
    images = [installed.drop(name, raw(seed)) for seed, name in enumerate(names)]
    assert installed.once().code == 1
    assert all(beside(image, NOTE).exists() for image in images)
    return images


def test_all_notes_of_a_share_go_and_the_next_run_looks_again(
    installed: Installation, commands: Commands
) -> None:
    images = rejected(installed, "a.tif", "Monday/b.tif", HOSTILE)
    good = installed.drop("good.jpg", picture())
    installed.once()
    done = installed.call("retry")
    assert (done.code, done.stderr) == (0, "")
    assert "3 rejected images are to be looked at again" in done.stdout
    assert "the next `run` looks" in done.stdout
    assert not any(beside(image, NOTE).exists() for image in images)
    assert beside(good).exists()
    assert len(installed.once().named("rejected")) == 3
    assert commands.retry()[0] == 0


def test_a_path_is_an_image_its_note_or_a_folder(
    installed: Installation, commands: Commands
) -> None:
    one, two, three, left = rejected(installed, "1.tif", "2.tif", "Monday/3.tif", "4.tif")
    code, out, err = commands.retry(one, beside(two, NOTE), installed.share / "Monday")
    assert (code, err) == (0, "")
    assert out.count("1 rejected image is") == 3
    assert [beside(each, NOTE).exists() for each in (one, two, three, left)] == [0, 0, 0, 1]


def test_a_running_daemon_looks_at_once(installed: Installation) -> None:
    with installed.daemon() as daemon:
        installed.drop("a.tif", raw())
        daemon.wait_for("rejected")
        done = installed.call("retry", str(installed.share / "a.tif"))
        assert (done.code, done.stderr) == (0, "")
        assert "the daemon runs and looks" in done.stdout
        daemon.wait_for("rejected", times=2)
        assert daemon.stop() == 0


def test_nothing_rejected_is_well_unless_a_path_says_otherwise(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("a.jpg", picture())
    ignored = installed.drop(".hidden/a.jpg", picture())
    code, out, err = commands.retry()
    assert (code, err) == (0, "")
    assert out.endswith(": no image has a note that says it was rejected.\n")
    code, _, err = commands.retry(image)
    assert code == 1
    assert "is not rejected; `explain` says what it is" in err
    code, _, err = commands.retry(ignored)
    assert code == 1
    assert "is ignored, not rejected" in err
    code, _, err = commands.retry(ignored.parent)
    assert code == 1
    assert "is ignored: built in" in err


def test_a_foreign_file_under_a_notes_name_stays(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("a.tif", raw())
    foreign = installed.drop("a.tif.rejected.txt", b"my own words")
    before = everything(installed.share)
    code, _, err = commands.retry(image)
    assert code == 1
    assert f"{foreign} was not written by this program: it stays" in err
    assert commands.retry()[0] == 0
    assert everything(installed.share) == before


def test_a_name_that_leaves_no_room_for_a_note_is_told(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("n" * 246 + ".jpg", picture())
    for paths, code in ((), 0), ((image,), 1):
        done, out, _ = commands.retry(*paths)
        assert done == code
        assert "1 with a name too long for a note beside it" in out
        assert "`status`, `explain` and the log say so" in out


def test_what_is_in_no_share_is_wrong_usage(commands: Commands) -> None:
    code, out, err = commands.retry("/etc")
    assert (code, out) == (2, "")
    assert err.startswith("autoretouch-watcher: /etc is in none of the shares: ")


def test_a_missing_share_does_not_hold_up_the_others(
    installed: Installation, commands: Commands
) -> None:
    (image,) = rejected(installed, "a.tif")
    gone = installed.folder / "gone"
    installed.configure(more=f'[[share]]\npath = "{gone}"\n')
    code, out, err = commands.retry()
    assert code == 1
    assert f"cannot enter {gone}" in err
    assert "1 rejected image is" in out
    assert not beside(image, NOTE).exists()


def test_notes_in_a_mirror_go_and_it_is_told_when_the_daemon_looks(
    installed: Installation, commands: Commands
) -> None:
    mirror = installed.folder / "mirror"
    mirror.mkdir()
    installed.configure(share=f'sidecars = "{mirror}"')
    installed.drop("Monday/a.tif", raw())
    with installed.daemon() as daemon:
        daemon.wait_for("rejected")
        code, out, _ = commands.retry(mirror / "Monday/a.tif.rejected.txt")
        assert code == 0
        assert "within 300 seconds (`rescan_seconds`)" in out
        daemon.kill()
    assert not list((mirror / "Monday").iterdir())
    assert commands.retry(mirror / "Monday")[0] == 1
    assert commands.retry(installed.share / "Monday/a.tif")[0] == 1


def test_a_note_that_cannot_be_removed_is_told(installed: Installation, commands: Commands) -> None:
    (image,) = rejected(installed, "a.tif")

    def fill(point: Path) -> None:
        shutil.copytree(installed.share, point, dirs_exist_ok=True)

    with made_read_only(installed.folder / "card", fill) as card:
        installed.configure(more=f'[[share]]\npath = "{card}"\n')
        code, out, err = commands.retry()
    assert code == 1
    assert "cannot write 'a.tif.rejected.txt': Read-only file system" in err
    assert "1 rejected image is" in out
    assert not beside(image, NOTE).exists()


@needs_fuse
def test_a_share_that_hangs_is_named(
    installed: Installation, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = installed.folder / "behind"
    behind.mkdir()
    monkeypatch.setattr(locate, "HUNG_SECONDS", 0.5)
    monkeypatch.setattr(settings, "ANSWER_SECONDS", 0.1)
    with FuseShare(installed.share, behind) as share:
        share.hang()
        code, _, err = commands.retry()
        share.go_on()
    assert code == 1
    assert "no answer from its file server" in err
