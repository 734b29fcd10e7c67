"""One answer out of the bytes as they come: as another library wrote it, in whatever pieces."""

import gc
import itertools
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.answer import MAX_FRAMING, MAX_INTERIM, AnswerReader, BrokenAnswerError, Received

AT_MOST = 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def read(*parts: bytes, bodiless: bool = False) -> tuple[Received, bool]:
    """What is made of it, and whether the connection goes on."""
    reader = AnswerReader(at_most=AT_MOST, bodiless=bodiless)
    for part in parts:
        reader.feed(part)
    assert reader.done
    return reader.received(), reader.leaves_connection


def in_pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    at = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(at)]


# Written by another library

TOKENS = st.from_regex(rb"x-[a-z0-9]{1,8}", fullmatch=True)
VALUES = st.from_regex(rb"([!-~]([ -~]{0,30}[!-~])?)?", fullmatch=True)
CUTS = st.lists(st.integers(0, 1 << 20), max_size=6)


class Written(NamedTuple):
    """An answer as it was meant, and its bytes in the pieces in which they come."""

    meant: Received
    bodiless: bool
    closes: bool
    parts: list[bytes]


@st.composite
def answers(draw: st.DrawFn) -> Written:
    """All that h11 can write."""
    method, version = draw(st.sampled_from(["GET", "HEAD"])), draw(st.sampled_from("01"))
    status = draw(st.sampled_from([200, 201, 400, 401, 404, 413, 503, 204, 304]))
    headers = [*draw(st.lists(st.tuples(TOKENS, VALUES), max_size=5))]
    body = draw(st.lists(st.binary(max_size=300), max_size=3))
    says_length = draw(st.booleans())
    if says_length:
        headers.append((b"content-length", b"%d" % sum(map(len, body))))
    may_have_body = method == "GET" and status not in {204, 304}
    if not may_have_body:
        body = []
    server = h11.Connection(h11.SERVER)
    server.receive_data(f"{method} / HTTP/1.{version}\r\nHost: x\r\n\r\n".encode())
    while not isinstance(server.next_event(), h11.EndOfMessage):
        pass
    interim = h11.InformationalResponse(status_code=103, headers=[("link", "x")])
    written = b"".join(
        server.send(event) or b""
        for event in (
            *[interim] * draw(st.integers(0, 3)),
            h11.Response(status_code=status, headers=headers),
            *[h11.Data(data=part) for part in body],
            h11.EndOfMessage(),
        )
    )
    parts = in_pieces(written, draw(CUTS))
    closes = server.our_state is h11.MUST_CLOSE
    return Written(
        Received(status, headers, b"".join(body)),
        method == "HEAD",
        closes,
        [*parts, b""] if closes and may_have_body and not says_length else parts,
    )


@given(written=answers())
def test_it_is_read_as_it_was_written(written: Written) -> None:
    received, leaves = read(*written.parts, bodiless=written.bodiless)
    added = {b"transfer-encoding", b"connection"}  # by h11 itself
    headers = [header for header in received.headers if header[0] not in added]
    meant = [header for header in written.meant.headers if header in headers]
    assert received._replace(headers=headers) == written.meant._replace(headers=meant)
    assert leaves != written.closes


@given(data=st.binary(min_size=1, max_size=400), cuts=CUTS)
def test_rubbish_is_a_broken_answer_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    with pytest.raises(BrokenAnswerError):
        read(*in_pieces(data, cuts), b"")


@given(at=st.integers(0, len(OK) - 1), byte=st.integers(0, 255), cuts=CUTS)
def test_a_damaged_answer_is_read_or_refused(at: int, byte: int, cuts: list[int]) -> None:
    damaged = OK[:at] + bytes([byte]) + OK[at + 1 :]
    try:
        received, _ = read(*in_pieces(damaged, cuts), b"")
    except BrokenAnswerError:
        return
    assert len(received.body) <= AT_MOST


# Liberal where that is safe


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200\r\nContent-Length:2\r\n\r\n",
        b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n",
        b"\r\n\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX:\r\nY: \xe9\t\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: folded,\r\n  as it was\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x01\x7f\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_other_forms_are_read(head: bytes) -> None:
    for parts in ([head + b"ok"], in_pieces(head + b"ok", range(1000))):
        received, leaves = read(*parts)
        assert (received.status, received.body, leaves) == (200, b"ok", True)


