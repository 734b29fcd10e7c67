import http.client
import socket
import ssl
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread, active_count

import pytest

from tests.sandbox.client import (
    ask,
    ask_on,
    connect,
    form,
    raw_post,
    read_to_end,
    upload,
)
from watcher.sandbox import Sandbox, faults


def test_it_says_that_it_is_up(service: Sandbox) -> None:
    reply = ask(service, "GET", "/health", authorized=False)
    assert (reply.status, reply.json) == (200, {"status": "UP"})


def test_organizations_come_in_pages() -> None:
    names = {f"id {number}": f"name {number}" for number in range(60)}
    with Sandbox(check="none", organizations=names) as service:
        everything = ask(service, "GET", "/v1/organization").json
        assert (len(everything["entries"]), everything["total"]) == (50, 60)
        page = ask(service, "GET", "/v1/organization?limit=2&offset=58").json
        assert page == {
            "entries": [{"id": f"id {n}", "name": f"name {n}"} for n in (58, 59)],
            "total": 60,
        }
        assert ask(service, "GET", "/v1/organization?offset=60").json["entries"] == []
        assert service.organization == "id 0"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1", "limit="])
def test_nonsense_pages_are_refused(service: Sandbox, query: str) -> None:
    assert ask(service, "GET", f"/v1/organization?{query}").status == 400


def test_organizations_need_a_token(service: Sandbox) -> None:
    reply = ask(service, "GET", "/v1/organization", authorized=False)
    assert (reply.status, reply.json["error"]) == (401, "Unauthorized")


def test_other_paths_and_methods_are_refused(service: Sandbox) -> None:
    reply = ask(service, "GET", "/v1/workflow?x=1")
    assert (reply.status, reply.json["path"]) == (404, "/v1/workflow")
    reply = ask(service, "DELETE", "/upload")
    assert (reply.status, reply.headers["allow"]) == (405, "HEAD, POST")
    assert ask(service, "HEAD", "/health").status == 405
    assert service.counters["other"] == 3


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /health HTTP/2.0\r\n\r\n", 400),
        (b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\n\n", 400),
        (b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        (b"GET /" + b"x" * 20_000, 400),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(70)), 431),
    ],
)
def test_what_is_not_strict_http_is_refused(
    service: Sandbox, request_bytes: bytes, status: int
) -> None:
    with connect(service) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection).startswith(f"HTTP/1.1 {status} ".encode())
    assert service.counters["malformed"] == 1


def test_old_clients_and_those_that_ask_for_it_get_their_connection_closed(
    service: Sandbox,
) -> None:
    for top in (b"1.0\r\n", b"1.1\r\nHost: x\r\nConnection: Close\r\n"):
        with connect(service) as connection:
            connection.sendall(b"GET /health HTTP/" + top + b"\r\n")
            assert b"Connection: close" in read_to_end(connection)


def test_requests_that_come_in_one_packet_are_answered_in_turn(service: Sandbox) -> None:
    with connect(service) as connection:
        connection.sendall(raw_post(service, form(b"1")) + raw_post(service, form(b"2")))
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection).count(b"HTTP/1.1 201 Created") == 2


def test_many_connections_at_once(service: Sandbox) -> None:
    def post_many(worker: int) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        statuses = []
        for number in range(25):
            body = form(f"{worker} {number}".encode())
            headers = {"Content-Type": "multipart/form-data; boundary=xXx"}
            reply = ask_on(connection, service, "POST", "/upload", body=body, headers=headers)
            statuses.append(reply.status)
        connection.close()
        return statuses

    with ThreadPoolExecutor(16) as pool:
        assert set().union(*pool.map(post_many, range(16))) == {201}
    assert len(service.uploads) == service.counters["stored"] == 400
    assert service.counters["connections"] == 16


def test_only_loopback(service: Sandbox) -> None:
    assert service.url == f"http://127.0.0.1:{service.port}"
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 only"):
        Sandbox(host="0.0.0.0")  # noqa: S104 - that it is refused is the point


def test_stopping_is_an_outage_that_loses_nothing() -> None:
    service = Sandbox(check="none")
    service.stop()
    before = active_count()
    with service:
        assert service.start() is service
        assert upload(service, b"x").status == 201
        url = service.url
    assert active_count() == before
    with pytest.raises(ConnectionRefusedError):
        connect(service)
    with service:
        assert service.url == url
        assert upload(service, b"x").status == 201
        assert service.counters["posted_again"] == 1


def test_a_taken_port_is_an_error(service: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=service.port).start()


