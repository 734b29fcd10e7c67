"""`run`: what photographers drop while it watches."""

import hashlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.pictures import REJECTED, picture
from tests.end_to_end.running import Installation, Running
from tests.end_to_end.test_once import check, fill, hashes


@pytest.fixture
def daemon(installed: Installation) -> Iterator[Running]:
    with installed.daemon() as running:
        yield running


def test_takes_in_what_is_dropped_and_then_is_idle(
    installed: Installation, daemon: Running
) -> None:
    dropped = fill(installed, 120)
    for name, (content, _) in REJECTED.items():
        installed.drop(f"Montag/{name}", content)
    daemon.wait_until(lambda: len(daemon.named("uploaded")) == 120, "120 uploads")
    daemon.wait_until(lambda: len(daemon.named("rejected")) == len(REJECTED), "the rejections")
    assert check(installed.share) == 120
    assert set(installed.service.uploads) == hashes(dropped)
    asked = len(installed.service.requests)

    # A file dropped after all that has run its course asks for itself alone.
    installed.drop("last.jpg", picture(7777))
    daemon.wait_for("uploaded", path="last.jpg")
    assert len(installed.service.requests) == asked + 2
    assert daemon.stop() == 0
    assert not daemon.other_lines


def test_finds_what_was_dropped_while_it_was_down(installed: Installation) -> None:
    with installed.daemon() as first:
        installed.drop("a.jpg", picture(1))
        first.wait_for("uploaded")
        assert first.stop() == 0
    installed.drop("b/c.jpg", picture(2))
    with installed.daemon() as second:
        assert second.wait_for("uploaded")["path"] == "b/c.jpg"
    assert installed.service.counters["POST /upload"] == 2


def test_nothing_partial_is_sent_while_a_writer_holds_the_file(
    installed: Installation, daemon: Running
) -> None:
    content = picture(1, "TIFF", (800, 600))
    path = installed.share / "slow.tif"
    with path.open("wb") as file:
        file.truncate(len(content))  # preallocated: the right size from the start
        file.write(content[:1000])
        file.flush()
        os.utime(path, (1, 1))  # its times say nothing
        daemon.wait_for("deferred", path="slow.tif", reason="being_written")
        installed.drop("other.jpg", picture(2))  # others go on
        daemon.wait_for("uploaded", path="other.jpg")
        file.write(content[1000:])
    daemon.wait_for("uploaded", path="slow.tif")
    assert hashlib.sha256(content).hexdigest() in installed.service.uploads
    assert len(installed.service.uploads) == 2


def test_an_end_that_is_missing_is_waited_for(installed: Installation, daemon: Running) -> None:
    content = picture(1, "PNG")
    path = installed.drop("copy.png", content[:-9])
    daemon.wait_for("deferred", path="copy.png", reason="incomplete")
    with path.open("ab") as file:
        file.write(content[-9:])
    daemon.wait_for("uploaded", path="copy.png")
    assert set(installed.service.uploads) == {hashlib.sha256(content).hexdigest()}


def test_a_rewritten_image_is_sent_again_and_its_sidecar_follows(
    installed: Installation, daemon: Running
) -> None:
    path = installed.drop("IMG.jpg", picture(1))
    daemon.wait_for("uploaded")
    path.write_bytes(picture(2))
    daemon.wait_for("uploaded", sha256=hashlib.sha256(picture(2)).hexdigest())
    assert check(installed.share) == 1


def test_a_mended_image_loses_its_note(installed: Installation, daemon: Running) -> None:
    path = installed.drop("IMG.png", REJECTED["broken.png"][0])
    daemon.wait_for("rejected")
    assert (installed.share / "IMG.png.rejected.txt").exists()
    path.write_bytes(picture(1, "PNG"))
    daemon.wait_for("uploaded")
    assert {p.name for p in installed.share.iterdir()} == {"IMG.png", "IMG.png.sha256"}


def test_a_rejected_rewrite_takes_the_old_sidecar_away(
    installed: Installation, daemon: Running
) -> None:
    path = installed.drop("IMG.png", picture(1, "PNG"))
    daemon.wait_for("uploaded")
    path.write_bytes(REJECTED["broken.png"][0])
    daemon.wait_for("rejected")
    assert {p.name for p in installed.share.iterdir()} == {"IMG.png", "IMG.png.rejected.txt"}


