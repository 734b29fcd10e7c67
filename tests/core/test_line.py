"""A connection that another process has: nobody can tell it from one of our own."""

import errno
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PATIENCE, PROPERTY, a_connection, file_of, wait_until
from tests.core.talking import ANSWER, head_of, saying, silent, talking
from watcher import errors
from watcher.channel import LARGEST, Channel, ChannelLost
from watcher.connection import connections
from watcher.dialling import _serve, dial
from watcher.errors import CertificateRefused, ServiceTrouble, WatcherError
from watcher.exchange import Answer, Connection, Terms
from watcher.line import StoppedError
from watcher.pieces import FileChanged, FilePart, Piece
from watcher.sandbox import Sandbox
from watcher.switchboard import Switchboard

TERMS = Terms(timeout_seconds=PATIENCE, slowest=1e6, ca_file="", proxy="")
CONTENT = os.urandom(3_000_000)
Connect = Callable[[], Connection]


class Body:
    """What is sent, in these pieces; a piece that is an exception is raised."""

    def __init__(self, *pieces: Piece | Exception) -> None:
        self._pieces = pieces
        self.length = sum(len(piece) for piece in pieces if not isinstance(piece, Exception))

    def __iter__(self) -> Iterator[Piece]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@contextmanager
def lines(terms: Terms = TERMS, otherwise: Connect = a_connection) -> Iterator[Connect]:
    """What makes lines; at their other end are threads of this process. `otherwise` is not to be
    needed unless a test says so."""
    ours, theirs = Channel.pair()
    dialling = threading.Thread(target=dial, args=(theirs, {}))
    dialling.start()
    try:
        yield Switchboard(ours, os.getpid()).lines(terms, otherwise)
    finally:
        ours.close()
        dialling.join(PATIENCE)
        theirs.close()


def unneeded() -> Connection:
    raise AssertionError("a connection of our own was asked for")


