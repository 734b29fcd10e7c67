"""`check` of shares: each kind of trouble on a real one, and nothing left behind."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.commands.checking import check, everything_below
from tests.core.factories import a_share, mounted, without_override
from tests.end_to_end.fuse_share import FuseShare, needs_fuse
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation
from watcher import settings
from watcher.commands import survey as surveys
from watcher.commands.check_records import _clock, _Made
from watcher.commands.check_shares import DROP_INS, ShareCheck, let_in
from watcher.commands.findings import Finding
from watcher.commands.inquiry import Inquiry
from watcher.commands.survey import survey
from watcher.errors import ShareGone
from watcher.sandbox import Sandbox

ROOT = os.geteuid() == 0
SHARE = "/share"
needs_root = pytest.mark.skipif(not ROOT, reason="only root can make files of another user")


def nothing() -> None:
    """Beats for nobody."""


# There, and a folder


def test_a_share_that_is_not_there_fails_but_lets_the_daemon_start(
    installed: Installation,
) -> None:
    installed.share.rmdir()
    found = check(installed)
    assert found.code == 1
    row = found.row("folder")
    assert row.level == "FAIL"
    assert "No such file" in row.found
    assert "mount what belongs there" in row.remedy
    offline = check(installed, offline=True)
    assert offline.code == 0
    assert offline.row("folder").level == "FAIL"


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_folder_fails_at_once(
    installed: Installation, make: Callable[[Path], object]
) -> None:
    installed.share.rmdir()
    make(installed.share)
    row = check(installed, offline=True).row("folder")
    assert row.level == "FAIL"
    assert "Give the path of a folder" in row.remedy


def test_a_bare_mount_point_fails_where_a_mount_is_required(installed: Installation) -> None:
    installed.configure(share="require_mount = true")
    row = check(installed, offline=True).row("folder")
    assert "nothing is mounted" in row.found
    assert "Mount it" in row.remedy
    with mounted(installed.share, "size=200m,nr_inodes=20k"):
        found = check(installed, offline=True)
    assert found.row("file system").found.startswith("tmpfs, none at /")
    assert "there is one" in found.row("file system").found


def test_a_share_with_an_odd_name_is_shown_harmlessly(installed: Installation) -> None:
    odd = installed.folder / "two  words\n[red]\\ \x1b[31m"
    odd.mkdir()
    installed.configure(share=f"[[share]]\npath = {odd_in_toml(odd)}")
    with mounted(odd, "size=200m,nr_inodes=20k"):
        found = check(installed, offline=True)
    assert found.code == 0
    assert "\x1b" not in found.text
    assert "[red]" in found.text


def odd_in_toml(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace("\n", "\\n").replace("\x1b", "\\u001b")
    return f'"{escaped}"'


# Readable


def test_folders_and_images_that_cannot_be_read_are_counted_and_named(
    installed: Installation,
) -> None:
    for number in range(5):
        installed.drop(f"locked{number}/a.jpg", picture()).parent.chmod(0)
    installed.drop("listed/a.jpg", picture()).parent.chmod(0o444)  # but not to be entered
    installed.drop("closed\n.jpg", picture()).chmod(0)
    installed.drop("open.jpg", picture())
    with without_override():
        found = check(installed, offline=True)
    assert found.code == 0
    folders, images = found.row("folders"), found.row("images")
    assert (folders.level, images.level) == ("WARN", "WARN")
    assert folders.found.startswith("6 of 7 folders cannot be read: ")
    assert folders.found.endswith(", ...")
    assert images.found == "1 of 2 images tried cannot be opened: closed\\n.jpg"
    assert found.level("readable") == ""
    for path in installed.share.iterdir():
        path.chmod(0o755)


def test_ignored_folders_are_not_entered(installed: Installation) -> None:
    installed.drop("CaptureOne/deeper/a.jpg", picture())
    installed.drop(".hidden/a.jpg", picture())
    installed.drop("in/notes.txt", b"")
    assert check(installed, offline=True).row("readable").found == "2 folders, 0 images tried"


def test_a_look_that_takes_too_long_ends_and_says_so(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    seen = survey(a_share(tmp_path), seconds=-1, beat=nothing)
    assert not seen.whole
    assert seen.folders == 1
    check = ShareCheck(a_share(tmp_path), seconds=-1, settle_seconds=2)
    found = {finding.what: finding for finding in check.steps(nothing)}
    assert "there may be more" in found["readable"].found


def test_a_look_ends_at_more_folders_than_any_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveys, "MAX_FOLDERS", 3)
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    seen = survey(a_share(tmp_path), seconds=60, beat=nothing)
    assert (seen.folders, seen.whole) == (3, False)


def test_what_goes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "gone").mkdir()
    (tmp_path / "a.jpg").touch()
    done: list[str] = []

    def beat() -> None:
        if not done and len(os.listdir(tmp_path)) == 3:
            done.append("listed")
        elif done == ["listed"] and (tmp_path / "gone").exists():
            (tmp_path / "gone").rmdir()

    seen = survey(a_share(tmp_path), seconds=60, beat=beat)
    assert seen.folders in {2, 3}
    assert not seen.unreadable


def test_a_share_that_is_lost_meanwhile_fails(tmp_path: Path) -> None:
    (tmp_path / "share" / "below").mkdir(parents=True)
    moved = tmp_path / "moved"

    def beat() -> None:
        if not moved.exists():
            (tmp_path / "share").rename(moved)

    with pytest.raises(ShareGone):
        survey(a_share(tmp_path / "share"), seconds=60, beat=beat)


# How it is noticed what happens


def test_polling_that_is_configured_is_said(installed: Installation) -> None:
    installed.configure(share='watch = "poll"\npoll_seconds = 7')
    found = check(installed, offline=True)
    assert found.row("watched by").found == 'polling every 7 s, because watch = "poll"'
    assert found.level("watches") == ""


@needs_fuse
def test_a_share_that_announces_nothing_is_polled(installed: Installation) -> None:
    behind = installed.folder / "behind"
    behind.mkdir()
    (behind / "a.jpg").write_bytes(picture())
    with FuseShare(installed.share, behind):
        found = check(installed, offline=True)
        assert found.row("watched by").found.startswith("polling every 5 s: fuse does not")
        assert "of no use on fuse" in found.row("leases").found
        assert "require_mount = true" in found.row("file system").remedy
        assert found.level("sidecars") == "PASS"
        installed.configure(share='watch = "events"\nrequire_mount = true')
        found = check(installed, offline=True)
        assert found.row("watched by").level == "WARN"
        assert found.row("file system").level == "PASS"
    assert [path.name for path in behind.iterdir()] == ["a.jpg"]


@needs_fuse
def test_a_mount_below_that_announces_nothing_is_named(installed: Installation) -> None:
    behind = installed.folder / "behind"
    behind.mkdir()
    (installed.share / "archive").mkdir()
    with FuseShare(installed.share / "archive", behind):
        row = check(installed, offline=True).row("mounts below")
    assert row.level == "WARN"
    assert "archive" in row.found


@needs_fuse
def test_a_share_that_hangs_fails_and_holds_up_nothing_else(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ANSWER_SECONDS", 0.3)
    behind = installed.folder / "behind"
    behind.mkdir()
    other = installed.folder / "other"
    other.mkdir()
    installed.configure(share=f'[[share]]\npath = "{other}"')
    with FuseShare(installed.share, behind) as server:
        server.hang()
        found = check(installed, silence=0.3)
        server.go_on()
    assert found.code == 1
    assert "does not answer" in found.row("answers", SHARE).found
    assert found.level("sidecars", "/other") == "PASS"
    assert found.level("accepted") == "PASS"
    assert found.level("open files") == "PASS"


@needs_fuse
def test_a_share_whose_server_is_dead_fails(installed: Installation) -> None:
    behind = installed.folder / "behind"
    behind.mkdir()
    with FuseShare(installed.share, behind) as server:
        server.die()
        row = check(installed, offline=True).row("folder")
    assert row.level == "FAIL"
    assert "Look after the file server" in row.remedy


def test_what_an_inquiry_raises_is_raised_where_it_is_waited_for() -> None:
    def steps(_beat: Callable[[], None]) -> Iterator[Finding]:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        list(Inquiry(steps, silence=60).results())


# Sidecars


def test_a_share_that_cannot_be_written_to_fails_with_the_remedies(
    installed: Installation,
) -> None:
    with mounted(installed.share, "size=200m,nr_inodes=20k"):
        installed.drop("a.jpg", picture())
        before = everything_below(installed.share)
        subprocess.run(["mount", "-o", "remount,ro", str(installed.share)], check=True)
        found = check(installed)
        assert everything_below(installed.share) == before
    assert found.code == 1
    row = found.row("sidecars")
    assert row.level == "FAIL"
    assert "Read-only file system" in row.found
    assert 'sidecars = "/some/dir"' in row.remedy
    assert found.level("leases") == "PASS"


def test_a_full_disk_fails_and_one_that_is_nearly_full_warns(installed: Installation) -> None:
    with mounted(installed.share, "size=1m,nr_inodes=2"):
        row = check(installed, offline=True).row("space", SHARE)
        assert (row.level, row.remedy[:9]) == ("WARN", "Make room")
        installed.drop("a.jpg", b"")
        found = check(installed, offline=True)
        assert "No space left" in found.row("sidecars").found
        assert [path.name for path in installed.share.iterdir()] == ["a.jpg"]


def test_a_mirror_is_tried_in_the_place_of_the_share(installed: Installation) -> None:
    mirror = installed.folder / "mirror"
    installed.configure(share=f'sidecars = "{mirror}"')
    found = check(installed, offline=True)
    assert found.row("sidecars").level == "FAIL"
    assert "Make the directory" in found.row("sidecars").remedy
    mirror.mkdir()
    before = installed.share.stat()
    found = check(installed, offline=True)
    assert found.not_well() == ["token"]
    assert str(mirror) in found.row("sidecars").found
    assert found.level("sidecars' disk") == "PASS"
    assert installed.share.stat().st_mtime_ns == before.st_mtime_ns
    assert list(mirror.iterdir()) == []


@needs_root
def test_sidecars_that_photographers_cannot_read_are_a_warning(installed: Installation) -> None:
    os.chown(installed.share, 0, 12345)
    installed.share.chmod(0o770)
    row = check(installed, offline=True).row("sidecars")
    assert row.level == "WARN"
    assert "The folder's group is 12345" in row.found
    assert "chmod g+s" in row.remedy
    installed.share.chmod(0o2770)
    assert check(installed, offline=True).row("sidecars").level == "PASS"


@pytest.mark.parametrize(("seconds", "said"), [(-10, "10 s behind"), (10, "10 s ahead of")])
def test_a_file_server_with_another_time_is_a_warning(
    tmp_path: Path, seconds: int, said: str
) -> None:
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (0, 0))
    status = (tmp_path / "a").stat()
    ours = status.st_ctime_ns - seconds * 10**9
    (finding,) = _clock(_Made(status, ours, ours))
    assert finding.level == "WARN"
    assert said in finding.found


def test_a_change_time_that_is_the_one_we_set_says_nothing_of_the_servers_clock(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").touch()
    status = (tmp_path / "a").stat()  # as on a mount that has one time for both
    assert status.st_mtime_ns == status.st_ctime_ns
    long_ago = status.st_ctime_ns - 1_000 * 10**9
    assert not list(_clock(_Made(status, long_ago, long_ago)))


# Leases


@contextmanager
def an_image_of_somebody_else(installed: Installation) -> Iterator[Path]:
    image = installed.drop("a.jpg", picture())
    os.chown(image, 12345, 12345)
    image.chmod(0o644)
    yield image


WITHOUT_LEASE = ["setpriv", "--bounding-set", "-lease", "--inh-caps", "-lease"]


def checked_under(command: list[str], installed: Installation) -> str:
    ran = subprocess.run(
        [*command, *installed.command("check", "--offline")],
        env=installed.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return " ".join(ran.stdout.split())


@needs_root
def test_a_lease_is_tried_on_an_image_of_another_user(installed: Installation) -> None:
    with an_image_of_somebody_else(installed) as image:
        before = image.stat()
        assert "granted" in check(installed, offline=True).row("leases").found
        assert "no CAP_LEASE, so every file waits" in checked_under(WITHOUT_LEASE, installed)
        assert image.stat().st_ctime_ns == before.st_ctime_ns
        with image.open("ab"):  # somebody writes: the kernel says so, which is all we want to know
            assert "granted" in check(installed, offline=True).row("leases").found


@needs_root
def test_without_the_capability_own_images_do(installed: Installation) -> None:
    assert "no CAP_LEASE" in checked_under(WITHOUT_LEASE, installed)
    installed.drop("a.jpg", picture())
    assert "the images tried are all of this user" in checked_under(WITHOUT_LEASE, installed)


@needs_root
def test_it_works_as_a_user_who_may_do_nothing_else(service: Sandbox) -> None:
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        installed = Installation(Path(folder), service)
        state = installed.folder / "state"
        state.mkdir(mode=0o700)
        os.chown(state, 12345, 12345)
        plain = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--reuid", "12345"]
        plain += ["--regid", "12345", "--clear-groups"]
        reached = [*plain, sys.executable, "-c", "import watcher"]
        if subprocess.run(reached, check=False, capture_output=True).returncode:
            pytest.skip("this program is in a place that other users cannot reach")
        with an_image_of_somebody_else(installed):
            said = checked_under(plain, installed)
    assert "cannot write '.autoretouch-check.sha256': Permission denied" in said
    assert "Give the user 12345 the right to write" in said
    assert "the images tried are all of this user, 12345" in said


def test_limits_of_open_files_are_told(installed: Installation) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    installed.configure(more="[workers]\ncount = 256")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        row = check(installed, offline=True).row("open files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert row.level == "WARN"
    assert "LimitNOFILE=" in row.remedy


def test_a_big_share_does_not_hold_up_a_start(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However big: the look through it is cut short, and the table says so."""
    from watcher.commands import check as command  # noqa: PLC0415 - its constant is lowered here

    for number in range(10):
        (installed.share / str(number)).mkdir()
    monkeypatch.setattr(command, "WALK_SECONDS_OFFLINE", -1.0)
    found = check(installed, offline=True)
    assert found.code == 0
    assert "1 or more folders" in found.row("watches").found


