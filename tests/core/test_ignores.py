"""Which names are candidates: told by the name alone, the same for the scan, events, and people."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import NAMES, PROPERTY
from watcher.ignores import Ignores

BUILT_IN = Ignores()


@pytest.mark.parametrize(
    "extension", ["jpg", "jpeg", "jpe", "jfif", "png", "tif", "tiff", "webp", "JPG", "TiF", "WebP"]
)
def test_a_name_with_an_image_extension_is_a_candidate(extension: str) -> None:
    for stem in ("a", "IMG 0001", "a.b", "a\nb", "\udcff", "a.jpg"):
        assert BUILT_IN.anywhere(f"folder/{stem}.{extension}") is None


@pytest.mark.parametrize(
    "name",
    [
        "a.nef",
        "a.heic",
        "a.psd",
        "a.txt",
        "a",
        "jpg",
        "a.jpg ",
        "a.jpgx",
        "a.jpg.xmp",
        "a.jpg\n",
        "",
    ],
)
def test_everything_else_is_none_of_our_business(name: str) -> None:
    assert BUILT_IN.file(name) == "its name has no image extension"


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jpg", "._IMG_0001.jpg", ".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini",
        "Desktop.ini", "a.tmp", "a.part", "a.partial", "a.filepart", "a.crdownload", "a.TMP",
        "~$a.jpg", "a.jpg.sha256", "a.jpg.rejected.txt", "a.jpg.part", ".autoretouch-0.tmp",
    ],
)  # fmt: skip
def test_names_that_designs_list_ignores_are_ignored_as_files(name: str) -> None:
    assert BUILT_IN.file(name) is not None
    assert BUILT_IN.anywhere(f"folder/{name}") is not None


@pytest.mark.parametrize(
    "name",
    [
        ".hidden", "@eaDir", "#recycle", "#snapshot", "lost+found", ".AppleDouble", ".Trashes",
        ".Trash-1000", "copy.tmp", "copy.part", "~$x",
    ],
)  # fmt: skip
def test_names_that_designs_list_ignores_are_ignored_as_folders_with_all_below(name: str) -> None:
    assert BUILT_IN.folder(name) is not None
    assert BUILT_IN.folder(f"a/{name}") is not None
    for path in (f"{name}/a.jpg", f"x/{name}/a.jpg", f"{name}/x/a.jpg"):
        assert BUILT_IN.anywhere(path) is not None
    for folder in (name, f"x/{name}", f"{name}/x", f"{name}/x/y"):
        assert BUILT_IN.folders(folder) is not None


@pytest.mark.parametrize("name", ["@eadir", "#Recycle", "eaDir", "CaptureOne", "lost", "a.tmpx"])
def test_other_folders_are_not(name: str) -> None:
    assert BUILT_IN.folder(name) is None
    assert BUILT_IN.folders(f"{name}/{name}") is None
    assert BUILT_IN.folders("") is None


def test_a_rule_is_named_so_that_people_can_find_it() -> None:
    share = Ignores(["CaptureOne/", "draft-*"])
    assert share.anywhere("x/.hidden/a.jpg") == "built in: hidden names"
    assert share.anywhere("a.tmp/b.jpg") == "built in: temporary names"
    assert share.anywhere("@eaDir/b.jpg") == "built in: server names"
    assert share.anywhere("x/CaptureOne/y/a.jpg") == "the pattern 'CaptureOne/' of this share"
    assert share.anywhere("x/draft-1.jpg") == "the pattern 'draft-*' of this share"
    assert share.anywhere("x/final-1.jpg") is None


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        (["out/"], ["out/a.jpg", "x/out/a.jpg"], ["outer/a.jpg", "out.jpg"]),
        (["/out/"], ["out/a.jpg"], ["x/out/a.jpg"]),
        (["*.png"], ["a.png", "x/a.png"], ["a.jpg", "a.PNG"]),
        (["*.png", "!keep.png"], ["a.png"], ["keep.png", "x/keep.png"]),
        (["x/*.jpg"], ["x/a.jpg"], ["x/y/a.jpg", "a.jpg"]),
        (["x/**/z"], ["x/z/a.jpg", "x/y/y/z/a.jpg"], ["z/a.jpg"]),
        (["", "# comment", "  ", "a?.jpg"], ["ab.jpg"], ["a.jpg", "abc.jpg"]),
        (["[ab].jpg"], ["a.jpg"], ["c.jpg"]),
        (["\\#a.jpg"], ["#a.jpg"], ["a.jpg"]),
        (["two words/  "], ["two words/a.jpg"], ["two/a.jpg"]),
        (["out/", "!out/"], [], ["out/a.jpg"]),
        (["!.hidden.jpg"], [".hidden.jpg"], ["a.jpg"]),  # what is built in stays
        ([], [], ["out/a.jpg"]),
    ],
)  # fmt: skip
def test_a_shares_patterns_mean_what_git_means(
    patterns: list[str], ignored: list[str], kept: list[str]
) -> None:
    share = Ignores(patterns)
    for path in ignored:
        assert share.anywhere(path) is not None, path
    for path in kept:
        assert share.anywhere(path) is None, path


@pytest.mark.parametrize("pattern", ["!", "\\", "[z-a]", "x[--!]/y", "[a-[]"])
def test_a_pattern_that_cannot_be_read_is_an_error_that_names_it(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern that cannot be read") as caught:
        Ignores(["x/", pattern, "y/"])
    assert f": {pattern!a}" in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_a_pattern_that_python_may_read_otherwise_one_day_is_no_warning() -> None:
    assert Ignores(["[[a].jpg"]).file("a.jpg") is not None


@given(st.lists(st.text(st.sampled_from("abz[]!-^*?/\\ #.&|~\n\0\udcff"), max_size=12), max_size=3))
@PROPERTY
def test_whatever_the_pattern_it_is_read_or_refused_in_one_line(patterns: list[str]) -> None:
    said = ""
    try:
        Ignores(patterns).anywhere("x/a.jpg")
    except ValueError as error:
        said = str(error)
    assert said.isprintable()


PARTS = st.one_of(
    NAMES.map(os.fsdecode),
    st.sampled_from(["a.jpg", "out", ".x", "x.tmp", "@eaDir", "a.png", "A", "draft-1.jpg"]),
)
PATTERNS = st.lists(
    st.sampled_from(["out/", "*.png", "!keep.png", "/a/", "draft-*", "x.jpg", "**/q", "#", ""]),
    max_size=4,
)


@given(parts=st.lists(PARTS, min_size=1, max_size=4), patterns=PATTERNS)
@PROPERTY
def test_the_scan_and_the_events_agree_on_every_path(parts: list[str], patterns: list[str]) -> None:
    """The scan asks folder by folder on its way down, an event asks for the whole path."""
    share = Ignores(patterns)
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    path = "/".join(parts)
    by_scan = any(share.folder(f) is not None for f in folders) or share.file(path) is not None
    assert by_scan == (share.anywhere(path) is not None)
