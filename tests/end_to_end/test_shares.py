"""`run`: shares that come and go, hang, fill up, or whose events are lost."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.factories import PATIENCE, mounted
from tests.end_to_end.fuse_share import TAPED, FuseShare, needs_fuse
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation, Running
from tests.end_to_end.test_once import check
from watcher.published import Published

NO_RESCAN = "rescan_seconds = 86400"
OTHER = "other.jpg"


def second_share(installed: Installation, more: str = "") -> Path:
    folder = installed.folder / "second"
    folder.mkdir()
    installed.configure(
        share=f'{NO_RESCAN}\npoll_seconds = 0.5\n[[share]]\npath = "{folder}"', more=more
    )
    return folder


def takes_in(installed: Installation, daemon: Running, path: str, seed: int) -> None:
    installed.drop(path, picture(seed))
    daemon.wait_for("uploaded", share=str(installed.share), path=path)


def test_a_share_that_is_absent_at_the_start_is_watched_when_it_comes(
    installed: Installation,
) -> None:
    other = second_share(installed)
    installed.share.rmdir()
    with installed.daemon() as daemon:
        daemon.wait_for("condition_raised", condition="share_gone", place=str(installed.share))
        (other / OTHER).write_bytes(picture(1))
        daemon.wait_for("uploaded", path=OTHER)
        installed.share.mkdir()
        daemon.wait_for("condition_cleared", condition="share_gone")
        takes_in(installed, daemon, "in/a.jpg", 2)
    assert len(daemon.named("condition_raised")) == 1


def test_a_share_that_is_deleted_moved_and_made_again_is_watched_again(
    installed: Installation,
) -> None:
    installed.configure(share=NO_RESCAN)
    with installed.daemon() as daemon:
        takes_in(installed, daemon, "a.jpg", 1)
        installed.share.rename(installed.folder / "elsewhere")
        daemon.wait_for("condition_raised", condition="share_gone")
        (installed.folder / "elsewhere" / "nobody's.jpg").write_bytes(picture(9))
        installed.share.mkdir()
        daemon.wait_for("condition_cleared", condition="share_gone")
        takes_in(installed, daemon, "in/b.jpg", 2)
    assert (installed.folder / "elsewhere" / "a.jpg.sha256").exists()
    assert not (installed.folder / "elsewhere" / "nobody's.jpg.sha256").exists()


def test_another_volume_on_the_same_path_is_noticed_though_nothing_announces_it(
    installed: Installation,
) -> None:
    installed.configure(share=NO_RESCAN)
    with mounted(installed.share, "size=8m"), installed.daemon() as daemon:
        takes_in(installed, daemon, "first.jpg", 1)
        with mounted(installed.share, "size=8m"):
            takes_in(installed, daemon, "in/second.jpg", 2)
        takes_in(installed, daemon, "in/third.jpg", 3)
        assert (installed.share / "first.jpg.sha256").exists()
    assert not daemon.named("failed")


def test_a_bare_mount_point_is_no_empty_share(installed: Installation) -> None:
    installed.configure(share=f"{NO_RESCAN}\nrequire_mount = true")
    installed.drop("below.jpg", picture(7))
    with mounted(installed.share, "size=8m"), installed.daemon() as daemon:
        takes_in(installed, daemon, "a.jpg", 1)
        subprocess.run(["umount", "-l", str(installed.share)], check=True)
        daemon.wait_for("condition_raised", condition="share_gone")
        with mounted(installed.share, "size=8m"):
            daemon.wait_for("condition_cleared", condition="share_gone")
            takes_in(installed, daemon, "b.jpg", 2)
        assert not daemon.named("uploaded", path="below.jpg")
        subprocess.run(["mount", "-t", "tmpfs", "none", str(installed.share)], check=True)


def test_with_too_few_watches_the_share_is_polled_and_the_remedy_named(
    installed: Installation,
) -> None:
    installed.configure(share="poll_seconds = 0.5")
    for number in range(8):
        (installed.share / f"{number}").mkdir()
    limited = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    script = 'echo 5 > /proc/sys/user/max_inotify_watches && exec "$@"'
    if subprocess.run(
        [*limited, script, "sh", "true"], check=False, capture_output=True
    ).returncode:
        pytest.skip("no user namespace to set a limit in")
    with installed.daemon([*limited, script, "sh"]) as daemon:
        raised = daemon.wait_for("condition_raised", condition="watch_limit")
        assert "max_user_watches" in raised["remedy"]
        for number in range(8):
            takes_in(installed, daemon, f"{number}/a.jpg", number)
        for number in range(8):
            (installed.share / f"{number}" / "a.jpg").unlink()
            (installed.share / f"{number}" / "a.jpg.sha256").unlink()
            if number >= 3:
                (installed.share / f"{number}").rmdir()
        daemon.wait_for("condition_cleared", condition="watch_limit")


@contextmanager
def a_queue_of(places: int) -> Iterator[None]:
    """The kernel's event queue of instances that are made meanwhile, on the whole machine."""
    setting = Path("/proc/sys/fs/inotify/max_queued_events")
    before = setting.read_text()
    try:
        setting.write_text(f"{places}\n")
    except OSError:
        pytest.skip("fs.inotify.max_queued_events may not be set here")
    try:
        yield
    finally:
        setting.write_text(before)


