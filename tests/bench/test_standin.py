"""The benchmark's service takes what is as documented, and says what is not."""

import hashlib

import httpx
import pytest

from tests.bench import runs
from tests.bench.standin import TOKEN

CONTENT = b"\xff\xd8\xff" + bytes(range(256)) * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def client(service: runs.Service, token: str = TOKEN) -> httpx.Client:
    return httpx.Client(
        base_url=service.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )


def test_it_takes_a_file_once_and_knows_it_then() -> None:
    with runs.stand_in(0.0) as service:
        with client(service) as asking:
            asked = {"contentHash": SHA256}
            assert asking.head("/upload", params=asked).status_code == 404
            for _ in range(2):
                answer = asking.post(
                    "/upload",
                    data={"filesize": str(len(CONTENT))},
                    files={"file": ("a.jpg", CONTENT)},
                )
                assert (answer.status_code, answer.text) == (201, SHA256)
            assert asking.head("/upload", params=asked).status_code == 200
        served = runs.finished(service)
    assert (served.counts["POST"], served.counts["sent twice"]) == (2, 1)
    assert list(served.arrived) == [SHA256]


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="filesize"\r\n\r\n3\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\nabc\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\r\n3\r\n", b"\r\n4\r\n"),
        (b"--b--\r\n", b"--c--\r\n"),
        (b'; filename="a.jpg"', b""),
        (b'"filesize"', b'"size"'),
        (b"--b\r\n", b"--c\r\n"),
    ],
    ids=["other size", "no end", "no name", "another field", "another boundary"],
)
def test_it_refuses_another_form(before: bytes, after: bytes) -> None:
    assert refused(FORM) == ""
    assert refused(FORM.replace(before, after))


def refused(form: bytes) -> str:
    """What it says of it; it hangs up then."""
    with runs.stand_in(0.0) as service:
        with client(service) as asking:
            try:
                asking.post(
                    "/upload",
                    content=form,
                    headers={"Content-Type": "multipart/form-data; boundary=b"},
                )
            except httpx.TransportError:
                with pytest.raises(RuntimeError) as error:
                    runs.finished(service)
                return str(error.value)
        runs.finished(service)
        return ""


def test_it_refuses_another_token() -> None:
    with runs.stand_in(0.0) as service:
        with client(service, "another") as asking, pytest.raises(httpx.TransportError):
            asking.head("/upload", params={"contentHash": SHA256})
        with pytest.raises(RuntimeError, match="HEAD /upload, or its token"):
            runs.finished(service)
