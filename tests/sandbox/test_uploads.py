import http.client
import socket

import pytest

from tests.sandbox.client import (
    FORM_TYPE,
    Reply,
    ask,
    ask_on,
    closing,
    connect,
    form,
    part,
    picture,
    raw_post,
    read_to_end,
    sha256,
    upload,
)
from watcher.sandbox import Sandbox, Stored

ANY = sha256(b"anything")


def refusal(reply: Reply) -> tuple[int, str]:
    """The status and message, when the body has the documented shape."""
    assert set(reply.json) == {"timestamp", "status", "error", "message", "path"}
    assert reply.json["status"] == reply.status
    assert reply.json["path"] == "/upload"
    return reply.status, reply.json["message"]


def post_body(service: Sandbox, body: bytes, content_type: str = FORM_TYPE) -> Reply:
    return ask(service, "POST", "/upload", body=body, headers={"Content-Type": content_type})


def test_an_upload_is_answered_with_its_hash_and_known_from_then_on(service: Sandbox) -> None:
    content = b"content" * 100_000
    known = f"/upload?contentHash={sha256(content)}&organization={service.organization}"
    assert ask(service, "HEAD", known).status == 404

    reply = upload(service, content, filesize=len(content), name="Größe \udcff.jpg")

    assert (reply.status, reply.body.decode()) == (201, sha256(content))
    assert reply.headers["content-type"].startswith("text/plain")
    assert ask(service, "HEAD", known).status == 200
    assert service.uploads == {
        sha256(content): Stored(
            size=len(content),
            count=1,
            content_type="image/jpeg",
            file_name="Größe \ufffd.jpg",
            organizations=frozenset({service.organization}),
        )
    }
    assert [(seen.method, seen.status) for seen in service.requests] == [
        ("HEAD", 404),
        ("POST", 201),
        ("HEAD", 200),
    ]
    assert {seen.content_hash for seen in service.requests} == {sha256(content)}


def test_content_posted_again_is_counted(service: Sandbox) -> None:
    for _ in range(3):
        assert upload(service, b"same").status == 201
    assert service.uploads[sha256(b"same")].count == 3
    assert (service.counters["stored"], service.counters["posted_again"]) == (1, 2)
    assert service.counters["POST /upload 201"] == 3


def test_content_that_was_removed_is_unknown_again(service: Sandbox) -> None:
    service.add_known(ANY)
    assert ask(service, "HEAD", f"/upload?contentHash={ANY}").status == 200
    service.forget(ANY)
    assert ask(service, "HEAD", f"/upload?contentHash={ANY}").status == 404


def test_content_is_known_in_the_organizations_that_have_it() -> None:
    with Sandbox(check="none", organizations={"a/b c": "One", "two": "Two"}) as service:
        assert upload(service, b"x", query="?organization=two").status == 201
        hashed = f"/upload?contentHash={sha256(b'x')}"
        assert ask(service, "HEAD", f"{hashed}&organization=two").status == 200
        assert ask(service, "HEAD", f"{hashed}&organization=a%2Fb%20c").status == 404
        assert ask(service, "HEAD", hashed).status == 404
        service.add_known(sha256(b"x"))
        assert ask(service, "HEAD", f"{hashed}&organization=a%2Fb+c").status == 200


@pytest.mark.parametrize("method", ["HEAD", "POST"])
@pytest.mark.parametrize("header", ["", "Bearer wrong", "bearer {}", "Basic {}", "Bearer {} x"])
def test_a_bad_token_is_unauthorized(service: Sandbox, method: str, header: str) -> None:
    headers = {"Authorization": header.format(service.access_token)} if header else {}
    headers["Content-Type"] = FORM_TYPE
    target = f"/upload?contentHash={ANY}"
    body = form(b"x") if method == "POST" else None
    reply = ask(service, method, target, body=body, headers=headers, authorized=False)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert not service.uploads


@pytest.mark.parametrize("organization", ["unknown", ""])
def test_a_foreign_organization_is_forbidden(service: Sandbox, organization: str) -> None:
    query = f"?organization={organization}"
    assert ask(service, "HEAD", f"/upload{query}&contentHash={ANY}").status == 403
    status, message = refusal(upload(service, b"x", query=query))
    assert status == 403
    assert "organization" in message


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?contentHash=",
        f"?contentHash={ANY[1:]}",
        f"?contentHash={ANY.upper()}",
        f"?contentHash={ANY}&contentHash={ANY}",
        f"?contentHash={ANY}&organization=%FF",
    ],
)
def test_a_malformed_query_is_a_bad_request(service: Sandbox, query: str) -> None:
    reply = ask(service, "HEAD", f"/upload{query}")
    assert (reply.status, reply.body) == (400, b"")
    assert service.requests[-1].status == 400