def test_a_storm_that_overflows_a_small_queue_misses_nothing(installed: Installation) -> None:
    installed.configure(share=NO_RESCAN)
    with a_queue_of(64), installed.daemon() as daemon:
        for folder in range(30):
            for number in range(20):
                installed.drop(f"{folder}/deep/{number}.jpg", picture(number))
            (installed.share / f"{folder}").rename(installed.share / f"moved {folder}")
        daemon.wait_until(
            lambda: len({event["path"] for event in ended_well(daemon)}) >= 600, "600 images"
        )
        installed.drop("moved 3/deep/later.jpg", picture(99))
        daemon.wait_for("uploaded", path="moved 3/deep/later.jpg")
    assert check(installed.share) == 601


def ended_well(daemon: Running) -> list[dict[str, str]]:
    return [
        event
        for event in (*daemon.named("uploaded"), *daemon.named("already_known"))
        if event["path"].startswith("moved ")
    ]


def test_a_folder_that_may_not_be_read_is_taken_in_as_soon_as_it_may(
    installed: Installation,
) -> None:
    installed.configure(share=f"{NO_RESCAN}\npoll_seconds = 0.2")
    locked = installed.drop("locked/a.jpg", picture()).parent
    locked.chmod(0)
    # As a user without root's right to enter whatever it likes.
    plain = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    with installed.daemon(plain) as daemon:
        daemon.wait_for("failed", reason="unreadable", path="locked")
        locked.chmod(0o755)
        daemon.wait_for("uploaded", path="locked/a.jpg")
        takes_in(installed, daemon, "locked/b.jpg", 2)


@needs_fuse
def test_a_share_whose_server_hangs_does_not_hold_up_the_others(
    installed: Installation,
) -> None:
    other = second_share(installed)
    behind = installed.folder / "behind"
    behind.mkdir()
    with FuseShare(installed.share, behind) as server, installed.daemon() as daemon:
        takes_in(installed, daemon, "in/a.jpg", 1)
        for number in range(50):
            (behind / f"{number}.jpg").write_bytes(picture(number))
        server.hang()
        daemon.wait_for("condition_raised", condition="share_hung", place=str(installed.share))
        (other / OTHER).write_bytes(picture(2))
        daemon.wait_for("uploaded", path=OTHER)
        server.go_on()
        daemon.wait_for("condition_cleared", condition="share_hung")
        daemon.wait_until(
            lambda: len({e["path"] for e in daemon.events if "sha256" in e} - {OTHER}) == 51,
            "51 images are recorded",
        )


@needs_fuse
def test_a_share_that_hangs_at_the_start_does_not_hold_up_the_others(
    installed: Installation,
) -> None:
    other = second_share(installed)
    behind = installed.folder / "behind"
    behind.mkdir()
    (other / OTHER).write_bytes(picture(2))
    with FuseShare(installed.share, behind) as server:
        server.hang()
        with installed.daemon() as daemon:
            daemon.wait_for("uploaded", path=OTHER)
            server.go_on()
            takes_in(installed, daemon, "a.jpg", 1)


