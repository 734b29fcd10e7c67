"""`verify`: what does not match is found, what lies is not left, nothing else is touched."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.commands.shares import Commands, beside, claiming, recorded
from tests.core.factories import change_after, made_read_only, without_override
from tests.core.studio import claim, everything, state_beside
from tests.end_to_end.fuse_share import FuseShare, needs_fuse
from tests.end_to_end.pictures import picture, raw
from tests.end_to_end.running import Installation
from tests.end_to_end.test_commands import on_a_terminal
from watcher import settings
from watcher.access import shares_of
from watcher.commands import (
    verify_course,
    verify_display,
    verify_image,
    verify_remote,
    verify_walk,
)
from watcher.commands.census import Stocktaking
from watcher.record import claim_beside, note_of, remove_note, remove_sidecar
from watcher.sandbox import Sandbox, faults
from watcher.settings import load
from watcher.sidecar import ForeignRecord

HOSTILE = os.fsdecode(b"[red]\xff\x1b[31m\n.jpg")
WRONG = "0" * 64
NOTE = ".rejected.txt"


def objects(out: str) -> tuple[dict[str, list[dict[str, str]]], dict[str, Any]]:
    """The findings by kind, and the summary."""
    *lines, last = map(json.loads, out.splitlines())
    found: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        found.setdefault(line["finding"], []).append(line)
    return found, last["summary"]


def paths(found: dict[str, list[dict[str, str]]]) -> dict[str, set[str]]:
    return {kind: {each.get("path", "") for each in all_} for kind, all_ in found.items()}


def digest(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


def test_all_is_well_after_a_run(installed: Installation) -> None:
    for seed, name in enumerate(("a.jpg", "Monday/b.jpg", HOSTILE)):
        installed.drop(name, picture(seed))
    installed.drop("DSC.tif", raw())
    installed.once()
    installed.drop("new.jpg", picture(9))
    before = everything(installed.share)
    done = installed.call("verify")
    assert (done.code, done.stderr) == (0, "")
    assert "With a sidecar: 3, as recorded: 3\n" in done.stdout
    assert "Without one: 1 waiting, 1 rejected\n" in done.stdout
    assert everything(installed.share) == before


def test_a_sidecar_that_lies_is_removed_and_the_image_looked_at_again(
    installed: Installation, commands: Commands
) -> None:
    image, good = recorded(installed, HOSTILE, 1), recorded(installed, "good.jpg", 2)
    claiming(image, WRONG)
    code, out, err = commands.verify(as_json=True)
    assert (code, err) == (1, "")
    found, summary = objects(out)
    assert paths(found) == {"mismatch": {HOSTILE}}
    assert WRONG in found["mismatch"][0]["found"]
    assert found["mismatch"][0]["done"] == "its sidecar was removed"
    assert found["mismatch"][0]["removed"]
    assert (summary["verified"], summary["matching"]) == (2, 1)
    assert summary["bytes"] == image.stat().st_size + good.stat().st_size
    assert not beside(image).exists()
    assert claim(good) == digest(good)
    assert commands.verify()[0] == 0
    assert len(installed.once().named("already_known")) == 1
    assert claim(image) == digest(image)


def test_what_a_sidecar_said_that_was_removed_is_in_the_lines(
    installed: Installation, commands: Commands
) -> None:
    image = recorded(installed, "a.jpg")
    claiming(image, WRONG)
    told = commands.verify()[1]
    assert f"the sidecar says {WRONG}, it is {digest(image)}\n" in told
    assert "its sidecar was removed\n" in told
    summary = " ".join(told.split("Read: ")[1].split())
    assert "Our sidecars that were removed: 1; the daemon, or the next `run`, looks" in summary
    assert "Not removed" not in summary


def test_a_running_daemon_mends_what_lied(installed: Installation) -> None:
    with installed.daemon() as daemon:
        image = installed.drop("a.jpg", picture())
        daemon.wait_for("uploaded")
        claiming(image, WRONG)
        assert installed.call("verify").code == 1
        daemon.wait_for("already_known")
        assert claim(image) == digest(image)


def test_what_is_rejected_without_a_note_is_counted_as_status_counts_it(
    installed: Installation, commands: Commands
) -> None:
    for letter, content in (("a", raw()), ("b", picture()), ("c", picture()[:-9]), ("d", b"")):
        installed.drop(f"{letter * 240}.jpg", content)  # a sidecar fits beside it, no note does
    installed.drop(f"{'e' * 245}.jpg", picture())  # not even a sidecar
    installed.drop("f.tif", raw())
    installed.drop("f.tif.rejected.txt", b"my own words")
    closed = installed.drop(f"{'g' * 240}.jpg", raw())
    closed.chmod(0)
    (share,) = shares_of(load(str(installed.config), {}))
    with without_override():
        stock = Stocktaking(share).run()
        out = commands.verify(as_json=True)[1]
    found, summary = objects(out)
    assert (stock.rejected, stock.waiting) == (3, 4)
    assert (summary["rejected"], summary["waiting"]) == (3, 4)
    assert paths(found) == {"foreign": {"f.tif.rejected.txt"}}


def test_what_is_rejected_without_a_note_is_so_though_the_mirror_is_empty(
    installed: Installation, commands: Commands
) -> None:
    mirror = installed.folder / "mirror"
    mirror.mkdir()
    installed.configure(share=f'sidecars = "{mirror}"')
    installed.drop(f"Monday/{'a' * 240}.jpg", raw())
    installed.drop("Monday/b.jpg", raw())
    _, summary = objects(commands.verify(as_json=True)[1])
    assert (summary["rejected"], summary["waiting"]) == (1, 1)


def test_a_record_that_goes_while_it_is_looked_at_is_nothing_amiss(
    installed: Installation, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As beside `retry`, and beside a daemon that follows a rename."""

    def note_gone(image: str, folder: int) -> Literal["ours", "foreign", "none"]:
        remove_note(image, folder)
        return note_of(image, folder)

    def sidecar_gone(image: str, folder: int) -> str | ForeignRecord | None:
        remove_sidecar(image, folder)
        return claim_beside(image, folder)

    note = b"This image was not sent to AutoRetouch.\n"
    for name in ("there.jpg.rejected.txt", "gone.jpg.rejected.txt"):
        installed.drop(name, note)
    installed.drop("there.jpg", raw())
    recorded(installed, "renamed.jpg", 1).unlink()
    recorded(installed, "sent.jpg", 2)
    monkeypatch.setattr(verify_walk, "note_of", note_gone)
    for module in (verify_walk, verify_image):
        monkeypatch.setattr(module, "claim_beside", sidecar_gone)
    code, out, _ = commands.verify(as_json=True)
    assert (code, objects(out)[0]) == (0, {})