def test_stop_ends_whatever_hangs() -> None:
    service = Sandbox(check="none").start()
    before = active_count()
    service.fault(faults.NeverAnswer(), path="/health", times=2)
    service.fault(faults.Slow(before_answer=3600), path="/health")
    hung = [connect(service) for _ in range(5)]
    for connection in hung[:3]:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    hung[3].sendall(raw_post(service, form(b"x"), length=1000))
    hung[4].sendall(b"GET /hea")
    assert service.wait_for(lambda: service.in_flight == 4)

    service.stop()

    assert service.in_flight == 0
    assert service.counters["GET /health 0"] == 3
    assert active_count() == before - 1
    for connection in hung:
        with connection:
            connection.settimeout(10)
            assert end_of(connection) == b""


def end_of(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""


def test_stop_ends_one_that_does_not_read_its_answer() -> None:
    service = Sandbox(check="none").start()
    service.fault(faults.Oversized(size=None))
    with connect(service) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert service.wait_for(lambda: service.counters["GET /health"] == 1)
        service.stop()
    assert service.in_flight == 0


def test_waiting_ends_with_the_change_or_with_the_time(service: Sandbox) -> None:
    assert not service.wait_for(lambda: bool(service.uploads), timeout=0.01)
    thread = Thread(target=upload, args=(service, b"x"))
    thread.start()
    assert service.wait_for(lambda: len(service.uploads) == 1)
    thread.join()


def test_each_answer_can_be_late(service: Sandbox) -> None:
    service.latency_seconds = 3600
    thread = Thread(target=lambda: end_of_health(service))
    thread.start()
    assert service.wait_for(lambda: service.in_flight == 1)
    assert not service.wait_for(lambda: bool(service.requests), timeout=0.05)
    service.stop()
    thread.join()
    with Sandbox(latency_seconds=0.001) as other:
        assert other.latency_seconds == 0.001
        assert ask(other, "GET", "/health").status == 200


def end_of_health(service: Sandbox) -> None:
    with connect(service) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        end_of(connection)


def test_requests_are_told_in_one_line_each() -> None:
    lines: list[str] = []
    with Sandbox(check="none", on_request=lines.append) as service:
        service.fault(faults.Close(), path="/health")
        upload(service, b"x")
        with pytest.raises(http.client.RemoteDisconnected):
            ask(service, "GET", "/health")
        ask(service, "GET", "/%0A%1B%C3%BC")
    assert lines == [
        f"POST /upload 201 {len(form(b'x'))} bytes 2d711642b726",
        "GET /health no answer (Close)",
        r"GET /\n\x1b\xfc 404",
    ]


def test_a_person_is_told_how_to_use_it(service: Sandbox) -> None:
    lines = service.describe()
    assert service.url in lines[0]
    assert f"export AUTORETOUCH_ACCESS_TOKEN={service.access_token}" in lines
    config = tomllib.loads("\n".join(lines[lines.index("# config.toml") :]))
    assert config["api"] == {"url": service.url, "organization": service.organization}
    assert config["auth"] == {"url": service.url}


def test_the_state_seen_from_outside_is_a_copy(service: Sandbox) -> None:
    before = service.uploads
    upload(service, b"x")
    assert not before
    assert len(service.uploads) == 1
    assert service.peak_in_flight == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(path), "-out", f"{path}.crt", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_it_serves_tls(certificate: Path, server_context: ssl.SSLContext) -> None:
    client = ssl.create_default_context(cafile=f"{certificate}.crt")
    with Sandbox(check="none", ssl_context=server_context) as service:
        assert service.url.startswith("https://127.0.0.1:")
        connection = http.client.HTTPSConnection(
            "127.0.0.1", service.port, context=client, timeout=10
        )
        headers = {"Content-Type": "multipart/form-data; boundary=xXx"}
        for fault in (None, faults.EarlyAnswer(413), None):
            if fault:
                service.fault(fault)
            body = form(b"x" * 200_000)
            reply = ask_on(connection, service, "POST", "/upload", body=body, headers=headers)
            assert reply.status == (413 if fault else 201)
        connection.close()


def test_broken_handshakes_harm_nobody(certificate: Path, server_context: ssl.SSLContext) -> None:
    with Sandbox(check="none", ssl_context=server_context) as service:
        with connect(service) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert service.wait_for(lambda: service.counters["broken"] == 1)
        silent = connect(service)
        client = ssl.create_default_context(cafile=f"{certificate}.crt")
        with connect(service) as raw, client.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            tls.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tls.recv(4096).startswith(b"HTTP/1.1 200 OK")
            service.stop()
            assert end_of(silent) == b""
        silent.close()