@pytest.fixture(params=["own", "line"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """What makes connections of either kind."""
    if request.param == "own":
        yield connections(TERMS, {})
    else:
        with lines(otherwise=unneeded) as made:
            yield made


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/upload"


class Keeper:
    """Answers each request, and keeps heads and bodies."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        while head := head_of(connection):
            self.heads.append(head)
            length = 0
            for line in head.lower().splitlines():
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = b""
            while len(body) < length:
                more = connection.recv(1 << 16)
                if not more:
                    break
                body += more
            self.bodies.append(body)
            connection.sendall(ANSWER)


# As with a connection of our own


def test_questions_are_asked_over_one_connection(connect: Connect) -> None:
    keeper = Keeper()
    with talking(keeper) as server, connect() as connection:
        for number in range(3):
            answer = connection.exchange(
                "GET", url(server.port), query={"n": str(number)}, headers={"X-Y": "z"}
            )
            assert answer == Answer(200, {"content-length": "2"}, b"ok")
        assert server.connections == 1
    assert [head.split()[1] for head in keeper.heads] == [b"/upload?n=%d" % n for n in range(3)]
    assert all(b"\r\nX-Y: z\r\n" in head for head in keeper.heads)


@given(
    pieces=st.lists(
        st.binary(max_size=2_000) | st.tuples(st.integers(0, 200_000), st.integers(1, 400_000)),
        max_size=5,
    )
)
@PROPERTY
def test_whatever_it_is_made_of_the_same_bytes_arrive(
    pieces: list[bytes | tuple[int, int]],
) -> None:
    keeper = Keeper()
    with (
        lines(otherwise=unneeded) as connect,
        file_of(CONTENT) as fd,
        talking(keeper) as server,
        connect() as connection,
    ):
        told: list[int] = []
        body = Body(
            *(
                each if isinstance(each, bytes) else FilePart(fd, *each, told.append)
                for each in pieces
            )
        )
        answer = connection.exchange("POST", url(server.port), headers={}, body=body)
    assert (answer.status, answer.body) == (200, b"ok")
    parts = [each for each in pieces if isinstance(each, tuple)]
    assert keeper.bodies == [
        b"".join(
            each if isinstance(each, bytes) else CONTENT[each[0] : sum(each)] for each in pieces
        )
    ]
    assert {sum(each) for each in parts} <= set(told)


@pytest.mark.parametrize("before", [(), (b"head",), ("part",), ("part", b"more")])
def test_what_the_body_raises_passes_unchanged_and_nothing_is_whole(
    connect: Connect, before: tuple[bytes | str, ...]
) -> None:
    keeper = Keeper()
    error = FileChanged("it")
    with file_of(CONTENT) as fd, talking(keeper) as server, connect() as connection:
        pieces = [
            each if isinstance(each, bytes) else FilePart(fd, 0, len(CONTENT)) for each in before
        ]
        body = Body(*pieces, error)
        body.length += 1  # what would have come
        with pytest.raises(FileChanged) as caught:
            connection.exchange("POST", url(server.port), headers={}, body=body)
        assert caught.value is error
        # It is as good as new.
        assert connection.exchange("GET", url(server.port), headers={}).status == 200
    assert all(len(sent) < body.length for sent in keeper.bodies)


def test_a_file_that_ends_early_has_changed(connect: Connect) -> None:
    with file_of(CONTENT) as fd, talking(Keeper()) as server, connect() as connection:
        body = Body(b"head", FilePart(fd, 0, len(CONTENT) + 1))
        with pytest.raises(FileChanged):
            connection.exchange("POST", url(server.port), headers={}, body=body)


def test_an_early_answer_counts_though_the_file_was_not_read(connect: Connect) -> None:
    def refuse(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        silent(connection)

    with tempfile.TemporaryFile() as file, talking(refuse) as server, connect() as connection:
        file.truncate(64 << 20)
        body = Body(b"head", FilePart(file.fileno(), 0, 64 << 20), b"tail")
        answer = connection.exchange("POST", url(server.port), headers={}, body=body)
    assert (answer.status, answer.body) == (413, b"no")


def test_trouble_has_the_same_words(connect: Connect) -> None:
    def leave(connection: socket.socket) -> None:
        head_of(connection)

    with talking(leave) as server, connect() as connection:
        where = url(server.port)
        with pytest.raises(ServiceTrouble, match="without an answer"):
            connection.exchange("GET", where, headers={})
        with pytest.raises(ServiceTrouble, match="could not be sent"):
            connection.exchange("GET", where, headers={"X": "a\nb"})
    with connect() as connection, pytest.raises(ServiceTrouble, match="cannot connect"):
        connection.exchange("GET", where, headers={})


def test_certificates_are_judged_as_the_settings_say(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Sandbox(check="none", ssl_context=context) as sandbox:
        where = f"{sandbox.url}/health"
        with (
            lines(otherwise=unneeded) as connect,
            connect() as connection,
            pytest.raises(CertificateRefused, match="ca_file"),
        ):
            connection.exchange("GET", where, headers={})
        terms = TERMS._replace(ca_file=str(certificate))
        with lines(terms, unneeded) as connect, connect() as connection:
            assert connection.exchange("GET", where, headers={}).status == 200


# What only a line has


def test_it_is_told_how_far_a_slow_upload_has_come() -> None:
    come, go_on = threading.Event(), threading.Event()

    def slowly(connection: socket.socket) -> None:
        head_of(connection)
        left = len(CONTENT) * 20
        while left:
            left -= len(connection.recv(1 << 18))
            go_on.wait(0.01)
        connection.sendall(ANSWER)

    told: list[int] = []

    def tell(offset: int) -> None:
        told.append(offset)
        if 0 < offset < len(CONTENT) * 20:
            come.set()
            go_on.set()

    with (
        file_of(CONTENT * 20) as fd,
        lines(otherwise=unneeded) as connect,
        talking(slowly) as server,
        connect() as connection,
    ):
        body = Body(FilePart(fd, 0, len(CONTENT) * 20, tell))
        assert connection.exchange("POST", url(server.port), headers={}, body=body).status == 200
    assert come.is_set()
    assert told == sorted(told)


def test_no_descriptor_stays_open() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with (
        file_of(CONTENT) as fd,
        talking(Keeper()) as server,
        lines(otherwise=unneeded) as connect,
    ):
        before = count()
        with connect() as connection:
            for _ in range(2):
                body = Body(b"head", FilePart(fd, 0, len(CONTENT)), b"tail")
                connection.exchange("POST", url(server.port), headers={}, body=body)
                body = Body(FilePart(fd, 0, len(CONTENT)), FileChanged())
                with pytest.raises(FileChanged):
                    connection.exchange("POST", url(server.port), headers={}, body=body)
        wait_until(lambda: count() <= before)


def test_a_line_that_is_lost_is_trouble_once_and_then_it_goes_without() -> None:
    """The outcome of what was under way is not known."""
    ours, theirs = Channel.pair()
    ended: list[Channel] = []

    def end_with_the_first_question() -> None:
        _, end = theirs.receive()
        assert end is not None
        line = Channel(socket.socket(fileno=end))
        line.receive()
        ended.append(line)
        line.close()

    thread = threading.Thread(target=end_with_the_first_question)
    thread.start()
    connect = Switchboard(ours, os.getpid()).lines(TERMS, connections(TERMS, {}))
    with talking(saying(ANSWER)) as server, connect() as connection:
        with pytest.raises(ServiceTrouble, match="our process"):
            connection.exchange("GET", url(server.port), headers={})
        for _ in range(2):
            assert connection.exchange("GET", url(server.port), headers={}).status == 200
        assert server.connections == 1
    thread.join(PATIENCE)
    assert ended
    theirs.close()
    with talking(saying(ANSWER)) as server, connect() as connection:  # a new one: nothing was asked
        assert connection.exchange("GET", url(server.port), headers={}).status == 200
    ours.close()


def test_a_loss_that_is_found_before_anything_is_asked_is_no_trouble() -> None:
    """One line after the other would be trouble: for each worker one."""
    keeper = Keeper()
    ours, theirs = Channel.pair()
    served: list[Channel] = []

    def serve_one_question() -> None:
        _, end = theirs.receive()
        assert end is not None
        line = Channel(socket.socket(fileno=end))
        line.receive()
        line.send((200, {}, b"of the other"))
        line.close()
        served.append(line)

    thread = threading.Thread(target=serve_one_question)
    thread.start()
    connect = Switchboard(ours, os.getpid()).lines(TERMS, connections(TERMS, {}))
    with talking(keeper) as server, file_of(CONTENT) as fd, connect() as line:
        assert line.exchange("GET", url(server.port), headers={}).body == b"of the other"
        thread.join(PATIENCE)
        assert served
        body = Body(b"<", FilePart(fd, 0, len(CONTENT)), b">")
        assert line.exchange("POST", url(server.port), headers={}, body=body).status == 200
    assert keeper.bodies == [b"<" + CONTENT + b">"]
    ours.close()
    theirs.close()


def test_where_there_is_no_descriptor_left_for_a_line_it_goes_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with (
        lines(otherwise=connections(TERMS, {})) as connect,
        talking(saying(ANSWER)) as server,
        connect() as connection,
    ):
        monkeypatch.setattr(socket, "socketpair", none_left)
        assert connection.exchange("GET", url(server.port), headers={}).status == 200


def test_a_message_that_is_too_large_goes_without() -> None:
    with (
        lines(otherwise=connections(TERMS, {})) as connect,
        talking(Keeper()) as server,
        connect() as connection,
    ):
        answer = connection.exchange("POST", url(server.port), headers={}, body=bytes(LARGEST))
        assert answer.status == 200


def test_a_file_that_does_not_come_through_ends_the_line() -> None:
    """The kernel leaves a descriptor out if the receiver has too many."""
    ours, theirs = Channel.pair()
    with talking(silent) as server, ours:
        serving = threading.Thread(target=_serve, args=(theirs, connections(TERMS, {})))
        serving.start()
        ours.send([("POST", url(server.port), {}, {}, 10), (0, 10)])
        with pytest.raises(ChannelLost):
            ours.receive()
        serving.join(PATIENCE)


def test_the_largest_message_goes_through() -> None:
    one, other = Channel.pair()
    with one, other:
        message = os.urandom(LARGEST - 100)
        one.send(message)
        assert other.receive() == (message, None)


def test_the_settings_of_each_shift_are_its_own() -> None:
    """After a reload lines of the old kind may still be opened: a worker that hung is replaced."""
    ours, theirs = Channel.pair()
    dialling = threading.Thread(target=dial, args=(theirs, {}))
    dialling.start()
    board = Switchboard(ours, os.getpid())
    quick = board.lines(TERMS._replace(timeout_seconds=0.2), unneeded)
    slow = board.lines(TERMS, unneeded)

    gave_up = threading.Event()

    def late(connection: socket.socket) -> None:
        head_of(connection)
        gave_up.wait(PATIENCE)
        connection.sendall(ANSWER)

    with talking(late) as server, slow() as patient, quick() as impatient:
        with pytest.raises(ServiceTrouble, match="time allowed"):
            impatient.exchange("GET", url(server.port), headers={})
        gave_up.set()
        assert patient.exchange("GET", url(server.port), headers={}).status == 200
    ours.close()
    dialling.join(PATIENCE)
    theirs.close()


def raised() -> Iterator[Exception]:
    """All that can come over a line, with what it carries."""
    kinds: list[type[Exception]] = [WatcherError, *_below(WatcherError), FileChanged, StoppedError]
    for kind in kinds:
        yield kind("words")
    yield ServiceTrouble("words", retry_after=3.0)


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from _below(each)


@pytest.mark.parametrize("error", [*raised()], ids=lambda error: type(error).__name__)
def test_every_error_comes_through(error: Exception) -> None:
    one, other = Channel.pair()
    with one, other:
        one.send(error)
        again, _ = other.receive()
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