@needs_fuse
def test_a_share_that_hangs_does_not_hold_up_the_exit(installed: Installation) -> None:
    second_share(installed)
    behind = installed.folder / "behind"
    behind.mkdir()
    with FuseShare(installed.share, behind) as server, installed.daemon() as daemon:
        for number in range(50):
            (behind / f"{number}.jpg").write_bytes(picture(number))
        daemon.wait_for("uploaded", share=str(installed.share))
        server.hang()
        daemon.wait_for("condition_raised", condition="share_hung")
        assert daemon.stop() == 0
        assert daemon.wait_for("stopped")["unfinished"] == 0


@needs_fuse
def test_a_share_that_hangs_while_it_is_sent_keeps_no_place_from_others(
    installed: Installation,
) -> None:
    other = second_share(installed, "[upload]\nparallel = 1\nmax_mbit_per_second = 24")
    behind = installed.folder / "behind"
    behind.mkdir()
    large = picture(1, "TIFF", (1600, 1600))
    with FuseShare(installed.share, behind) as server, installed.daemon() as daemon:
        (behind / "large.tif").write_bytes(large)
        asked = installed.service
        assert asked.wait_for(
            lambda: bool(asked.requests) and asked.in_flight > 0
        )  # after the question
        for number in range(3):  # These wait for the place; when it is free, they must not take it.
            (behind / f"{number}.jpg").write_bytes(picture(10 + number))
        assert asked.wait_for(lambda: asked.counters["HEAD /upload"] == 4)
        server.hang()
        (other / OTHER).write_bytes(picture(2))
        (other / "equal.tif").write_bytes(large)
        daemon.wait_for("condition_raised", condition="share_hung")
        daemon.wait_for("uploaded", path=OTHER)
        daemon.wait_for("uploaded", path="equal.tif")
        server.go_on()
        daemon.wait_for("condition_cleared", condition="share_hung")
        # Whichever comes first: the upload that was cut short goes on, or the next look finds it.
        daemon.wait_until(
            lambda: len({e["path"] for e in daemon.events if "sha256" in e}) == 6,
            "all are recorded",
        )


IMPATIENT = """
import sys, watcher.cli, watcher.wiring
watcher.wiring.STILL_SECONDS = 0
del sys.argv[1:4]  # python -m watcher
watcher.cli.main()
"""
"""The program, which believes after twice `timeout_seconds` that nothing more comes of a file."""


@pytest.fixture
def taped(installed: Installation) -> Iterator[Path]:
    """A file on a share that answers, but does not give this one out; its mode says so."""
    behind = installed.folder / "behind"
    behind.mkdir()
    taped = behind / "taped.jpg"
    taped.write_bytes(picture(1))
    taped.chmod(TAPED | 0o644)
    config = installed.config.read_text().replace("timeout_seconds = 5", "timeout_seconds = 1")
    installed.config.write_text(f"{config}\n[workers]\ncount = 1\n")
    with FuseShare(installed.share, behind):
        yield taped


@contextmanager
def impatient(installed: Installation, *arguments: str) -> Iterator[Running]:
    command = [sys.executable, "-c", IMPATIENT, *installed.command("run", *arguments)]
    environment = installed.environment
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    with process, Running(process) as running:
        yield running


@needs_fuse
def test_a_file_that_cannot_be_read_holds_up_nothing_and_is_taken_in_when_it_can(
    installed: Installation, taped: Path
) -> None:
    with impatient(installed) as daemon:
        try:
            deferred = daemon.wait_for("deferred", path=taped.name)
            assert (deferred["reason"], deferred["share"]) == ("unreadable", str(installed.share))
            takes_in(installed, daemon, "well.jpg", 2)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for("config_reloaded")
            takes_in(installed, daemon, "another.jpg", 3)
            assert not daemon.named("condition_raised")
        finally:
            taped.chmod(0o644)
        daemon.wait_for("uploaded", path=taped.name)
        assert daemon.stop() == 0
    assert installed.service.counters["POST /upload"] == 3


