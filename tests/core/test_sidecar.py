"""One line of text: what is written is what `sha256sum -c` reads, and nothing else is believed."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.core.factories import HARD_NAMES, HASH, NAMES, OTHER_HASH, PROPERTY
from tests.sandbox.client import sha256
from watcher.sidecar import (
    MAX_LINE,
    NAME_MAX,
    ForeignRecord,
    claimed_hash,
    line_length,
    sidecar_line,
)

HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)


def read(line: bytes, name: str) -> str | type[ForeignRecord] | None:
    try:
        return claimed_hash(line, name)
    except ForeignRecord:
        return ForeignRecord


def test_the_documented_example_is_what_is_written() -> None:
    assert sidecar_line("IMG_0001.jpg", HASH) == (
        b"d4d4a63a03c9543f4f21d474500a95d7bb5704c83c139ddc6e005eaba6d54b22  IMG_0001.jpg\n"
    )


@given(raw=NAMES, sha256=HASHES)
@PROPERTY
def test_what_is_written_is_read_back_whatever_the_name(raw: bytes, sha256: str) -> None:
    name = os.fsdecode(raw)
    line = sidecar_line(name, sha256)
    assert claimed_hash(line, name) == sha256
    assert line_length(name) == len(line) <= MAX_LINE
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


@pytest.mark.parametrize("letter", [b"a", b"\\", b"\n", b"\r", b"\xff"])
def test_the_longest_names_have_a_line_that_is_read_whole(letter: bytes) -> None:
    name = os.fsdecode(letter * NAME_MAX)
    assert claimed_hash(sidecar_line(name, HASH), name) == HASH
    assert line_length(name) <= MAX_LINE


@given(raw=NAMES, data=st.data())
@PROPERTY
def test_a_line_that_was_cut_short_claims_nothing_and_is_ours(
    raw: bytes, data: st.DataObject
) -> None:
    name = os.fsdecode(raw)
    line = sidecar_line(name, HASH)
    cut = data.draw(st.integers(0, len(line) - 2))
    assert claimed_hash(line[:cut], name) is None
    assert claimed_hash(line[:-1], name) == HASH  # all of it is there but the line's end


@given(raw=NAMES, other=NAMES)
@PROPERTY
def test_another_files_line_is_never_believed(raw: bytes, other: bytes) -> None:
    # (A name that is another one and a line end more is told apart by the length of its line.)
    assume(other not in {raw, raw + b"\n"})
    assert read(sidecar_line(os.fsdecode(raw), HASH), os.fsdecode(other)) in {None, ForeignRecord}


@given(raw=NAMES, text=st.binary(max_size=80))
@PROPERTY
def test_whatever_stands_there_is_a_hash_or_torn_or_foreign(raw: bytes, text: bytes) -> None:
    answer = read(text, os.fsdecode(raw))
    assert answer in {None, ForeignRecord}


@pytest.mark.parametrize(
    "line",
    [
        f"{HASH} *a.jpg\n",  # binary mode, as on Windows
        f"{HASH}  a.jpg\r\n",
        f"{HASH.upper()}  a.jpg\n",
        f"{HASH}  a.jpg",
        f"\\{HASH}  a.jpg\n",
    ],
)
def test_a_line_of_another_tool_is_understood(line: str) -> None:
    assert claimed_hash(line.encode(), "a.jpg") == HASH


def test_a_carriage_return_is_read_plain_and_escaped() -> None:
    name = "a\\r\r.jpg"  # a backslash and an r, then a real one
    assert claimed_hash(sidecar_line(name, HASH), name) == HASH
    assert claimed_hash(b"\\" + HASH.encode() + b"  a\\\\r\\r.jpg\n", name) == HASH
    assert read(b"\\" + HASH.encode() + b"  a\r\\\\r.jpg\n", name) is ForeignRecord


@pytest.mark.parametrize(
    "text",
    [
        b"shopping list\n",
        HASH.encode() + b"  b.jpg\n",
        HASH.encode() + b"\n",
        HASH.encode() + b" a.jpg\n",
        HASH.encode() + b"  a.jpg\n" + OTHER_HASH.encode() + b"  a.jpg\n",
        HASH.encode() + b"  a.jpg\n\n",
        HASH[:-1].encode() + b"  a.jpg\n",
        HASH.encode() + b"0  a.jpg\n",
        b" " + HASH.encode() + b"  a.jpg\n",
        b"SHA256 (a.jpg) = " + HASH.encode() + b"\n",
        HASH[:40].encode() + b"  a.jpg\n",  # a SHA-1
        HASH.encode() + b"  A.jpg\n",
        HASH.encode() + b"  ./a.jpg\n",
        b"\0" * 64 + b"  a.jpg\n",
        b"\0",
    ],
)
def test_anything_else_is_foreign(text: bytes) -> None:
    with pytest.raises(ForeignRecord):
        claimed_hash(text, "a.jpg")


TOOLS = [
    pytest.param(["sha256sum", "-c", "--strict", "--warn"], b"", id="coreutils"),
    pytest.param(["shasum", "-a", "256", "-c", "--warn"], b"", id="shasum"),
    # BusyBox knows no escapes, so these names are beyond it, whoever wrote the line.
    pytest.param(["busybox", "sha256sum", "-c", "-w"], b"\\\n", id="busybox"),
]


def many_names() -> set[bytes]:
    """The hard ones and random ones. None ends in a carriage return, which `sha256sum` would take
    for a part of the line's end: an image's name ends in its extension."""
    chance = random.Random(7)
    alphabet = b"\\\n\r n*a0\xff\xc3\xa9-'\"$\t"
    made = {bytes(chance.choices(alphabet, k=chance.randint(1, 20))) + b".tif" for _ in range(150)}
    return {*HARD_NAMES, *made}


@pytest.mark.parametrize(("command", "beyond"), TOOLS)
def test_the_tools_accept_every_sidecar_without_a_warning(
    tmp_path: Path, command: list[str], beyond: bytes
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    names = [name for name in many_names() if not set(beyond) & set(name)]
    folder = os.fsencode(tmp_path)
    lines = []
    for number, raw in enumerate(names):
        content = str(number).encode()
        with open(os.path.join(folder, raw), "wb") as file:
            file.write(content)
        lines.append(sidecar_line(os.fsdecode(raw), sha256(content)))
    (tmp_path / "sums").write_bytes(b"".join(lines))

    answer = subprocess.run(
        [*command, "sums"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )

    assert (answer.stderr, answer.returncode) == (b"", 0)
    assert answer.stdout.count(b": OK\n") == len(names)


def test_a_sidecar_is_byte_for_byte_what_coreutils_writes(tmp_path: Path) -> None:
    for raw in HARD_NAMES:
        if b"\r" in raw:
            continue  # newer ones escape it, older ones and other tools cannot read that
        (tmp_path / os.fsdecode(raw)).write_bytes(b"content")
        said = subprocess.run(
            ["sha256sum", "--", raw], cwd=tmp_path, capture_output=True, check=True
        ).stdout
        assert sidecar_line(os.fsdecode(raw), sha256(b"content")) == said
