"""Whatever happens to an image at whatever moment of its way: its record is never wrong, and right
in the end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.studio import INCOMPLETE, Studio, claim, everything, sha256, state_beside
from tests.end_to_end.pictures import picture
from watcher.outcomes import Uploaded

PATH = "in/a.tif"
OLD, NEW = picture(1, "TIFF"), picture(2, "TIFF")
NO_IMAGE = b"x" * len(OLD)
SECRET = picture(9, "TIFF")
LARGER, SMALLER = picture(3, "TIFF", (80, 60)), picture(4, "TIFF", (40, 30))


def rewrite(image: Path, content: bytes) -> None:
    """In place, with the modification time set back: the change time alone tells."""
    before = image.stat()
    with image.open("r+b") as file:
        file.write(content)
        file.truncate()
    while image.stat().st_ctime_ns == before.st_ctime_ns:  # the kernel's clock moves in steps
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(image: Path, content: bytes) -> None:
    """By rename, with the same modification time."""
    before = image.stat()
    other = image.with_name("other.part")
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(image)


def swap(place: Path, target: Path) -> None:
    place.rename(place.with_name(f"was {place.name}"))
    place.symlink_to(target)


def make_fifo(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def trade_places(folder: Path) -> None:
    """Another folder takes the place of this one."""
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    (folder / "a.tif").write_bytes(NEW)


def outside(image: Path) -> Path:
    return image.parent.parent.parent / "outside"


DEEDS: dict[str, Callable[[Path], object]] = {
    "grows": lambda image: rewrite(image, LARGER),
    "shrinks": lambda image: rewrite(image, SMALLER),
    "is rewritten with the same size and time": lambda image: rewrite(image, NEW),
    "becomes an incomplete one": lambda image: rewrite(image, NEW[:-100]),
    "is replaced": lambda image: replace(image, NEW),
    "is deleted": lambda image: image.unlink(),
    "is renamed": lambda image: image.rename(image.with_name("b.tif")),
    "becomes a link to outside": lambda image: swap(image, outside(image) / "a.tif"),
    "becomes a FIFO": make_fifo,
    "goes with its folder": lambda image: image.parent.rename(image.parent.with_name("moved")),
    "has its folder replaced": lambda image: trade_places(image.parent),
    "has its folder swapped for a link": lambda image: swap(image.parent, outside(image)),
}

UNTIL_JUDGED = ["seen", "opened", "inspected"]
UNTIL_SENT = [*UNTIL_JUDGED, "hashed", "known?", "half_sent", "sent", "recording", "recorded"]
UNTIL_NOTED = [*UNTIL_JUDGED, "noting", "noted"]


@pytest.mark.parametrize(
    ("at_first", "moment"),
    [(OLD, moment) for moment in UNTIL_SENT] + [(NO_IMAGE, moment) for moment in UNTIL_NOTED],
    ids=[f"image, {moment}" for moment in UNTIL_SENT] + [f"no, {moment}" for moment in UNTIL_NOTED],
)
@pytest.mark.parametrize("deed", DEEDS)
def test_a_file_that_changes_on_its_way_is_never_recorded_wrongly_and_in_the_end_rightly(
    studio: Studio, deed: str, at_first: bytes, moment: str
) -> None:
    image = studio.drop(PATH, at_first)
    outside(image).mkdir()
    (outside(image) / "a.tif").write_bytes(SECRET)
    untouched = everything(outside(image))
    studio.when(moment, lambda: DEEDS[deed](image))

    studio.take(PATH)
    assert studio.meddling.all_done, "the moment never came"
    left = contents(studio.root)
    studio.assert_no_false_record()
    studio.take(PATH)  # as the daemon does after `Changed`
    studio.assert_no_false_record()
    studio.clock.advance(INCOMPLETE)
    studio.bring_all_to_rest()

    studio.assert_no_false_record()
    assert contents(studio.root) == left
    assert everything(outside(image)) == untouched
    whole = {sha256(content) for content in (OLD, NEW, LARGER, SMALLER)}
    assert studio.service.uploads.keys() <= whole
    for path, content in left.items():
        good = content in {OLD, NEW, LARGER, SMALLER}
        assert state_beside(studio.root / path) == ("uploaded" if good else "rejected")
        assert (sha256(content) in studio.service.uploads) == good
    assert not list(studio.root.rglob("*.tmp"))


def contents(root: Path) -> dict[str, bytes]:
    """All images, not through links."""
    files = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in files
        if file.suffix == ".tif" and file.is_file() and not file.is_symlink()
    }


@pytest.mark.parametrize("deed", ["grows", "is rewritten with the same size and time"])
def test_an_image_that_changes_after_its_record_is_looked_at_again(
    studio: Studio, deed: str
) -> None:
    image = studio.drop(PATH, OLD)
    assert isinstance(studio.take(PATH), Uploaded)
    DEEDS[deed](image)
    assert state_beside(image) == "stale"
    assert isinstance(studio.take(PATH), Uploaded)
    assert claim(image) == sha256(image.read_bytes())