@pytest.mark.parametrize(
    ("drop_in", "well"),
    [
        ("", False),
        ("[Service]\n# BindPaths={share}\n", False),
        ("[Service]\nBindPaths={share}\n", True),
        ("[Service]\nBindPaths=-{share}\n", True),
        ('[Service]\nBindPaths="{share}"\n', True),
        ('[Service]\nBindPaths="-{share}"\n', True),
        ('[Service]\nBindPaths=/else "-{above}/of two words" -{share}:{share}:norbind\n', True),
        ('[Service]\nBindPaths="-{above}"\n', True),
        ('[Service]\nBindPaths="{share}\n', False),
        ("[Service]\nReadWritePaths={above}\n", True),
        ("[Service]\nBindPaths={share}2\n", False),
    ],
)
def test_a_share_that_the_service_does_not_see_is_told(
    tmp_path: Path, drop_in: str, *, well: bool
) -> None:
    share, unit = tmp_path / "a" / "share", tmp_path / "unit"
    share.mkdir(parents=True)
    unit.touch()
    text = drop_in.format(share=share, above=tmp_path / "a")
    (tmp_path / "shares.conf").write_text(text)
    found = list(let_in(str(share), unit=str(unit), drop_ins=str(tmp_path / "*.conf")))
    assert [finding.level for finding in found] == ([] if well else ["WARN"])


