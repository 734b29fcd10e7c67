"""One question and its answer, whatever the other side does; on real sockets, some with TLS."""

import inspect
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.core.factories import PATIENCE, Clock, a_connection
from tests.core.talking import head_of, talking
from watcher.access import MIN_BYTES_PER_SECOND
from watcher.connection import (
    FOREIGN,
    MAX_ANSWER,
    USER_AGENT,
    DirectConnection,
    Trust,
    WireTransport,
)
from watcher.errors import CertificateRefused, ConfigurationError, ServiceTrouble, WatcherError
from watcher.proxies import Proxy
from watcher.sandbox import Sandbox, faults

SHORT = 0.3
"""Seconds after which a connection gives up, where the other side never comes to an end."""


class Body:
    """What is sent, in these pieces; a piece that is an exception is raised."""

    def __init__(self, *pieces: bytes | Exception, length: int | None = None) -> None:
        self._pieces = pieces
        sizes = [len(piece) for piece in pieces if isinstance(piece, bytes)]
        self.length = sum(sizes) if length is None else length

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(check="none") as running:
        yield running


def health(connection: DirectConnection, sandbox: Sandbox) -> int:
    return connection.exchange("GET", f"{sandbox.url}/health", headers={}).status


class Script:
    """A server that answers each connection with these bytes, once a request's head has come, and
    keeps what came. It then closes, unless told to keep the connection open."""

    def __init__(self, answer: bytes, *, keep_open: bool = False) -> None:
        self._answer = answer
        self._keep_open = keep_open
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._kept: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.heads: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head and (data := connection.recv(1 << 16)):
                head += data
            self.heads.append(head)
            if self._keep_open:  # known before the other side can be done with the answer
                self._kept.append(connection)
            connection.sendall(self._answer)
            if self._keep_open:
                continue
            connection.shutdown(socket.SHUT_WR)
            connection.close()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for each in (self._listening, *self._kept):
            each.close()


@contextmanager
def script(answer: bytes, *, keep_open: bool = False) -> Iterator[Script]:
    server = Script(answer, keep_open=keep_open)
    try:
        yield server
    finally:
        server.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


# The ordinary course


def test_one_connection_serves_many_questions(sandbox: Sandbox) -> None:
    with a_connection() as connection:
        for _ in range(5):
            assert health(connection, sandbox) == 200
    assert sandbox.counters["connections"] == 1


def test_what_goes_over_the_wire_is_what_is_meant_and_no_more() -> None:
    with script(OK) as server, a_connection() as connection:
        connection.exchange("HEAD", f"{server.url}/x?a=b", headers={"Authorization": "Bearer t"})
        connection.exchange("POST", f"{server.url}/y", headers={}, body=b"four")
        head, post = (bytes(part).decode().lower().split("\r\n") for part in server.heads)
    assert head[0] == "head /x?a=b http/1.1"
    assert "authorization: bearer t" in head
    assert f"user-agent: {USER_AGENT}".lower() in head
    assert "accept-encoding: identity" in head
    assert not [line for line in head if line.startswith(("content-", "transfer-", "cookie"))]
    assert "content-length: 4" in post
    assert not [line for line in post if line.startswith(("transfer-", "expect", "authorization"))]
    assert post[-1] == "four"


def test_an_answer_has_its_status_headers_and_body() -> None:
    answer = b"HTTP/1.1 299 Odd\r\nRetry-After: 7\r\nX: \xff\r\nContent-Length: 2\r\n\r\nhi"
    with script(answer) as server, a_connection() as connection:
        found = connection.exchange("GET", server.url, headers={})
    assert (found.status, found.body) == (299, b"hi")
    assert found.headers.get("retry-after") == "7"
    assert found.headers.get("missing") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nuntil\r\n8\r\n the end\r\n0\r\n\r\n"
        ),
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end",
    ],
)
def test_a_body_is_read_however_its_end_is_told(answer: bytes) -> None:
    with script(answer) as server, a_connection() as connection:
        assert connection.exchange("GET", server.url, headers={}).body == b"until the end"


def test_a_connection_that_the_other_side_closed_in_between_is_made_anew() -> None:
    with script(OK) as server, a_connection() as connection:
        for _ in range(3):
            assert connection.exchange("GET", server.url, headers={}).body == b"hi"
            (wire,) = connection._transport._wires.values()  # type: ignore[attr-defined]
            if wire._socket is not None:  # wait until the close has arrived
                assert select.select([wire._socket], [], [], PATIENCE)[0]
    assert len(server.heads) == 3


