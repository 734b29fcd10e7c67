"""Parts of a file on a socket: the kernel sends them if it can, and nobody sees the difference."""

import os
import socket
import ssl
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from errno import EAGAIN, EINVAL, EIO, ENOSYS, EOPNOTSUPP
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import PATIENCE, PROPERTY, file_of
from tests.core.talking import ANSWER, ask, head_of, part_of, talking
from watcher.pieces import BodyFailedError, FileChanged
from watcher.wire import Wire

CONTENT = os.urandom(300_000)


class Receiver:
    """Takes bodies of `length` bytes, and answers each."""

    def __init__(self, length: int) -> None:
        self._length = length
        self.body = b""

    def __call__(self, connection: socket.socket) -> None:
        while head_of(connection):
            body = b""
            while len(body) < self._length:
                more = connection.recv(1 << 16)
                if not more:
                    return
                body += more
            self.body = body
            connection.sendall(ANSWER)


def plain(port: int) -> Wire:
    return Wire("127.0.0.1", port, ssl_context=None, silence=PATIENCE)


@contextmanager
def kernel(answers: list[int | OSError]) -> Iterator[list[int]]:
    """Has the kernel send so many bytes at most, or fail, one after the other, and then as it
    really does. Gives what it really sent."""
    real, sent, to_come = os.sendfile, list[int](), iter(answers)

    def sendfile(out: int, fd: int, offset: int, count: int) -> int:
        answer = next(to_come, count)
        if isinstance(answer, OSError):
            raise answer
        sent.append(real(out, fd, offset, min(answer, count)))
        return sent[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sendfile", sendfile)
        yield sent


def test_the_kernel_sends_a_part_of_a_file_and_nothing_is_read() -> None:
    receiver = Receiver(100_002)
    with (
        kernel([]) as sent,
        file_of(CONTENT) as fd,
        talking(receiver) as server,
        closing(plain(server.port)) as wire,
    ):
        part = part_of(fd, 100_000, offset=1_000)
        assert ask(wire, body=[b"<", part, b">"], length=100_002).body == b"ok"
    assert receiver.body == b"<" + CONTENT[1_000:101_000] + b">"
    assert sum(sent) == 100_000


ERRORS = [EAGAIN, EINVAL, EIO, ENOSYS, EOPNOTSUPP]


@given(
    answers=st.lists(
        st.integers(1, 70_000) | st.sampled_from(ERRORS).map(lambda e: OSError(e, ""))
    ),
    start=st.integers(0, 1_000),
    lengths=st.lists(st.integers(1, 140_000), min_size=1, max_size=2),
)
@PROPERTY
def test_whatever_the_kernel_can_and_cannot_the_same_bytes_arrive(
    answers: list[int | OSError], start: int, lengths: list[int]
) -> None:
    receiver = Receiver(sum(lengths))
    with (
        kernel(answers),
        file_of(CONTENT) as fd,
        talking(receiver) as server,
        closing(plain(server.port)) as wire,
    ):
        starts, told = list(accumulate(lengths, initial=start)), list[int]()
        body = [
            part_of(fd, length, at, told.append)
            for at, length in zip(starts, lengths, strict=False)
        ]
        assert ask(wire, body=body, length=sum(lengths)).body == b"ok"
    assert receiver.body == CONTENT[start : starts[-1]]
    assert told == sorted(told)
    assert set(starts[1:]) <= set(told)


def test_over_tls_the_same_bytes_arrive(certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    receiver = Receiver(len(CONTENT))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)

    def talk(connection: socket.socket) -> None:
        with serving.wrap_socket(connection, server_side=True) as secured:
            receiver(secured)

    with kernel([]) as sent, file_of(CONTENT) as fd, talking(talk) as server:
        wire = Wire("127.0.0.1", server.port, ssl_context=context, silence=PATIENCE)
        with closing(wire):
            part = part_of(fd, len(CONTENT))
            assert ask(wire, body=[part], length=len(CONTENT)).body == b"ok"
    assert receiver.body == CONTENT
    assert not sent


@pytest.mark.parametrize("answers", [[], [OSError(EINVAL, "")]])
def test_a_file_that_ends_early_says_so_itself(answers: list[int | OSError]) -> None:
    length = len(CONTENT) + 1
    with (
        kernel(answers),
        file_of(CONTENT) as fd,
        talking(Receiver(length)) as server,
        closing(plain(server.port)) as wire,
        pytest.raises(BodyFailedError) as caught,
    ):
        ask(wire, body=[part_of(fd, length)], length=length)
    assert isinstance(caught.value.error, FileChanged)


def test_a_connection_that_breaks_meanwhile_is_not_the_files_fault() -> None:
    def leave(connection: socket.socket) -> None:
        head_of(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with tempfile.TemporaryFile() as file, talking(leave) as server:
        file.truncate(64 << 20)
        with closing(plain(server.port)) as wire, pytest.raises(ConnectionError):
            ask(wire, body=[part_of(file.fileno(), 64 << 20)], length=64 << 20)