def test_each_kind_of_finding(
    installed: Installation, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_walk, "LEFT_SECONDS", -1)
    stale, changed, torn, foreign, believed, orphan = (
        recorded(installed, f"{name}.jpg", seed)
        for seed, name in enumerate(["stale", "changed", "torn", "foreign", "believed", "orphan"])
    )
    change_after(stale, beside(stale).stat().st_ctime_ns)
    changed.write_bytes(picture(90))
    beside(torn).write_bytes(b"0" * 10)
    beside(foreign).write_bytes(b"my own words")
    beside(believed).write_text("-" * len(f"{WRONG}  Believed.jpg\n"))
    os.utime(beside(believed), ns=(believed.stat().st_mtime_ns,) * 2)
    orphan.unlink()
    installed.drop("gone.tif.rejected.txt", b"This image was not sent to AutoRetouch.\n")
    installed.drop("else.jpg.rejected.txt", b"mine")  # without an image: none of our business
    installed.drop("stale.jpg.rejected.txt", b"mine")
    installed.drop("archive.tar.sha256", b"mine")
    installed.drop("backup.jpg.sha256", b"mine")
    installed.drop(".autoretouch-0123456789abcdef.tmp", b"")
    before = everything(installed.share)
    code, out, err = commands.verify(as_json=True)
    assert (code, err) == (1, "")
    found, summary = objects(out)
    assert paths(found) == {
        "stale": {"stale.jpg", "changed.jpg"},
        "torn": {"torn.jpg.sha256"},
        "foreign": {
            "backup.jpg.sha256",
            "foreign.jpg.sha256",
            "believed.jpg.sha256",
            "stale.jpg.rejected.txt",
        },
        "orphaned_sidecar": {"orphan.jpg.sha256"},
        "orphaned_note": {"gone.tif.rejected.txt"},
        "left_over": {".autoretouch-0123456789abcdef.tmp"},
    }
    assert summary["findings"] == {kind: len(each) for kind, each in found.items()}
    assert everything(installed.share) == before
    told = commands.verify()[1]
    assert "its content has changed since" in told
    assert "the daemon takes it for current" in told
    assert max(len(line) for line in told.split("Read: ")[1].splitlines()) <= 80