def test_the_deadline_grows_with_what_is_sent_and_the_clock_is_the_one_given() -> None:
    deadlines: list[float] = []

    class Listening(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            deadlines.append(request.extensions["deadline"])
            return httpx.Response(200, stream=httpx.ByteStream(b""))

    for slowest in (MIN_BYTES_PER_SECOND, 1000.0):
        connection = DirectConnection(
            Listening(), timeout_seconds=10, slowest=slowest, clock=Clock(500.0)
        )
        for length in (0, 160_000):
            connection.exchange("POST", "http://127.0.0.1/", headers={}, body=b"x" * length)
    assert deadlines == [510, 520, 510, 670]


# What the other side can do


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(sandbox: Sandbox, status: int) -> None:
    with Sandbox(check="none") as elsewhere, a_connection() as connection:
        sandbox.fault(faults.Redirect(f"{elsewhere.url}/upload", status=status))
        answer = connection.exchange("POST", f"{sandbox.url}/upload", headers={}, body=b"image")
        assert answer.status == status
        assert health(connection, sandbox) == 200
        assert not elsewhere.requests
        assert elsewhere.counters["connections"] == 0


@pytest.mark.parametrize("padding", [0, 50 << 20])
def test_an_answer_that_is_compressed_is_refused_unopened(sandbox: Sandbox, padding: int) -> None:
    sandbox.fault(faults.Gzipped(padding))
    with a_connection() as connection:
        with pytest.raises(ServiceTrouble, match="compressed"):
            health(connection, sandbox)
        assert health(connection, sandbox) == 200


@pytest.mark.parametrize("size", [MAX_ANSWER, MAX_ANSWER + 1, 3 << 20, None])
def test_of_a_long_answer_only_the_beginning_is_read(sandbox: Sandbox, size: int | None) -> None:
    sandbox.fault(faults.Oversized(size))
    with a_connection() as connection:
        answer = connection.exchange("POST", f"{sandbox.url}/upload", headers={}, body=b"x")
        assert answer.body == b"0" * MAX_ANSWER
        assert health(connection, sandbox) == 200


SILENT: dict[str, faults.Fault] = {
    "no answer": faults.NeverAnswer(),
    "no answer to half a body": faults.NeverAnswer("in_body"),
    "never reading": faults.NeverAnswer("before_body"),
    "a byte now and then": faults.Slow(between_bytes=SHORT / 20),
    "interim answers without end": faults.EndlessInterim(interval=SHORT / 100),
    "interim answers without end, in a burst": faults.EndlessInterim(interval=0),
}


@pytest.mark.parametrize("kind", SILENT)
def test_what_never_comes_to_an_end_is_given_up(sandbox: Sandbox, kind: str) -> None:
    sandbox.fault(SILENT[kind], path="/upload")
    body = Body(*[b"x" * 100] * 10)  # a small one: a large one makes the deadline later
    with a_connection(timeout_seconds=SHORT) as hasty, pytest.raises(ServiceTrouble):
        hasty.exchange("POST", f"{sandbox.url}/upload", headers={}, body=body)
    with a_connection() as connection:
        assert health(connection, sandbox) == 200


def test_a_body_that_is_never_read_is_given_up_however_large() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        a_connection(timeout_seconds=SHORT, slowest=1e12) as connection,
    ):
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(ServiceTrouble, match="within the time allowed"):
            connection.exchange("POST", url, headers={}, body=Body(*[b"x" * (1 << 20)] * 64))