def test_deleting_the_note_makes_it_look_again(installed: Installation, daemon: Running) -> None:
    installed.drop("IMG.png", REJECTED["broken.png"][0])
    daemon.wait_for("rejected")
    (installed.share / "IMG.png.rejected.txt").unlink()
    daemon.wait_for("rejected", times=2)


def test_deleting_the_sidecar_asks_again_and_sends_nothing(
    installed: Installation, daemon: Running
) -> None:
    installed.drop("IMG.jpg", picture())
    daemon.wait_for("uploaded")
    (installed.share / "IMG.jpg.sha256").unlink()
    daemon.wait_for("already_known")
    assert installed.service.counters["POST /upload"] == 1


def test_a_renamed_image_keeps_its_sidecar_and_is_not_sent_again(
    installed: Installation, daemon: Running
) -> None:
    path = installed.drop("in/IMG.jpg", picture())
    daemon.wait_for("uploaded")
    asked = len(installed.service.requests)
    path.rename(installed.share / "renamed.jpg")
    daemon.wait_for("already_known", path="renamed.jpg", reason="renamed")
    assert len(installed.service.requests) == asked
    assert check(installed.share) == 1
    installed.drop("last.jpg", picture(2))  # by the time that it is through, so is the old name
    daemon.wait_for("uploaded", path="last.jpg")
    assert not list((installed.share / "in").iterdir())
    assert installed.service.counters["POST /upload"] == 2


@pytest.mark.parametrize("new", ["b.jpg", "other.jpg"], ids=["as long", "longer"])
@pytest.mark.parametrize("together", [os.rename, shutil.copy2])
def test_a_sidecar_that_comes_with_its_image_says_its_name_in_the_end(
    installed: Installation, daemon: Running, new: str, together: Callable[[Path, Path], object]
) -> None:
    image = installed.drop("a.jpg", picture())
    daemon.wait_for("uploaded")
    for suffix in ("", ".sha256"):
        together(installed.share / f"a.jpg{suffix}", installed.share / f"{new}{suffix}")
    daemon.wait_for("already_known", path=new)
    assert check(installed.share) == 1 + image.exists()
    # And it is a record like any other.
    (installed.share / new).write_bytes(picture(2))
    daemon.wait_for("uploaded", path=new)
    assert check(installed.share) == 1 + image.exists()
    assert installed.service.counters["POST /upload"] == 2


def test_an_image_that_is_changed_before_its_others_sidecar_was_seen_is_sent(
    installed: Installation,
) -> None:
    installed.drop("a.jpg", picture())
    installed.once()
    for suffix in ("", ".sha256"):
        (installed.share / f"a.jpg{suffix}").rename(installed.share / f"other.jpg{suffix}")
    (installed.share / "other.jpg").write_bytes(picture(2))
    assert installed.once().code == 0
    assert check(installed.share) == 1
    assert installed.service.counters["POST /upload"] == 2


def test_a_deletion_that_is_seen_takes_the_record_along(
    installed: Installation, daemon: Running
) -> None:
    image = installed.drop("IMG.jpg", picture())
    broken = installed.drop("broken.png", REJECTED["broken.png"][0])
    installed.drop("other.jpg", picture(3))
    foreign = installed.drop("IMG.jpg.rejected.txt", b"my own words")
    daemon.wait_for("uploaded", path="IMG.jpg")
    daemon.wait_for("uploaded", path="other.jpg")
    daemon.wait_for("rejected", path="broken.png")
    image.unlink()
    broken.unlink()
    installed.drop("last.jpg", picture(2))
    daemon.wait_for("uploaded", path="last.jpg")
    assert {path.name for path in installed.share.iterdir()} == {
        "other.jpg",
        "other.jpg.sha256",
        "last.jpg",
        "last.jpg.sha256",
        foreign.name,
    }


def test_a_folder_that_is_renamed_takes_its_records_along_and_costs_nothing(
    installed: Installation, daemon: Running
) -> None:
    for number in range(5):
        installed.drop(f"in/{number}.jpg", picture(number))
    daemon.wait_until(lambda: len(daemon.named("uploaded")) == 5, "5 uploads")
    asked = len(installed.service.requests)
    (installed.share / "in").rename(installed.share / "out")
    installed.drop("out/last.jpg", picture(9))
    daemon.wait_for("uploaded", path="out/last.jpg")
    assert check(installed.share) == 6
    assert len(installed.service.requests) == asked + 2