def test_paths_narrow_it(installed: Installation, commands: Commands) -> None:
    one, two = recorded(installed, "one.jpg", 1), recorded(installed, "Monday/two.jpg", 2)
    recorded(installed, "three.jpg", 3)
    ignored = installed.drop("CaptureOne/a.jpg", picture())
    code, out, _ = commands.verify(one, beside(two), as_json=True)
    assert (code, objects(out)[1]["matching"]) == (0, 2)
    code, out, _ = commands.verify(two.parent, as_json=True)
    assert (code, objects(out)[1]["matching"]) == (0, 1)
    code, out, _ = commands.verify(
        ignored, ignored.parent, installed.share / "no.jpg", as_json=True
    )
    assert code == 1
    assert len(objects(out)[0]["not_there"]) == 3
    assert commands.verify("/etc")[0] == 2
    assert "is in none of the shares" in installed.call("verify", "/etc").stderr


def test_a_mirror_and_what_in_it_belongs_to_nothing(
    installed: Installation, commands: Commands
) -> None:
    mirror = installed.folder / "mirror"
    mirror.mkdir()
    installed.configure(share=f'sidecars = "{mirror}"')
    for seed, name in enumerate(("Monday/a.jpg", "Monday/b.jpg", "Tuesday/c.jpg")):
        installed.drop(name, picture(seed))
    installed.once()
    assert commands.verify()[0] == 0
    (installed.share / "Monday/b.jpg").unlink()
    shutil.rmtree(installed.share / "Tuesday")
    code, out, _ = commands.verify(as_json=True)
    found, summary = objects(out)
    assert (code, summary["matching"]) == (1, 1)
    assert paths(found) == {"orphaned_sidecar": {"Monday/b.jpg.sha256", "Tuesday/c.jpg.sha256"}}
    assert {each["share"] for each in found["orphaned_sidecar"]} == {str(mirror)}
    # As when the share is not mounted: nothing is concluded.
    shutil.rmtree(installed.share / "Monday")
    code, out, _ = commands.verify(as_json=True)
    found, _ = objects(out)
    assert code == 1
    assert paths(found) == {"share": {""}}
    assert "as if nothing were mounted" in found["share"][0]["found"]


def test_a_missing_share_and_a_missing_mirror_do_not_hold_up_the_others(
    installed: Installation, commands: Commands
) -> None:
    recorded(installed, "a.jpg")
    for name in ("gone", "other"):
        (installed.folder / name).mkdir()
    (installed.folder / "other/a.jpg").write_bytes(picture())
    (installed.folder / "gone").rmdir()
    installed.configure(
        more=f'[[share]]\npath = "{installed.folder}/gone"\n'
        f'[[share]]\npath = "{installed.folder}/other"\n'
        f'sidecars = "{installed.folder}/no-mirror"\n'
    )
    code, out, _ = commands.verify(as_json=True)
    found, summary = objects(out)
    assert (code, summary["matching"]) == (1, 1)
    assert {each["share"] for each in found["share"]} == {
        f"{installed.folder}/gone", f"{installed.folder}/other",
    }  # fmt: skip


