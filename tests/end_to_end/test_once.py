"""`run --once`: everything on the share comes to its end state, and a second run has no work."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.pictures import REJECTED, picture, raw
from tests.end_to_end.running import Installation

FOLDERS = (
    "",
    "Montag",
    "Müller & Söhne",
    "a b/c d",
    "é/ü/漢字",
    "/".join("deep" * 1 for _ in range(12)),
)
FORMATS = {
    "jpg": "JPEG",
    "JPEG": "JPEG",
    "png": "PNG",
    "tif": "TIFF",
    "TIFF": "TIFF",
    "webp": "WEBP",
}


def fill(installed: Installation, count: int) -> dict[str, bytes]:
    """Good images of all formats in all folders; content by relative name."""
    dropped = {}
    for number in range(count):
        extension, form = list(FORMATS.items())[number % len(FORMATS)]
        name = os.path.join(FOLDERS[number % len(FOLDERS)], f"IMG {number:04}.{extension}")
        dropped[name] = picture(number, form)
    for name, content in dropped.items():
        installed.drop(name, content)
    return dropped


def check(share: Path) -> int:
    """`sha256sum -c` over every sidecar, as an integrator does; how many it checked."""
    checked = 0
    for folder, _, files in os.walk(share):
        sidecars = [name for name in files if name.endswith(".sha256")]
        checked += len(sidecars)
        if sidecars:
            subprocess.run(
                ["sha256sum", "--strict", "--quiet", "-c", "--", *sidecars], cwd=folder, check=True
            )
    return checked


def hashes(contents: dict[str, bytes]) -> set[str]:
    return {hashlib.sha256(content).hexdigest() for content in contents.values()}


def test_brings_a_mixed_share_to_its_end_state(installed: Installation) -> None:
    dropped = fill(installed, 240)
    for number, name in enumerate(random.Random(1).sample(sorted(dropped), 40)):
        installed.drop(f"copies/{number} again.jpg", dropped[name])
    known = {f"known {number}.jpg": picture(9000 + number) for number in range(20)}
    for name, content in known.items():
        installed.drop(name, content)
        installed.service.add_known(hashlib.sha256(content).hexdigest())
    for name, (content, _) in REJECTED.items():
        installed.drop(name, content)
    for name in (
        ".hidden.jpg",
        "._IMG.jpg",
        "notes.txt",
        "clip.mp4",
        "CaptureOne/x.jpg",
        "a.jpg.part",
    ):
        installed.drop(name, picture(7))

    result = installed.once()

    assert result.code == 1, result.stderr
    assert check(installed.share) == 240 + 40 + 20
    assert set(installed.service.uploads) - hashes(known) == hashes(dropped)
    assert all(stored.count <= 1 for stored in installed.service.uploads.values())
    assert installed.service.counters["POST /upload"] == 240
    assert {e["path"]: e["reason"] for e in result.named("rejected")} == {
        name: reason for name, (_, reason) in REJECTED.items()
    }
    notes = {path.name for path in installed.share.rglob("*.rejected.txt")}
    assert notes == {f"{name}.rejected.txt" for name in REJECTED}
    ends = [e["path"] for e in result.events if e["event"] in {"uploaded", "already_known"}]
    assert len(ends) == len(set(ends)) == 300


def test_a_second_run_opens_no_image_and_asks_nothing(installed: Installation) -> None:
    fill(installed, 24)
    installed.drop("DSC.tif", raw())
    assert installed.once().code == 1
    asked = len(installed.service.requests)

    watched = (
        "import sys\n"
        "def tell(event, args):\n"
        "    if event == 'open' and isinstance(args[0], str) and 'IMG' in args[0]:\n"
        "        print('opened', ascii(args[0]))\n"
        "sys.addaudithook(tell)\n"
        "from watcher.cli import main\n"
        "sys.argv[0] = 'autoretouch-watcher'\n"
        "main()\n"
    )
    arguments = installed.command("run", "--once")[3:]
    done = subprocess.run(
        [sys.executable, "-c", watched, *arguments],
        env=installed.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")  # 1: the RAW is still rejected
    assert len(installed.service.requests) == asked


def test_ends_well_if_nothing_is_rejected(installed: Installation) -> None:
    fill(installed, 3)
    result = installed.once()
    assert result.code == 0
    assert result.named("stopped")[0]["uploaded"] == 3
    assert installed.once().named("stopped")[0]["recorded_before"] == 3


def test_an_empty_share_is_done_at_once(installed: Installation) -> None:
    assert installed.once().code == 0


def test_originals_are_untouched(installed: Installation) -> None:
    path = installed.drop("IMG.jpg", picture())
    os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    before = path.stat()
    assert installed.once().code == 0
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_mode, after.st_ino, after.st_size) == (
        before.st_mtime_ns,
        before.st_ctime_ns,
        before.st_mode,
        before.st_ino,
        before.st_size,
    )
    assert (installed.share / "IMG.jpg.sha256").stat().st_mtime_ns == before.st_mtime_ns


def test_a_dry_run_touches_and_sends_nothing(installed: Installation) -> None:
    installed.drop("IMG.jpg", picture())
    installed.drop("DSC.tif", raw())
    before = sorted(installed.share.iterdir())

    result = installed.call("run", "--dry-run")

    assert [e["path"] for e in result.named("would_upload")] == ["IMG.jpg"]
    assert [(e["path"], e["reason"]) for e in result.named("would_reject")] == [("DSC.tif", "raw")]
    (summary,) = result.named("stopped")
    assert (summary["would_upload"], summary["would_reject"]) == (1, 1)
    assert "uploaded" not in summary
    assert sorted(installed.share.iterdir()) == before
    assert not installed.service.requests


def test_an_interrupted_copy_is_rejected_only_after_its_time(installed: Installation) -> None:
    installed.configure(incomplete=3.0)
    installed.drop("IMG.jpg", picture()[:-40])
    result = installed.once()
    assert [e["reason"] for e in result.named("deferred")] == ["incomplete"]
    assert [e["reason"] for e in result.named("rejected")] == ["incomplete"]
    assert "Copy it here again" in (installed.share / "IMG.jpg.rejected.txt").read_text()
    assert not installed.service.requests


def test_an_empty_file_is_waited_for_and_then_rejected(installed: Installation) -> None:
    installed.configure(incomplete=1.0)
    installed.drop("IMG.jpg", b"")
    result = installed.once()
    assert [e["reason"] for e in result.named("rejected")] == ["incomplete"]
    assert [e["found"] for e in result.named("rejected")] == ["it is empty"]


def test_equal_files_at_the_same_moment_are_sent_once(installed: Installation) -> None:
    installed.service.latency_seconds = 0.1
    for number in range(30):
        installed.drop(f"{number}.jpg", picture())
    assert installed.once().code == 0
    assert installed.service.counters["POST /upload"] == 1
    assert check(installed.share) == 30


def test_a_copied_folder_brings_its_state_along(installed: Installation) -> None:
    fill(installed, 12)
    assert installed.once().code == 0
    shutil.copytree(installed.share / "Montag", installed.share / "Dienstag")
    assert installed.once().code == 0
    assert installed.service.counters["POST /upload"] == 12
    assert check(installed.share) > 12


def test_a_lying_sidecar_is_never_believed(installed: Installation) -> None:
    content = picture()
    path = installed.drop("IMG.jpg", content)
    installed.drop("IMG.jpg.sha256", b"0" * 64 + b"  IMG.jpg\n")
    assert installed.once().code == 0
    assert hashlib.sha256(content).hexdigest() in installed.service.uploads
    assert check(installed.share) == 1
    assert path.read_bytes() == content


def test_a_sidecar_that_is_right_but_old_is_stamped_again_once_the_service_says_so(
    installed: Installation,
) -> None:
    content = picture()
    installed.drop("IMG.jpg", content)
    digest = hashlib.sha256(content).hexdigest()
    sidecar = installed.drop("IMG.jpg.sha256", f"{digest}  IMG.jpg\n".encode())
    os.utime(sidecar, (1, 1))
    installed.service.add_known(digest)
    assert len(installed.once().named("already_known")) == 1
    assert installed.service.counters["HEAD /upload"] == 1
    assert not installed.service.counters["POST /upload"]
    assert not installed.once().named("already_known")


def test_a_foreign_file_in_the_sidecars_place_is_left_alone(installed: Installation) -> None:
    installed.drop("IMG.jpg", picture())
    foreign = installed.drop("IMG.jpg.sha256", b"my shopping list\n")
    result = installed.once()
    assert [e["reason"] for e in result.named("rejected")] == ["foreign_sidecar"]
    assert foreign.read_bytes() == b"my shopping list\n"
    assert not installed.service.requests


def test_sidecars_can_be_mirrored(installed: Installation, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    installed.configure(share=f'sidecars = "{mirror}"')
    dropped = fill(installed, 12)
    installed.drop("a b/DSC.tif", raw())
    assert installed.once().code == 1
    assert not list(installed.share.rglob("*.sha256"))
    mirrored = {str(path.relative_to(mirror)) for path in mirror.rglob("*.sha256")}
    assert mirrored == {f"{name}.sha256" for name in dropped}
    assert (mirror / "a b/DSC.tif.rejected.txt").exists()
    asked = len(installed.service.requests)
    assert installed.once().named("stopped")[0]["recorded_before"] == 12
    assert len(installed.service.requests) == asked


@pytest.mark.parametrize("share", ["/nonexistent/share"])
def test_an_absent_share_is_said_and_nothing_is_concluded(
    installed: Installation, share: str
) -> None:
    installed.config.write_text(installed.config.read_text().replace(str(installed.share), share))
    result = installed.once()
    assert result.code == 1
    assert [e["condition"] for e in result.named("condition_raised")] == ["share_gone"]


def test_an_unmounted_share_that_must_be_mounted_is_gone(installed: Installation) -> None:
    installed.configure(share="require_mount = true")
    installed.drop("IMG.jpg", picture())
    result = installed.once()
    assert [e["condition"] for e in result.named("condition_raised")] == ["share_gone"]
    assert not installed.service.requests