BROKEN: dict[str, faults.Fault] = {
    "reset": faults.Reset(),
    "reset in the body": faults.Reset("in_body"),
    "closed": faults.Close(),
    "closed before the body": faults.Close("before_body"),
    "died": faults.DieAfterWork(),
    "died with a reset": faults.DieAfterWork(reset=True),
    "garbage": faults.Garbage(),
    "other garbage": faults.Garbage(b"HTTP/9.9 what\r\n\r\n"),
    "nothing": faults.Garbage(b""),
    "half a head": faults.Garbage(b"HTTP/1.1 200 OK\r\nContent-"),
    "half a body": faults.Garbage(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"),
    "half a chunk": faults.Garbage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx"),
    "odd chunk": faults.Garbage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "two lengths": faults.Garbage(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
    ),
    "a head without end": faults.Garbage(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000),
    "a switch of protocols": faults.Garbage(
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx"
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_exchange_is_trouble_and_the_next_one_is_not(sandbox: Sandbox, kind: str) -> None:
    sandbox.fault(BROKEN[kind], path="/upload")
    with a_connection() as connection:
        assert health(connection, sandbox) == 200
        with pytest.raises(ServiceTrouble):
            connection.exchange(
                "POST", f"{sandbox.url}/upload", headers={}, body=Body(*[b"x" * 1000] * 200)
            )
        assert health(connection, sandbox) == 200


def test_an_answer_that_comes_before_the_body_was_read_counts(sandbox: Sandbox) -> None:
    sandbox.fault(faults.EarlyAnswer(413))
    with a_connection() as connection:
        answer = connection.exchange(
            "POST", f"{sandbox.url}/upload", headers={}, body=Body(*[b"x" * 100_000] * 200)
        )
        assert answer.status == 413
        assert health(connection, sandbox) == 200


def test_what_comes_behind_an_answer_is_not_taken_for_the_next() -> None:
    with script(OK + OK.replace(b"hi", b"no"), keep_open=True) as server:
        with a_connection() as connection:
            for _ in range(2):
                assert connection.exchange("GET", server.url, headers={}).body == b"hi"
        assert len(server.heads) == 2


# The way there


def test_nobody_there_is_trouble_in_words(sandbox: Sandbox) -> None:
    with a_connection() as connection:
        assert health(connection, sandbox) == 200
        sandbox.stop()
        with pytest.raises(ServiceTrouble):
            health(connection, sandbox)
        with pytest.raises(ServiceTrouble, match=r"cannot connect: .*refused"):
            health(connection, sandbox)
        sandbox.start()
        assert health(connection, sandbox) == 200


@pytest.mark.parametrize(
    "url", ["http://a..b/", "http://" + "x" * 70 + ".invalid./", "http://[::1%x]/", "ftp://x/", "x"]
)
def test_an_address_that_cannot_be_is_trouble(url: str) -> None:
    with a_connection() as connection, pytest.raises(ServiceTrouble):
        connection.exchange("GET", url, headers={})


def test_the_environment_does_not_choose_a_proxy(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with a_connection() as connection:
        assert health(connection, sandbox) == 200


# What we send


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("x"), KeyError(1)])
@pytest.mark.parametrize("at", [0, 3])
def test_what_the_body_raises_comes_through_as_it_is(
    sandbox: Sandbox, error: Exception, at: int
) -> None:
    pieces: list[bytes | Exception] = [b"x" * 100_000] * 5
    body = Body(*pieces[:at], error, length=500_000)
    with a_connection() as connection:
        with pytest.raises(type(error)) as caught:
            connection.exchange("POST", f"{sandbox.url}/upload", headers={}, body=body)
        assert caught.value is error
        assert health(connection, sandbox) == 200
    assert not sandbox.uploads


@pytest.mark.parametrize("length", [5, 50])
def test_a_body_of_another_length_than_said_is_never_an_answer(
    sandbox: Sandbox, length: int
) -> None:
    with a_connection() as connection:
        with pytest.raises(ServiceTrouble):
            connection.exchange(
                "POST", f"{sandbox.url}/upload", headers={}, body=Body(b"x" * 10, length=length)
            )
        assert health(connection, sandbox) == 200


@pytest.mark.parametrize("bad", ["\r\nX: y", "\xe9", "\udcff", "\0"])
def test_an_error_about_a_header_does_not_show_it(sandbox: Sandbox, bad: str) -> None:
    with a_connection() as connection, pytest.raises(ServiceTrouble) as caught:
        connection.exchange(
            "GET", f"{sandbox.url}/health", headers={"Authorization": f"Bearer SECRET{bad}"}
        )
    assert "SECRET" not in str(caught.value)
    assert "could not be sent" in str(caught.value)


@pytest.mark.parametrize("name", ["müller.example", "xn--mller-kva.example"])
def test_a_name_in_other_letters_is_asked_for_as_the_network_knows_it(name: str) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        heads.append(head_of(connection))
        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    with talking(talk) as server:
        transport = WireTransport(
            trust=ssl.create_default_context,
            silence=PATIENCE,
            proxy_for=lambda _: Proxy("127.0.0.1", server.port),
        )
        with (
            DirectConnection(
                transport, timeout_seconds=PATIENCE, slowest=MIN_BYTES_PER_SECOND
            ) as connection,
            pytest.raises(ServiceTrouble, match="the proxy answered 502"),
        ):
            connection.exchange("GET", f"https://{name}/", headers={})
    assert heads[0].startswith(b"CONNECT xn--mller-kva.example:443 HTTP/1.1\r\n")


# TLS


@pytest.fixture
def secure(certificate: Path) -> Iterator[Sandbox]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Sandbox(check="none", ssl_context=context) as running:
        yield running


def test_a_private_authority_is_believed_if_it_is_named(secure: Sandbox, certificate: Path) -> None:
    with a_connection(ssl_context=Trust(str(certificate))()) as connection:
        for _ in range(3):
            assert health(connection, secure) == 200
        secure.fault(faults.EarlyAnswer(413))
        answer = connection.exchange("POST", f"{secure.url}/upload", headers={}, body=b"x" * 1000)
        assert answer.status == 413
        assert health(connection, secure) == 200
    assert secure.counters["connections"] == 2


@pytest.mark.parametrize("variable", ["", "SSL_CERT_FILE"])
def test_a_stranger_is_not_told_a_thing_whatever_the_environment_says(
    secure: Sandbox, certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, str(certificate))
    with (
        a_connection(ssl_context=Trust("")()) as connection,
        pytest.raises(CertificateRefused, match=r"127\.0\.0\.1 is not trusted.*ca_file"),
    ):
        health(connection, secure)
    assert not secure.requests


def test_what_the_administrator_added_to_the_system_is_believed(
    secure: Sandbox, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ssl.get_default_verify_paths()
    added = usual._replace(openssl_cafile=str(certificate), openssl_capath="/nowhere")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: added)
    with a_connection(ssl_context=Trust("")()) as connection:
        assert health(connection, secure) == 200


def test_another_hosts_certificate_is_refused_with_the_remedy(
    secure: Sandbox, certificate: Path
) -> None:
    with (
        a_connection(ssl_context=Trust(str(certificate))()) as connection,
        pytest.raises(CertificateRefused, match=r"Check `url` in \[api\]"),
    ):
        connection.exchange("GET", f"https://localhost:{secure.port}/health", headers={})


def test_the_other_side_that_speaks_no_tls_is_trouble(sandbox: Sandbox) -> None:
    with a_connection() as connection, pytest.raises(ServiceTrouble, match="cannot connect"):
        connection.exchange("GET", f"https://127.0.0.1:{sandbox.port}/health", headers={})


@pytest.mark.parametrize("kind", ["a byte now and then", "no answer"])
def test_tls_does_not_lengthen_the_patience(secure: Sandbox, certificate: Path, kind: str) -> None:
    secure.fault(SILENT[kind])
    context = Trust(str(certificate))()
    with (
        a_connection(ssl_context=context, timeout_seconds=1.0) as connection,
        pytest.raises(ServiceTrouble),
    ):
        health(connection, secure)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_an_authority_that_cannot_be_read_is_a_configuration_error(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"\[api\] ca_file: .*PEM"):
        Trust(str(file))


# No foreign exception leaves


def exceptions_of(package: ModuleType) -> set[type[Exception]]:
    """All exception classes that a package defines anywhere."""
    modules = [
        module
        for name, module in sys.modules.items()
        if (name == package.__name__ or name.startswith(f"{package.__name__}."))
    ]
    return {
        thing
        for module in modules
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, Exception)
        and thing.__module__.split(".")[0] == package.__name__
    }


def made(kind: type[Exception]) -> Exception:
    """An instance, however it wants to be made."""
    request = httpx.Request("GET", "http://127.0.0.1/")
    makers: list[Callable[[], Any]] = [
        lambda: kind("words"),
        kind,
        lambda: type("Some", (kind,), {})("words"),  # of a class that is meant to be derived from
        lambda: kind("words", request=request),  # type: ignore[call-arg]
        lambda: kind("words", request=request, response=httpx.Response(500)),  # type: ignore[call-arg]
    ]
    for maker in makers:
        try:
            found = maker()
        except TypeError:
            continue
        assert isinstance(found, Exception)
        return found
    raise AssertionError(f"cannot make a {kind}")


def all_foreign() -> list[type[Exception]]:
    found = exceptions_of(httpx)
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


@pytest.mark.parametrize(
    "kind", all_foreign(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}"
)
def test_every_exception_of_the_libraries_becomes_trouble_of_the_service(
    kind: type[Exception],
) -> None:
    class Failing(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
            raise made(kind)

    connection = DirectConnection(Failing(), timeout_seconds=1, slowest=MIN_BYTES_PER_SECOND)
    with pytest.raises(WatcherError) as caught:
        connection.exchange("GET", "http://127.0.0.1/", headers={})
    assert isinstance(caught.value, ServiceTrouble)


def test_the_walk_over_the_libraries_finds_their_trees() -> None:
    found = set(all_foreign())
    assert len(found) >= 25
    assert {httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.InvalidURL} <= found
    assert {kind for kind in FOREIGN if kind.__module__ != "builtins"} <= found
