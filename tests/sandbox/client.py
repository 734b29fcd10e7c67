"""A little client by `http.client` and raw sockets, so that nothing is hidden from the tests."""

import hashlib
import http.client
import io
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from PIL import Image

from watcher.sandbox import Sandbox

BOUNDARY = "xXx"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
ENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


def ask(
    service: Sandbox,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    authorized: bool = True,
) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    try:
        return ask_on(
            connection, service, method, target, body=body, headers=headers, authorized=authorized
        )
    finally:
        connection.close()


def ask_on(
    connection: http.client.HTTPConnection,
    service: Sandbox,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    authorized: bool = True,
) -> Reply:
    given = {"Authorization": f"Bearer {service.access_token}"} if authorized else {}
    connection.request(method, target, body=body, headers={**given, **(headers or {})})
    response = connection.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, found, response.read())


def post(service: Sandbox, target: str, fields: dict[str, str]) -> Reply:
    """A form for the authorization server."""
    return ask(
        service,
        "POST",
        target,
        body=urlencode(fields).encode(),
        headers={"Content-Type": ENCODED},
        authorized=False,
    )


def upload(
    service: Sandbox, content: bytes, *, filesize: object = None, query: str = "", name: str = "a"
) -> Reply:
    """The documented upload."""
    body = form(content, filesize=filesize, name=name)
    return ask(service, "POST", f"/upload{query}", body=body, headers={"Content-Type": FORM_TYPE})


def form(content: bytes, *, filesize: object = None, name: str = "a") -> bytes:
    parts = [part("file", content, extra=f'; filename="{name}"', kind="image/jpeg")]
    if filesize is not None:
        parts.append(part("filesize", str(filesize).encode()))
    return b"".join([*parts, closing()])


def part(name: str, content: bytes, *, extra: str = "", kind: str = "") -> bytes:
    top = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n'
    if kind:
        top += f"Content-Type: {kind}\r\n"
    return top.encode("utf-8", "surrogateescape") + b"\r\n" + content + b"\r\n"


def closing() -> bytes:
    return f"--{BOUNDARY}--\r\n".encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def picture(form: str = "JPEG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """A small image, with enough detail that cutting it matters."""
    image = Image.effect_noise(size, 60).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def connect(service: Sandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=10)


def raw_post(service: Sandbox, body: bytes, *, length: int | None = None) -> bytes:
    """The bytes of an upload as they go over the wire; `length` can promise more than there is."""
    return (
        f"POST /upload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {service.access_token}"
        f"\r\nContent-Type: {FORM_TYPE}\r\nContent-Length: {length or len(body)}\r\n\r\n"
    ).encode() + body


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))