@pytest.mark.parametrize(("quoted", "levels"), [("", ["WARN"]), ('"', [])])
def test_a_path_of_two_words_is_in_quotation_marks(
    tmp_path: Path, quoted: str, levels: list[str]
) -> None:
    share, unit = tmp_path / "new photos", tmp_path / "unit"
    share.mkdir()
    unit.touch()
    (tmp_path / "shares.conf").write_text(f"[Service]\nBindPaths={quoted}-{share}{quoted}\n")
    found = list(let_in(str(share), unit=str(unit), drop_ins=str(tmp_path / "*.conf")))
    assert [finding.level for finding in found] == levels
    assert all(f'BindPaths="-{share}"' in finding.remedy for finding in found)


def test_what_is_added_to_the_weekly_verify_alone_does_not_count() -> None:
    def counts(unit: str) -> bool:
        return fnmatch(f"/etc/systemd/system/{unit}.service.d/x.conf", DROP_INS)

    assert counts("autoretouch-watcher")
    assert counts("autoretouch-")
    assert not counts("autoretouch-watcher-verify")


def test_where_no_service_is_installed_nothing_is_told_of_it(tmp_path: Path) -> None:
    assert not list(let_in(str(tmp_path), unit=str(tmp_path / "none")))


def test_a_share_where_the_service_looks_is_seen(tmp_path: Path) -> None:
    assert not list(let_in("/srv/photos", unit=str(tmp_path)))