def test_of_two_lengths_the_chunks_count_spaces_behind_them_or_not() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read(head + b"2  \r\nok\r\n0\r\n\r\n")[0].body == b"ok"


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 2\r\nX: y\r\ncontent-length:2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"X: y\nContent-Length: 2\nContent-Length: 2\n",
    ],
)
def test_equal_lengths_are_one(lengths: bytes) -> None:
    received, leaves = read(b"HTTP/1.1 201 Created\r\n" + lengths + b"\r\nok")
    assert (received.status, received.body, leaves) == (201, b"ok", True)


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2, 3\r\n",
        b"Content-Length: 2,\r\n",
        b"Content-Length: ,\r\n",
        b"Content-Length: x\r\nContent-Length: x\r\n",
        b"Content-Length: +2\r\nContent-Length: +2\r\n",
    ],
)
def test_other_lengths_are_not(lengths: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        read(b"HTTP/1.1 201 Created\r\n" + lengths + b"\r\nok")


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    received, _ = read(b"HTTP/1.1 204 x\r\nContent-Encoding: \t identity \t\r\n\r\n")
    assert received.headers == ((b"content-encoding", b"identity"),)


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.0 100 x\r\n", b"HTTP/1.1 100 x\r\nConnection: close\r\n"]
)
def test_an_interim_answer_says_nothing_of_the_connection(interim: bytes) -> None:
    received, leaves = read(interim + b"\r\n" + OK)
    assert (received.status, received.body, leaves) == (200, b"ok", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 104 x\r\nContent-Length: 2\r\n\r\nok" + OK,
        b"HTTP/1.1 104 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n" + OK,
        b"HTTP/1.1 000 x\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 099 x\r\n\r\n",
    ],
)
@pytest.mark.parametrize("bodiless", ["GET", "HEAD"])
def test_what_comes_before_an_answer_is_no_part_of_it(answer: bytes, bodiless: str) -> None:
    with pytest.raises(BrokenAnswerError):
        read(answer, bodiless=bodiless == "HEAD")


@pytest.mark.parametrize("trailer", [b"", b"X: y\r\n"])
def test_trailers_are_passed_over(trailer: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    received, leaves = read(head + b"2;a=b\r\nok\r\n0\r\n" + trailer + b"\r\n")
    assert (received.body, leaves) == (b"ok", True)
    assert received.headers == ((b"transfer-encoding", b"chunked"),)


@pytest.mark.parametrize(
    ("head", "goes_on"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\n", "goes on"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "goes on"),
        (b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", "goes on"),
        (b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", "is closed"),
        (
            b"HTTP/1.1 404 Not Found\r\nConnection: x, Close\r\nConnection: keep-alive\r\n\r\n",
            "is closed",
        ),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "is closed"),
    ],
)
def test_the_answer_to_head_has_no_body_whatever_it_says(head: bytes, goes_on: str) -> None:
    received, leaves = read(head, bodiless=True)
    assert (received.status, received.body, leaves) == (404, b"", goes_on == "goes on")


@pytest.mark.parametrize("behind", [b"x", b"HTT", OK, b"\x00", b"4", b"2a\r\n", b"2\r\nno\r\n"])
@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("body", [b"", b"ok"])
def test_what_comes_behind_it_is_not_taken_for_the_next(
    behind: bytes, close: bytes, body: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 2\r\n\r\n"
    received, leaves = read(head + body + behind, bodiless=not body)
    assert (received.status, received.body, leaves) == (200, body, False)


# Bounds


def test_of_a_body_no_more_is_kept_than_was_wanted() -> None:
    received, leaves = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", bytes(AT_MOST + 1))
    assert (received.body, leaves) == (bytes(AT_MOST), False)


WITHOUT_END = {
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
    "a chunk's extension": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
        b"y" * 1000,
    ),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 100),
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
}


@pytest.mark.parametrize("kind", WITHOUT_END)
def test_what_has_no_end_is_given_up(kind: str) -> None:
    start, more = WITHOUT_END[kind]
    reader = AnswerReader(at_most=AT_MOST)
    if start:
        reader.feed(start)
    most = MAX_INTERIM if kind == "interim answers" else MAX_FRAMING // len(more) + 1
    with pytest.raises(BrokenAnswerError, match="without end"):
        feed_again_and_again(reader, more, most + 1)


def feed_again_and_again(reader: AnswerReader, data: bytes, times: int) -> None:
    for _ in range(times):
        reader.feed(data)


def test_switching_to_another_protocol_is_no_answer() -> None:
    with pytest.raises(BrokenAnswerError):
        read(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")


@pytest.mark.parametrize("part", [b"", OK[:9], OK[:-1], OK, OK + OK, b"HTTP/1.1 1 x\r\n\r\n"])
def test_a_reader_is_freed_at_once_however_far_it_came(part: bytes) -> None:
    gc.disable()
    try:
        reader = AnswerReader(at_most=AT_MOST)
        with suppress(BrokenAnswerError):
            reader.feed(part)
        gone = weakref.ref(reader._parts)
        del reader
        assert gone() is None
    finally:
        gc.enable()