@needs_fuse
def test_one_run_ends_though_a_file_cannot_be_read_and_says_so(
    installed: Installation, taped: Path
) -> None:
    installed.drop("well.jpg", picture(2))
    with impatient(installed, "--once") as run:
        try:
            run.wait_for("deferred", path=taped.name, reason="unreadable")
            run.wait_for("uploaded", path="well.jpg")
            run.wait_for("stopped")
        finally:
            taped.chmod(0o644)  # before that Linux does not let it end
        assert run.process.wait(PATIENCE) == 1


@needs_fuse
def test_another_mount_in_the_place_of_a_dead_one_is_taken_in_after_a_reload(
    installed: Installation,
) -> None:
    """The calls on the dead one never return; no program can take them back."""
    installed.configure(share=NO_RESCAN, more="[upload]\nmax_mbit_per_second = 24")
    behind = installed.folder / "behind"
    behind.mkdir()
    asked = installed.service
    with FuseShare(installed.share, behind) as server, installed.daemon() as daemon:
        (behind / "large.tif").write_bytes(picture(1, "TIFF", (1600, 1600)))
        assert asked.wait_for(lambda: asked.in_flight > 0 and asked.counters["HEAD /upload"] == 1)
        server.hang()
        raised = daemon.wait_for("condition_raised", condition="share_hung")
        assert "systemctl reload autoretouch-watcher" in raised["remedy"]
        subprocess.run(["umount", "-l", str(installed.share)], check=True)
        with FuseShare(installed.share, behind):
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for("config_reloaded")
            daemon.wait_for("condition_cleared", condition="share_hung")
            daemon.wait_for("uploaded", path="large.tif")
            assert (behind / "large.tif.sha256").exists()


@needs_fuse
def test_a_share_that_gives_nothing_out_leaves_workers_to_the_others(
    installed: Installation,
) -> None:
    other = second_share(installed, more="[workers]\ncount = 4")
    behind = installed.folder / "behind"
    behind.mkdir()
    taped = [behind / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(taped):
        path.write_bytes(picture(number))
        path.chmod(TAPED | 0o644)
    published = Published(str(installed.folder / "state"))
    with FuseShare(installed.share, behind), installed.daemon() as daemon:
        try:
            daemon.wait_until(
                lambda: (now := published.read()) and len(now.flights) == 3, "three are held"
            )
            (other / OTHER).write_bytes(picture(9))
            daemon.wait_for("uploaded", path=OTHER)
        finally:
            for path in taped:
                path.chmod(0o644)
        for path in taped:
            daemon.wait_for("uploaded", path=path.name)


@needs_fuse
def test_a_share_whose_server_dies_is_gone_and_comes_back(installed: Installation) -> None:
    second_share(installed)
    behind = installed.folder / "behind"
    behind.mkdir()
    with FuseShare(installed.share, behind) as server, installed.daemon() as daemon:
        takes_in(installed, daemon, "a.jpg", 1)
        server.die()
        daemon.wait_for("condition_raised", condition="share_gone")
        subprocess.run(["umount", "-l", str(installed.share)], check=True)
        with FuseShare(installed.share, behind):
            daemon.wait_for("condition_cleared", condition="share_gone")
            takes_in(installed, daemon, "b.jpg", 2)
    assert (behind / "a.jpg.sha256").exists()


def test_a_full_disk_is_a_condition_and_uploads_are_not_repeated(installed: Installation) -> None:
    with mounted(installed.share, "size=1m,nr_inodes=8"), installed.daemon() as daemon:
        for number in range(5):
            installed.drop(f"{number}.jpg", picture(number))  # two places are left
        daemon.wait_for("condition_raised", condition="sidecar_unwritable")
        daemon.wait_until(lambda: installed.service.counters["POST /upload"] == 5, "each sent once")
        assert all(sidecar.stat().st_size > 64 for sidecar in installed.share.glob("*.sha256"))
        subprocess.run(["mount", "-o", "remount,nr_inodes=100", str(installed.share)], check=True)
        daemon.wait_until(
            lambda: len(list(installed.share.glob("*.sha256"))) == 5, "a sidecar for each"
        )
        daemon.wait_for("condition_cleared", condition="sidecar_unwritable")
        assert installed.service.counters["POST /upload"] == 5