def test_what_cannot_be_read_is_told(installed: Installation, commands: Commands) -> None:
    image = recorded(installed, "a.jpg")
    recorded(installed, "closed/b.jpg", 1)
    image.chmod(0)
    os.utime(beside(image), ns=(image.stat().st_mtime_ns,) * 2)
    image.parent.joinpath("closed").chmod(0)
    with without_override():
        code, out, _ = commands.verify(as_json=True)
    image.parent.joinpath("closed").chmod(0o755)
    assert code == 1
    assert paths(objects(out)[0]) == {"unreadable": {"a.jpg", "closed"}}


def test_a_sidecar_that_lies_on_a_read_only_share_is_told(
    installed: Installation, commands: Commands
) -> None:
    def fill(point: Path) -> None:
        (point / "a.jpg").write_bytes(picture())
        claiming(point / "a.jpg", WRONG)

    with made_read_only(installed.folder / "card", fill) as card:
        installed.configure(more=f'[[share]]\npath = "{card}"\n')
        _, out, _ = commands.verify(card, as_json=True)
        told = commands.verify(card)[1]
        claiming(recorded(installed, "b.jpg"), WRONG)
        both = commands.verify()[1]
    (mismatch,) = objects(out)[0]["mismatch"]
    assert "could not be removed: cannot write" in mismatch["done"]
    assert "removed" not in mismatch
    summary = " ".join(told.split("Read: ")[1].split())
    assert "Not removed: 1, each line says why." in summary
    assert "looks at those images again" not in summary
    summary = " ".join(both.split("Read: ")[1].split())
    assert "Our sidecars that were removed: 1; " in summary
    assert "Not removed: 1, " in summary