def test_folders_that_are_moved_in_are_taken_in(
    installed: Installation, daemon: Running, tmp_path: Path
) -> None:
    outside = tmp_path / "outside/deep/er"
    outside.mkdir(parents=True)
    for number in range(5):
        (outside / f"{number}.jpg").write_bytes(picture(number))
    (tmp_path / "outside").rename(installed.share / "inside")
    daemon.wait_until(lambda: len(daemon.named("uploaded")) == 5, "5 uploads")
    installed.drop("inside/deep/er/later.jpg", picture(99))
    daemon.wait_for("uploaded", path="inside/deep/er/later.jpg")


def test_a_polled_share_is_taken_in_without_events(installed: Installation) -> None:
    installed.configure(share='watch = "poll"\npoll_seconds = 0.2')
    with installed.daemon() as daemon:
        installed.drop("a/b.jpg", picture())
        daemon.wait_for("uploaded", path="a/b.jpg")


def test_links_fifos_and_sockets_are_not_candidates(
    installed: Installation, daemon: Running, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(picture(1))
    (installed.share / "link.jpg").symlink_to(outside / "secret.jpg")
    (installed.share / "folder").symlink_to(outside)
    os.mkfifo(installed.share / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(installed.share / "socket.jpg"))
        installed.drop("real.jpg", picture(2))
        daemon.wait_for("uploaded", path="real.jpg")
    assert set(installed.service.uploads) == {hashlib.sha256(picture(2)).hexdigest()}
    assert sorted(p.name for p in outside.iterdir()) == ["secret.jpg"]


def test_odd_names_get_sidecars_that_coreutils_accept(
    installed: Installation, daemon: Running
) -> None:
    names = [
        b"new\nline.jpg",
        b"back\\slash.jpg",
        b"\xff\xfe.jpg",
        b"-rf.jpg",
        b"%s 'q' \".jpg",
        b"\x1b[31m.jpg",
        b"x" * 244 + b".jpg",
    ]
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(installed.share), name), "wb") as file:
            file.write(picture(number))
    daemon.wait_until(lambda: len(daemon.named("uploaded")) == len(names), "all of them")
    assert check(installed.share) == len(names)


def test_a_name_too_long_for_a_sidecar_is_told(installed: Installation, daemon: Running) -> None:
    installed.drop("x" * 251 + ".jpg", picture())
    daemon.wait_for("rejected", reason="name_too_long")
    assert not installed.service.requests


def test_a_rejection_that_can_have_no_note_is_told_once(installed: Installation) -> None:
    installed.configure(share='watch = "poll"\nrescan_seconds = 0.1')
    installed.drop("x" * 251 + ".jpg", picture())
    installed.drop("IMG.png", REJECTED["broken.png"][0])
    installed.drop("IMG.png.rejected.txt", b"my own words")
    with installed.daemon() as daemon:
        daemon.wait_for("rescan", times=5)  # it finds them every time
    assert [event["path"] for event in daemon.named("rejected")].count("IMG.png") == 1
    assert len(daemon.named("rejected")) == 2


def test_sigterm_finishes_what_is_in_flight(installed: Installation, daemon: Running) -> None:
    installed.service.latency_seconds = 0.3
    for number in range(8):
        installed.drop(f"{number}.jpg", picture(number))
    assert installed.service.wait_for(lambda: installed.service.in_flight > 0)
    assert daemon.stop() == 0
    daemon.wait_for("stopped", unfinished=0)
    assert check(installed.share) == installed.service.counters["POST /upload"]


def test_a_second_signal_ends_it_at_once(installed: Installation, daemon: Running) -> None:
    installed.service.latency_seconds = 20
    installed.drop("a.jpg", picture())
    assert installed.service.wait_for(lambda: installed.service.in_flight > 0)
    daemon.process.send_signal(signal.SIGINT)
    daemon.wait_for("stopping")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(30) == -signal.SIGINT


def test_many_writers_at_once(installed: Installation, daemon: Running) -> None:
    def write(number: int) -> None:
        content = picture(number, "TIFF")
        half = len(content) // 2
        path = installed.share / f"{number}.tif"
        with path.open("wb") as file:
            file.write(content[:half])
        with path.open("ab") as file:  # closed in between, and reopened
            file.write(content[half:])

    writers = [threading.Thread(target=write, args=(number,)) for number in range(40)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    daemon.wait_until(lambda: len(daemon.named("uploaded")) == 40, "40 uploads")
    assert set(installed.service.uploads) == {
        hashlib.sha256(picture(number, "TIFF")).hexdigest() for number in range(40)
    }
