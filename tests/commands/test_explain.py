"""`explain` says of every kind of file what the daemon makes of it, before and after."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from tests.commands.shares import Commands, beside, recorded, with_time_of
from tests.core.factories import change_after, without_override
from tests.core.studio import everything
from tests.end_to_end.fuse_share import FuseShare, needs_fuse
from tests.end_to_end.pictures import REJECTED, picture, raw
from tests.end_to_end.running import Installation
from tests.end_to_end.test_commands import on_a_terminal
from watcher import settings
from watcher.commands import locate
from watcher.commands.neighbour import Neighbour
from watcher.conditions import Condition
from watcher.published import Published
from watcher.share import Share
from watcher.snapshot import Flight, ShareState, Snapshot
from watcher.tally import Counts

HOSTILE = os.fsdecode(b"[red]\xff\x1b[31m\n.jpg")
LONG = "n" * 245 + ".jpg"
HASH = "0" * 64


def blocks(out: str) -> list[dict[str, str]]:
    """What was printed, label by label, with the lines of each put together again."""
    found = []
    for block in out.split("\n\n"):
        title, *lines = block.splitlines()
        steps, label = {"title": title}, "title"
        for line in lines:
            new = line[2:11].strip()
            label = new or label
            steps[label] = f"{steps.get(label, '') if not new else ''} {line[11:].strip()}".strip()
        found.append(steps)
    return found


def verdicts(out: str) -> dict[str, str]:
    return {each["title"]: each["verdict"] for each in blocks(out)}


# The samples: what is dropped, the verdict before the daemon runs, and after.

SENT = ("waiting: for the daemon", "uploaded")


class Sample(NamedTuple):
    make: Callable[[Path], object]
    before: str
    after: str


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def with_sidecar(content: bytes, line: bytes) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.write_bytes(content)
        beside(path).write_bytes(line)

    return make


def of_another_time(content: bytes, moment: float) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.write_bytes(content)
        os.utime(path, (moment, moment))

    return make


def holed(path: Path) -> None:
    with path.open("wb") as file:
        file.write(picture(30))
        file.truncate(1 << 20)


SAMPLES = {
    "good.jpg": Sample(written(picture(1)), *SENT),
    "again.jpg": Sample(written(picture(1)), *SENT),
    "wide.png": Sample(written(REJECTED["wide.png"][0]), "rejected: too_large", "rejected"),
    "DSC.tif": Sample(written(raw()), "rejected: raw", "rejected"),
    "page.jpeg": Sample(written(b"<html>"), "rejected: not_an_image", "rejected"),
    "cut.jpg": Sample(written(picture(2)[:-40]), "waiting: for its end", "rejected"),
    "empty.jpg": Sample(written(b""), "waiting: for its end", "rejected"),
    "holed.jpg": Sample(holed, *SENT),
    ".hidden.jpg": Sample(written(picture(3)), "ignored", "ignored"),
    "x.part": Sample(written(picture(3)), "ignored", "ignored"),
    "words.txt": Sample(written(b"words"), "ignored", "ignored"),
    "proof_1.jpg": Sample(written(picture(4)), "ignored", "ignored"),
    "foreign.jpg": Sample(
        with_sidecar(picture(5), b"mine"), "rejected: foreign_sidecar", "rejected"
    ),
    "stale.jpg": Sample(with_sidecar(picture(6), f"{HASH}  stale.jpg\n".encode()), *SENT),
    "torn.jpg": Sample(with_sidecar(picture(7), b"0" * 9), *SENT),
    "pipe.jpg": Sample(os.mkfifo, "ignored", "ignored"),
    "link.jpg": Sample(lambda path: path.symlink_to("good.jpg"), "ignored", "ignored"),
    LONG: Sample(written(picture(8)), "rejected: name_too_long", "rejected: name_too_long"),
    "future.jpg": Sample(of_another_time(picture(9), 4_000_000_000), *SENT),
    "past.jpg": Sample(of_another_time(picture(10), 0), *SENT),
    HOSTILE: Sample(written(picture(11)), *SENT),
}


def test_it_agrees_with_what_the_daemon_does(installed: Installation, commands: Commands) -> None:
    installed.configure(share='ignore = ["proof_*"]')
    paths = [installed.share / name for name in SAMPLES]
    for path, sample in zip(paths, SAMPLES.values(), strict=True):
        sample.make(path)
    before = everything(installed.share)
    code, out, err = commands.explain(*paths)
    assert (code, err) == (1, "")
    assert everything(installed.share) == before
    told = dict(zip(SAMPLES, verdicts(out).values(), strict=True))
    for name, sample in SAMPLES.items():
        assert told[name].startswith(sample.before), name

    installed.configure(share='ignore = ["proof_*"]', incomplete=0.1)
    ended = {event["path"]: event for event in installed.once().events if "path" in event}
    for name, sample in SAMPLES.items():
        match sample.after.split(":")[0]:
            case "uploaded":
                assert ended[name]["event"] in {"uploaded", "already_known"}
            case "ignored":
                assert name not in ended
            case "rejected":
                assert ended[name]["event"] == "rejected"
                if told[name].startswith("rejected"):
                    assert told[name].startswith(f"rejected: {ended[name]['reason']}")

    _, out, _ = commands.explain(*paths)
    told = dict(zip(SAMPLES, verdicts(out).values(), strict=True))
    for name, sample in SAMPLES.items():
        assert told[name].startswith(sample.after), name


def test_the_steps_come_in_the_order_of_the_journey(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("Monday/a.jpg", picture())
    code, out, err = commands.explain(image)
    assert (code, err) == (0, "")
    (block,) = blocks(out)
    assert list(block) == [
        "title", "share", "rules", "path", "sidecar", "note", "quiet", "writers", "name",
        "content", "hash", "service", "verdict",
    ]  # fmt: skip
    assert "whole JPEG, 64 x 48 pixels" in block["content"]
    assert "run --once" in block["verdict"]
    said = [line for line in out.splitlines() if str(installed.share) not in line]
    assert max(map(len, said)) <= 80


def test_a_file_that_is_being_written_waits(installed: Installation, commands: Commands) -> None:
    with (installed.share / "a.jpg").open("wb") as file:
        file.write(picture())
        file.flush()
        code, out, _ = commands.explain(installed.share / "a.jpg")
    assert code == 0
    assert "somebody has it open for writing" in out
    assert "waiting: until nobody writes to it any more" in out


def test_a_file_that_changed_just_now_waits(installed: Installation, commands: Commands) -> None:
    installed.configure(settle=3600)
    image = installed.drop("a.jpg", picture())
    code, out, _ = commands.explain(image)
    assert code == 0
    (block,) = blocks(out)
    assert re.match(r"to stay unchanged for 3\d{3}\.\d s more", block["quiet"])
    assert block["verdict"].startswith("waiting: until it has stayed unchanged for long enough")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda _, sidecar: os.truncate(sidecar, 9), "its length of 9 bytes is not"),
        (lambda _, sidecar: os.utime(sidecar), "its modification time .* is not the image's"),
        (
            lambda image, sidecar: change_after(image, sidecar.stat().st_ctime_ns),
            "the image changed at .* after it was written",
        ),
        (
            lambda _, sidecar: (sidecar.unlink(), sidecar.mkdir()),
            "it is no regular file",
        ),
    ],
    ids=["length", "mtime", "ctime", "kind"],
)
def test_why_a_sidecar_is_not_current(
    damage: Callable[[Path, Path], object],
    words: str,
    installed: Installation,
    commands: Commands,
) -> None:
    image = recorded(installed, "a.jpg")
    assert blocks(commands.explain(image)[1])[0]["verdict"] == "uploaded"
    damage(image, beside(image))
    assert re.search(words, blocks(commands.explain(image)[1])[0]["sidecar"])


def test_a_right_sidecar_with_an_old_stamp_is_said_to_have_the_right_hash(
    installed: Installation, commands: Commands
) -> None:
    image = recorded(installed, "a.jpg")
    os.utime(image)
    _, out, _ = commands.explain(image)
    assert "the hash is what the sidecar says" in out
    assert "Its sidecar has the right hash" in out
    beside(image).write_text(f"{HASH}  a.jpg\n")
    _, out, _ = commands.explain(image)
    assert "the sidecar is of other content, or lies" in out


def test_a_sidecar_that_looks_current_and_is_not_ours_is_told(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("a.jpg", picture())
    beside(image).write_text(f"{HASH}  b.jpg\n")
    with_time_of(image, beside(image))
    _, out, _ = commands.explain(image)
    assert HASH in out
    assert blocks(out)[0]["verdict"].startswith("uploaded")
    assert "Its sidecar is another image's: `verify` mends that." in out
    beside(image).write_text("-" * (len(HASH) + 8))
    with_time_of(image, beside(image))
    _, out, _ = commands.explain(image)
    assert "no checksum line of this image" in out
    assert "Its sidecar is not ours: `verify` names it." in out


def test_a_note_is_repeated_and_the_remedy_named(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("DSC.tif", raw())
    installed.once()
    code, out, _ = commands.explain(image)
    assert code == 1
    (block,) = blocks(out)
    assert block["note"].startswith("current")
    assert "Why: It is a RAW file in Adobe's format (DNG)." in block["verdict"]
    assert f"retry {image}" in block["verdict"]


# What is no image


def test_folders(installed: Installation, commands: Commands) -> None:
    installed.drop("Monday/a.jpg", picture())
    installed.drop("CaptureOne/b.jpg", picture())
    installed.drop("file.txt", b"")
    (installed.share / "link").symlink_to("Monday")
    share = installed.share
    code, out, err = commands.explain(
        share, share / "Monday", share / "CaptureOne", share / "CaptureOne/b.jpg",
        share / "link/a.jpg", share / "gone/a.jpg", share / "file.txt/a.jpg",
    )  # fmt: skip
    assert (code, err) == (1, "")
    root, monday, ignored, in_ignored, in_link, in_gone, in_file = blocks(out)
    for block in (root, monday):
        assert block["images"] == "0 uploaded, 0 rejected, 1 waiting, in it and below"
        assert "not watched: no daemon runs" in block["verdict"]
    assert "'CaptureOne/' of this share" in ignored["rules"]
    assert "CaptureOne is ignored: the pattern" in in_ignored["rules"]
    assert "link: a link: links are not followed" in in_link["path"]
    assert in_link["verdict"] == "ignored"
    assert "gone: nothing is there" in in_gone["path"]
    assert "file.txt: a file, not a folder" in in_file["path"]
    assert in_gone["verdict"] == in_file["verdict"] == "not there"


def test_a_folder_deeper_than_anybody_reaches(installed: Installation, commands: Commands) -> None:
    fd = os.open(installed.share, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=fd)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    code, out, _ = commands.explain(f"{installed.share}/{'/'.join(['d' * 250] * 17)}/a.jpg")
    assert code == 0
    assert "its folder's path has more than 4096 bytes" in out


def test_our_own_records_and_what_is_named_like_them(
    installed: Installation, commands: Commands
) -> None:
    good = installed.drop("a.jpg", picture())
    bad = installed.drop("b.tif", raw())
    installed.once()
    foreign = installed.drop("c.jpg.sha256", b"mine")
    gone = installed.share / "gone/a.jpg.sha256"
    paths = [beside(good), beside(bad, ".rejected.txt"), foreign, installed.share / "d.jpg.sha256"]
    code, out, err = commands.explain(*paths, gone)
    assert (code, err) == (1, "")
    sidecar, note, orphan, nothing, nowhere = blocks(out)
    assert sidecar["record"].startswith("current")
    assert f"explain {good}" in sidecar["verdict"]
    assert note["written"] == "ours"
    assert "not ours" in orphan["claims"]
    assert "none of that name is there" in orphan["image"]
    assert nothing["verdict"].startswith("not there")
    assert nowhere["verdict"] == "not there"


def test_records_in_a_mirror(installed: Installation, commands: Commands) -> None:
    mirror = installed.folder / "mirror"
    mirror.mkdir()
    installed.configure(share=f'sidecars = "{mirror}"')
    image = installed.drop("Monday/a.jpg", picture())
    assert blocks(commands.explain(image)[1])[0]["sidecar"] == "none"
    assert "nothing is there" in commands.explain(mirror / "Monday/a.jpg.sha256")[1]
    installed.once()
    code, out, err = commands.explain(
        image, mirror / "Monday/a.jpg.sha256", mirror / "Monday", mirror / "gone/a.jpg.sha256"
    )
    assert (code, err) == (0, "")
    by_image, by_record, folder, gone = blocks(out)
    assert by_image["verdict"] == "uploaded"
    assert by_record["record"].startswith("current")
    assert "Only records of that share" in folder["verdict"]
    assert "the folder of that image is not there" in gone["image"]


# What cannot be examined


def test_wrong_paths_are_told_in_a_line_each_and_the_others_explained(
    installed: Installation,
) -> None:
    installed.drop("a.jpg", picture())
    done = installed.call(
        "explain", "/etc/passwd", "", str(installed.share / "a.jpg"), str(installed.share / HOSTILE)
    )
    assert done.code == 1
    assert re.fullmatch(
        r"autoretouch-watcher: /etc/passwd is in none of the shares: .*\n"
        r"autoretouch-watcher: an empty path leads nowhere\n",
        done.stderr,
    )
    assert "waiting: for the daemon" in done.stdout
    assert r"[red]\udcff\x1b[31m\n.jpg" in done.stdout


def test_a_share_that_is_gone(installed: Installation, commands: Commands) -> None:
    installed.share.rmdir()
    code, out, err = commands.explain(installed.share / "a.jpg")
    assert (code, out) == (1, "")
    assert f"cannot enter {installed.share}: No such file or directory" in err


@needs_fuse
def test_a_share_that_hangs(
    installed: Installation, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    (installed.folder / "behind").mkdir()
    monkeypatch.setattr(locate, "HUNG_SECONDS", 0.3)
    monkeypatch.setattr(settings, "ANSWER_SECONDS", 0.1)
    with FuseShare(installed.share, installed.folder / "behind") as share:
        share.hang()
        code, _, err = commands.explain(installed.share / "a.jpg")
        share.go_on()
    assert code == 1
    assert "no answer from its file server" in err


@needs_fuse
def test_where_the_kernel_cannot_tell_the_file_is_watched(
    installed: Installation, commands: Commands
) -> None:
    (installed.folder / "behind").mkdir()
    with FuseShare(installed.share, installed.folder / "behind"):
        image = installed.drop("a.jpg", picture())
        code, out, _ = commands.explain(image)
    assert code == 0
    assert "the kernel cannot tell" in out
    assert "waiting: for the daemon" in out


def test_what_may_not_be_read_is_told(installed: Installation, commands: Commands) -> None:
    image = installed.drop("closed/a.jpg", picture())
    image.chmod(0)
    with without_override():
        code, out, _ = commands.explain(image)
        image.parent.chmod(0)
        folder_code, folder, _ = commands.explain(image, image.parent)
        image.parent.chmod(0o755)
    assert (code, folder_code) == (1, 1)
    assert "it cannot be read: Permission denied" in out
    assert "failed: it cannot be read" in out
    assert folder.count("Permission denied") >= 1
    assert "1 folders cannot be listed" in folder


def test_a_mirror_that_is_gone_is_told(installed: Installation, commands: Commands) -> None:
    installed.configure(share=f'sidecars = "{installed.folder}/mirror"')
    image = installed.drop("a.jpg", picture())
    code, out, _ = commands.explain(image)
    assert code == 1
    (block,) = blocks(out)
    assert block["record"].startswith(f"cannot enter {installed.folder}/mirror")
    assert block["verdict"] == "failed: its record cannot be read"


# The daemon beside it


def a_snapshot(installed: Installation, **more: Any) -> Snapshot:
    quiet = Snapshot(
        version="1",
        pid=1,
        started=0.0,
        at=0.0,
        counts=Counts(),
        waiting=7,
        flights=(),
        shares=(ShareState(str(installed.share), "events"),),
        conditions=(),
        files_per_second=0.0,
        bytes_per_second=0.0,
        last_upload=None,
        moving=True,
    )
    return replace(quiet, **more)


@pytest.fixture
def published(installed: Installation) -> Iterator[Published]:
    published = Published(str(installed.folder / "state"))
    with published.alone():
        yield published


def test_what_the_daemon_does_with_it_just_now(
    installed: Installation, commands: Commands, published: Published
) -> None:
    image = installed.drop("a.jpg", picture())

    def verdict() -> str:
        return blocks(commands.explain(image)[1])[0]["verdict"]

    assert verdict() == "waiting: for its turn The daemon runs."
    published.publish(a_snapshot(installed))
    assert verdict() == "waiting: for its turn The daemon runs; 7 files wait in it."
    assert "watched (events)" in commands.explain(installed.share)[1]
    sending = Flight(str(installed.share), "a.jpg", "sending", 4, 10, 1.0)
    published.publish(a_snapshot(installed, flights=(sending,)))
    assert verdict() == "waiting: in flight, 40 % of 10 bytes sent"
    looking = Flight(str(installed.share), "a.jpg", "looking", 0, 0, 3.0)
    published.publish(a_snapshot(installed, flights=(looking,)))
    assert verdict() == "waiting: a worker has been looking at it for 3 s"
    held = Condition("login_needed", "", "no token", 0.0)
    other = Condition("share_gone", "/elsewhere", "gone", 0.0)
    published.publish(a_snapshot(installed, conditions=(held, other)))
    assert verdict().startswith("waiting: held by login_needed login_needed: no token. Sign in")


def test_when_the_daemon_looks_again_at_what_lost_its_record(
    installed: Installation, commands: Commands, published: Published
) -> None:
    share = Share(str(installed.share))
    hows: dict[Literal["events", "polling", "not yet"], str] = {
        "events": "runs and looks at once",
        "polling": "within 5 seconds",
        "not yet": "when it next scans",
    }
    for how, words in hows.items():
        published.publish(a_snapshot(installed, shares=(ShareState(share.root, how),)))
        assert words in Neighbour(commands.state_dir).looks(share)
    mirrored = Share(str(installed.share), mirror="/mirror")
    assert "within 300 seconds" in Neighbour(commands.state_dir).looks(mirrored)
    (Path(commands.state_dir) / "daemon.lock").chmod(0)
    with without_override():
        assert "cannot be told" in Neighbour(commands.state_dir).looks(share)


def test_a_state_directory_that_is_not_ours_is_told(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("a.jpg", picture())
    with Published(commands.state_dir).alone():
        (Path(commands.state_dir) / "daemon.lock").chmod(0)
        with without_override():
            code, out, _ = commands.explain(image)
    assert code == 0
    assert "Whether a daemon runs cannot be told" in out


def test_a_running_daemon_and_a_service_that_wants_a_login(installed: Installation) -> None:
    installed.environment["AUTORETOUCH_ACCESS_TOKEN"] = "wrong"
    image = installed.drop("a.jpg", picture())
    with installed.daemon() as daemon:
        daemon.wait_for("condition_raised", condition="login_needed")
        daemon.wait_until(
            lambda: "held by login_needed" in installed.call("explain", str(image)).stdout,
            what="the condition in what explain says",
        )


def test_on_a_terminal(installed: Installation) -> None:
    image = installed.drop("[red]a.jpg", picture())
    code, drawn = on_a_terminal(installed.command("explain", str(image)), installed.environment)
    assert code == 0
    assert "[red]a.jpg" in drawn
    assert "waiting: for the daemon" in drawn