@needs_fuse
def test_a_share_that_hangs_does_not_hold_up_the_others(
    installed: Installation, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(verify_course, "HUNG_SECONDS", 0.5)
    monkeypatch.setattr(verify_course, "LOOK_SECONDS", 0.1)
    recorded(installed, "a.jpg")
    stuck, behind = installed.folder / "stuck", installed.folder / "behind"
    stuck.mkdir()
    behind.mkdir()
    installed.config.write_text(
        installed.config.read_text().replace("[[share]]", f'[[share]]\npath = "{stuck}"\n[[share]]')
    )
    with FuseShare(stuck, behind) as share:
        share.hang()
        code, out, _ = commands.verify(as_json=True)
        share.go_on()
    found, summary = objects(out)
    assert (code, summary["matching"]) == (1, 1)
    assert found["share"][0]["share"] == str(stuck)
    assert "no answer from its file server" in found["share"][0]["found"]


# With the service


def test_what_the_service_has_is_well(installed: Installation, commands: Commands) -> None:
    for seed in range(20):
        recorded(installed, f"{seed}.jpg", seed)
    code, out, err = commands.verify(remote=True, as_json=True)
    assert (code, err) == (0, "")
    assert objects(out)[1]["matching"] == 20
    assert installed.service.counters["HEAD /upload"] == 20
    assert installed.service.counters["POST /upload"] == 0


def test_what_the_service_has_lost_is_sent_again(
    installed: Installation, commands: Commands, service: Sandbox
) -> None:
    lost, same, kept = (recorded(installed, f"{n}.jpg", n // 2) for n in range(3))
    service.forget(digest(lost))
    code, out, err = commands.verify(remote=True, as_json=True)
    assert (code, err) == (1, "")
    found, summary = objects(out)
    assert summary["matching"] == 1
    assert {each["path"] for each in found["lost"]} <= {"0.jpg", "1.jpg"}
    assert "sent again" in {each["done"] for each in found["lost"]}
    assert digest(lost) in service.uploads
    assert service.counters["POST /upload"] == 1
    assert [state_beside(each) for each in (lost, same, kept)] == ["uploaded"] * 3
    assert commands.verify(remote=True)[0] == 0


def test_what_the_service_has_lost_is_left_to_a_running_daemon(
    installed: Installation, service: Sandbox
) -> None:
    image = recorded(installed, "a.jpg")
    service.forget(digest(image))
    with installed.daemon() as daemon:
        done = installed.call("verify", "--remote")
        assert done.code == 1
        assert "its sidecar was removed: the daemon sends it again" in done.stdout
        daemon.wait_for("uploaded")
    assert digest(image) in service.uploads


def test_a_lost_image_that_was_renamed_with_its_sidecar_is_sent(
    installed: Installation, commands: Commands, service: Sandbox
) -> None:
    image = recorded(installed, "a.jpg")
    service.forget(digest(image))
    renamed = image.with_name("other.jpg")
    image.rename(renamed)
    beside(image).rename(beside(renamed))
    code, out, _ = commands.verify(remote=True, as_json=True)
    assert code == 1
    assert objects(out)[0]["lost"][0]["done"] == "sent again"
    assert digest(renamed) in service.uploads
    assert claim(renamed) == digest(renamed)


def test_a_sidecar_that_came_with_another_image_is_not_left_to_be_believed(
    installed: Installation, commands: Commands
) -> None:
    image = recorded(installed, "a.jpg")
    renamed = image.with_name("b.jpg")
    image.rename(renamed)
    beside(image).rename(beside(renamed))
    code, out, _ = commands.verify(as_json=True)
    assert code == 1
    (stale,) = objects(out)[0]["stale"]
    assert (stale["path"], stale["found"]) == ("b.jpg", "it says another image's name")
    assert stale["done"] == "its sidecar was removed"
    assert not beside(renamed).exists()


def test_a_lost_image_that_is_rejected_now_is_told(
    installed: Installation, commands: Commands
) -> None:
    image = installed.drop("a.tif", raw())
    claiming(image, digest(image))
    _, out, _ = commands.verify(remote=True, as_json=True)
    found, _ = objects(out)
    assert found["lost"][0]["done"] == "not sent: it is rejected now (raw)"
    assert state_beside(image) == "rejected"


def test_a_lost_image_that_somebody_writes_to_is_left(
    installed: Installation, commands: Commands, service: Sandbox
) -> None:
    image = recorded(installed, "a.jpg")
    service.forget(digest(image))
    with image.open("ab"):
        _, out, _ = commands.verify(remote=True, as_json=True)
    assert "not sent: it is not at rest" in objects(out)[0]["lost"][0]["done"]
    assert not beside(image).exists()


def test_a_refused_token_ends_it(installed: Installation, commands: Commands) -> None:
    for seed in range(5):
        recorded(installed, f"{seed}.jpg", seed)
    installed.environment["AUTORETOUCH_ACCESS_TOKEN"] = "wrong"
    code, out, err = commands.verify(remote=True, as_json=True)
    assert code == 77
    assert "not everything was verified" in err
    assert "autoretouch-watcher login" in err
    assert "error" in objects(out)[1]
    assert len(list(installed.share.glob("*.sha256"))) == 5


def test_denied_access_ends_it(installed: Installation, commands: Commands) -> None:
    recorded(installed, "a.jpg")
    installed.configure(organization="somebody-else")
    code, _, err = commands.verify(remote=True)
    assert code == 1
    assert "403" in err
    assert "Check the organization" in err


def test_access_that_is_denied_to_one_share_keeps_no_other_from_being_verified(
    installed: Installation, commands: Commands, service: Sandbox
) -> None:
    image, other = recorded(installed, "a.jpg"), installed.folder / "other"
    other.mkdir()
    for each in (image, beside(image)):
        shutil.copy2(each, other)
    service.forget(digest(image))
    installed.configure(
        share='organization = "somebody-else"', more=f'[[share]]\npath = "{other}"\n'
    )
    code, out, err = commands.verify(remote=True, as_json=True)
    assert code == 1
    assert f"not everything was verified: {installed.share}: it answered 403" in err
    (lost,) = objects(out)[0]["lost"]
    assert (lost["share"], lost["done"]) == (str(other), "sent again")


def test_trouble_is_waited_out_and_then_ends_it(
    installed: Installation,
    commands: Commands,
    service: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify_remote, "LONGEST_SECONDS", 0.05)
    image = recorded(installed, "a.jpg")
    service.fault(faults.Status(503), path="/upload", times=2)
    assert commands.verify(remote=True)[0] == 0
    service.fault(faults.Status(503), path="/upload", times=None)
    code, _, err = commands.verify(remote=True)
    assert code == 1
    assert "503" in err
    assert "Try again later" in err
    assert beside(image).exists()


@pytest.mark.parametrize(
    "case",
    [
        (faults.Html(), "a page for people"),
        (faults.Html(404), "/health gave 404"),
        (faults.Status(404), "/health gave 404"),
    ],
)
def test_a_gateway_in_its_place_does_not_say_that_the_service_has_lost_anything(
    installed: Installation,
    commands: Commands,
    service: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[faults.Fault, str],
) -> None:
    monkeypatch.setattr(verify_remote, "LONGEST_SECONDS", 0.0)
    fault, told = case
    image = recorded(installed, "a.jpg")
    service.fault(fault, times=None)
    code, out, err = commands.verify(remote=True, as_json=True)
    assert code == 1
    assert "lost" not in objects(out)[0]
    assert told in err
    assert beside(image).exists()


def test_a_service_that_wants_to_be_left_alone_for_long_is(
    installed: Installation, commands: Commands, service: Sandbox
) -> None:
    recorded(installed, "a.jpg")
    service.fault(faults.Status(429, {"Retry-After": "3600"}), path="/upload", times=None)
    code, _, err = commands.verify(remote=True)
    assert code == 1
    assert "429" in err
    assert service.counters["HEAD /upload"] == 1


def test_an_upload_that_fails_leaves_the_image_to_the_next_run(
    installed: Installation, commands: Commands, service: Sandbox
) -> None:
    image = recorded(installed, "a.jpg")
    service.forget(digest(image))
    service.fault(faults.Status(403), method="POST", path="/upload", times=None)
    code, out, err = commands.verify(remote=True, as_json=True)
    assert code == 1
    assert "not sent: it answered 403" in objects(out)[0]["lost"][0]["done"]
    assert "not everything was verified" in err
    assert not beside(image).exists()
    service.clear_faults()
    assert len(installed.once().named("uploaded")) == 1


# How it looks


def test_on_a_terminal_there_is_a_bar_and_names_do_nothing_to_it(
    installed: Installation,
) -> None:
    recorded(installed, "a.jpg")
    beside(recorded(installed, HOSTILE)).write_bytes(b"")
    code, drawn = on_a_terminal(installed.command("verify"), installed.environment)
    assert code == 1
    assert "Verifying" in drawn
    assert "100%" in drawn
    assert r"[red]\udcff\x1b[31m\n.jpg" in drawn
    assert "\x1b[31m\n" not in drawn


def test_elsewhere_there_is_a_line_now_and_then(
    installed: Installation, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_display, "LINE_SECONDS", 0)
    recorded(installed, "a.jpg")
    code, _, err = commands.verify()
    assert code == 0
    assert "1/1 images" in err


def test_ctrl_c_ends_it(installed: Installation, service: Sandbox) -> None:
    recorded(installed, "a.jpg")
    service.latency_seconds = 50
    command = installed.command("verify", "--remote")
    with subprocess.Popen(command, env=installed.environment, stderr=subprocess.PIPE) as process:
        assert service.wait_for(lambda: service.in_flight > 0)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