FILE = part("file", b"x", extra='; filename="a"')


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (closing(), "multipart"),
        (b"", "multipart"),
        (part("filesize", b"1") + closing(), "'file' is not present"),
        (part("file", b"x") + closing(), "filename"),
        (part("file", b"x", extra='; filename=""') + closing(), "filename"),
        (FILE + FILE + closing(), "comes twice"),
        (FILE + part("filesize", b"2") + closing(), "filesize is 2"),
        (FILE + part("filesize", b"+1") + closing(), "not a number"),
        (FILE + part("filesize", b"") + closing(), "not a number"),
        (FILE + part("filesize", b"1" * 65) + closing(), "too long"),
        (FILE + part("filesize", b"1", extra='; filename="b"') + closing(), "not expected"),
        (FILE + part("folder", b"1") + closing(), "not expected"),
        (FILE, "closing boundary"),
        (FILE + closing() + b"more", "closing boundary"),
        (part("file", b"x", extra='; filename="a"', kind="jpeg") + closing(), "Content-Type"),
        (part("file", b"x", extra='; filename="a"\r\nX-Other: 1') + closing(), "x-other"),
        (FILE.replace(b"form-data", b"attachment") + closing(), "Content-Disposition"),
        (b"preamble" + FILE + closing(), "multipart"),
        (FILE.replace(b"Content-Disposition", b"Content Disposition"), "multipart"),
    ],
)
def test_a_form_that_is_not_as_documented_is_refused(
    service: Sandbox, body: bytes, reason: str
) -> None:
    status, message = refusal(post_body(service, body))
    assert status == 400
    assert reason in message
    assert not service.uploads


@pytest.mark.parametrize(
    "content_type",
    ["", "image/jpeg", "multipart/form-data", "multipart/mixed; boundary=xXx"],
)
def test_only_multipart_forms_are_taken(service: Sandbox, content_type: str) -> None:
    status, message = refusal(post_body(service, form(b"x"), content_type))
    assert (status, "multipart/form-data" in message) == (400, True)


def test_filesize_may_come_first(service: Sandbox) -> None:
    body = part("filesize", b"1") + FILE + closing()
    assert post_body(service, body).status == 201


def test_content_that_looks_like_a_boundary_is_kept(service: Sandbox) -> None:
    content = b"\r\n--xX\r\n--xXxx--\r\n--" * 9_999
    assert upload(service, content, filesize=len(content)).body.decode() == sha256(content)


@pytest.mark.parametrize("how", ["Transfer-Encoding: chunked", "X-Nothing: 0"])
def test_an_upload_without_a_length_is_refused(service: Sandbox, how: str) -> None:
    with connect(service) as connection:
        connection.sendall(
            f"POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.access_token}\r\n"
            f"Content-Type: {FORM_TYPE}\r\n{how}\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode()
        )
        answer = read_to_end_half_closed(connection)
    assert answer.startswith(b"HTTP/1.1 411 Length Required\r\n")
    assert b"Connection: close" in answer
    assert service.wait_for(lambda: service.in_flight == 0)


def read_to_end_half_closed(connection: socket.socket) -> bytes:
    connection.shutdown(socket.SHUT_WR)
    return read_to_end(connection)


def test_the_connection_survives_refusals(service: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    for _ in range(3):
        body = form(b"x" * 300_000)
        headers = {"Content-Type": "image/jpeg"}
        reply = ask_on(connection, service, "POST", "/upload", body=body, headers=headers)
        assert reply.status == 400
        reply = ask_on(connection, service, "POST", "/upload", body=body, authorized=False)
        assert reply.status == 401
    connection.close()
    assert service.counters["connections"] == 1


def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_a_record(service: Sandbox) -> None:
    with connect(service) as connection:
        connection.sendall(raw_post(service, form(b"x" * 1000)[:500], length=2000))
        assert service.wait_for(lambda: service.bytes_received == 500)
        assert service.in_flight == 1
    assert service.wait_for(lambda: service.counters["POST /upload 0"] == 1)
    assert service.wait_for(lambda: service.counters["broken"] == 1)
    assert (service.in_flight, dict(service.uploads)) == (0, {})
    assert service.requests[-1].bytes_received == 500


def test_a_client_that_asks_before_it_sends_is_invited(service: Sandbox) -> None:
    head, _, body = raw_post(service, form(b"x")).partition(b"\r\n\r\n")
    with connect(service) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 201 Created\r\n")


def test_real_images_are_kept_by_the_default_check() -> None:
    with Sandbox() as service:
        assert upload(service, picture(), name="a.jpg").status == 201
        status, message = refusal(upload(service, b"not an image"))
        assert (status, "unsupported format" in message) == (422, True)
        assert service.counters["stored"] == 1
