"""The service's answers, told apart; against the strict stand-in."""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.factories import HARD_NAMES, HASH, NAMES, PROPERTY, Clock, a_connection
from watcher.errors import AccessDenied, FileUnreadable, LoginNeeded, ServiceTrouble
from watcher.exchange import Answer
from watcher.form import MEDIA_TYPES, FileBody, safe_name
from watcher.inspection import Format
from watcher.openfile import OpenFile
from watcher.pace import MAX_PIECE, NoPace, Pace
from watcher.pieces import STEP, FileChanged
from watcher.sandbox import Sandbox, faults
from watcher.sandbox.exchange import Exchange
from watcher.service import (
    MAX_RETRY_AFTER,
    Accepted,
    Access,
    Refused,
    Service,
    hash_in,
    message_in,
    retry_after,
)
from watcher.settling import Observation
from watcher.tokens import GivenToken
from watcher.tree import stamp_of

CONTENT = b"content of an image" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Renewable:
    """Tokens as the auth server would give them, one after the other."""

    def __init__(self, *tokens: str, organization: str = "") -> None:
        self._tokens = list(tokens)
        self.organization = organization
        self.refused: list[str] = []

    def current(self) -> Access:
        return Access(self._tokens[0], self.organization)

    def renewed(self, refused: str) -> Access:
        self.refused.append(refused)
        self._tokens.pop(0)
        return self.current()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(check="none", organizations={"studio": "The studio", "lab": "The lab"}) as running:
        yield running


@pytest.fixture
def service(sandbox: Sandbox) -> Iterator[Service]:
    with a_connection() as connection:
        yield Service(connection, url=sandbox.url, tokens=GivenToken(sandbox.access_token))


@contextmanager
def body_of(
    content: bytes,
    *,
    name: str = "a.jpg",
    form: Format = "jpeg",
    pace: Pace | NoPace | None = None,
) -> Iterator[FileBody]:
    fd = os.memfd_create("image")
    try:
        os.pwrite(fd, content, 0)
        status = os.fstat(fd)
        seen = Observation(stamp_of(status), 0)
        sha256 = hashlib.sha256(content).hexdigest()
        file = OpenFile.of(fd, status, name, seen=seen, recorded=None)
        yield FileBody(file, sha256, form=form, pace=pace or NoPace())
    finally:
        os.close(fd)


def upload(service: Service, content: bytes = CONTENT, organization: str = "") -> object:
    with body_of(content) as body:
        return service.upload(body, organization=organization)


# The ordinary course


def test_content_is_unknown_until_it_was_sent_and_known_from_then_on(
    service: Service, sandbox: Sandbox
) -> None:
    assert service.knows(SHA256, organization="studio") is False
    assert upload(service, organization="studio") == Accepted(SHA256)
    assert service.knows(SHA256, organization="studio") is True
    assert sandbox.counters["connections"] == 1


def test_a_page_of_html_does_not_say_that_the_content_is_known(
    service: Service, sandbox: Sandbox
) -> None:
    sandbox.fault(faults.Html(), method="HEAD")
    assert service.knows(SHA256, organization="") is None
    sandbox.fault(faults.Html())
    with pytest.raises(ServiceTrouble):
        upload(service)
    assert not sandbox.uploads


@pytest.mark.parametrize(("organization", "chosen", "sent"), [
    ("lab", "", "lab"),
    ("", "lab", "lab"),
    ("studio", "lab", "studio"),
    ("", "", ""),
])  # fmt: skip
def test_the_organization_is_the_shares_else_the_logins_else_none(
    sandbox: Sandbox, organization: str, chosen: str, sent: str
) -> None:
    tokens = Renewable(sandbox.access_token, organization=chosen)
    with a_connection() as connection:
        service = Service(connection, url=sandbox.url + "/", tokens=tokens)
        assert service.whose(organization) == sent
        upload(service, organization=organization)
        assert service.knows(SHA256, organization=organization)
    assert [seen.organization for seen in sandbox.requests] == [sent, sent]


# The body


@pytest.mark.parametrize("size", [0, 1, MAX_PIECE - 1, MAX_PIECE, MAX_PIECE + 1, 3 * MAX_PIECE + 5])
@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_a_body_is_as_long_as_announced_and_arrives_whole(
    service: Service, sandbox: Sandbox, size: int, form: Format
) -> None:
    content = os.urandom(size)
    with body_of(content, form=form, name=f"a.{form}") as body:
        assert sum(map(len, body)) == body.length
        answer = service.upload(body, organization="")
    sha256 = hashlib.sha256(content).hexdigest()
    assert answer == Accepted(sha256)
    stored = sandbox.uploads[sha256]
    assert (stored.size, stored.content_type) == (size, MEDIA_TYPES[form])
    assert stored.file_name == f"a.{form}"


@pytest.mark.parametrize("raw", HARD_NAMES)
def test_no_name_breaks_the_form(service: Service, sandbox: Sandbox, raw: bytes) -> None:
    with body_of(CONTENT, name=os.fsdecode(raw)) as body:
        assert service.upload(body, organization="") == Accepted(SHA256)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", sandbox.uploads[SHA256].file_name)


@given(raw=NAMES)
@PROPERTY
def test_a_name_that_is_sent_is_short_plain_ascii(raw: bytes) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", safe_name(os.fsdecode(raw)))


def test_content_that_looks_like_the_forms_own_boundary_does_not_matter(
    service: Service,
) -> None:
    with body_of(CONTENT) as body, body_of(b"") as second, body_of(b"") as third:
        boundaries = {body.boundary, second.boundary, third.boundary}
    assert len(boundaries) == 3
    content = b"--\r\n--" + b"\r\n--".join(boundary.encode() for boundary in boundaries) + b"--\r\n"
    assert upload(service, content) == Accepted(hashlib.sha256(content).hexdigest())


def test_a_capped_body_is_sent_in_its_caps_pieces(service: Service) -> None:
    clock = Clock()
    pace = Pace(200_000, clock=clock, wait=clock.advance)
    with body_of(os.urandom(95_000), pace=pace) as body:
        assert max(map(len, body)) == pace.piece == 10_000
        assert isinstance(service.upload(body, organization=""), Accepted)


@pytest.mark.parametrize("size", [0, 1000, 2 * MAX_PIECE + 1])
def test_how_much_of_it_is_sent_is_told_from_nothing_to_all(service: Service, size: int) -> None:
    told: list[int] = []
    with body_of(os.urandom(size)) as body:
        body.on_sent = told.append
        assert isinstance(service.upload(body, organization=""), Accepted)
    assert (told[0], told[-1]) == (0, size)
    assert all(0 <= after - before <= STEP for before, after in pairwise(told))


CHANGES: Mapping[str, Callable[[int], object]] = {
    "shrinks": lambda fd: os.ftruncate(fd, 1),
    "grows": lambda fd: os.pwrite(fd, b"more", os.fstat(fd).st_size),
    "is overwritten": lambda fd: os.pwrite(fd, b"y", 0),
}


def change(fd: int, how: Callable[[int], object]) -> None:
    """The kernel's clock for files moves in steps: a change within one is not seen."""
    before, after = os.fstat(fd), os.fstat(fd)
    while (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
        how(fd)
        after = os.fstat(fd)


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("size", [len(CONTENT), 2 * MAX_PIECE], ids=["small", "large"])
def test_a_file_that_changed_while_it_waited_is_not_sent_and_the_next_one_is(
    service: Service, sandbox: Sandbox, size: int, changes: str
) -> None:
    with body_of(b"x" * size) as body:
        change(body._file.fd, CHANGES[changes])
        with pytest.raises(FileChanged):
            service.upload(body, organization="")
    assert not sandbox.uploads
    assert not sandbox.requests
    assert upload(service) == Accepted(SHA256)


@pytest.mark.parametrize("changes", CHANGES)
def test_a_file_that_changes_while_it_is_sent_is_not_sent_to_its_end(
    service: Service, sandbox: Sandbox, changes: str
) -> None:
    with body_of(b"x" * 3 * MAX_PIECE) as body:

        def sent(so_far: int) -> None:
            if so_far == MAX_PIECE:
                change(body._file.fd, CHANGES[changes])

        body.on_sent = sent
        with pytest.raises(FileChanged):
            service.upload(body, organization="")
    assert not sandbox.uploads
    assert upload(service) == Accepted(SHA256)


def test_a_file_that_is_rewritten_while_it_is_sent_is_not_sent_though_its_time_is_set_back(
    service: Service, sandbox: Sandbox
) -> None:
    with body_of(b"x" * 3 * MAX_PIECE) as body:
        fd, before = body._file.fd, os.fstat(body._file.fd)

        def sent(so_far: int) -> None:
            while so_far and os.fstat(fd).st_ctime_ns == before.st_ctime_ns:
                os.pwrite(fd, b"y", 0)
                os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))

        body.on_sent = sent
        with pytest.raises(FileChanged):
            service.upload(body, organization="")
    assert not sandbox.uploads


def test_a_file_that_gets_other_rights_while_it_is_sent_is_sent_to_its_end(
    service: Service, sandbox: Sandbox
) -> None:
    """A script that sets them every minute would else have a large one sent for ever."""
    content = b"x" * 3 * MAX_PIECE
    sha256 = hashlib.sha256(content).hexdigest()
    with body_of(content) as body:
        before = os.fstat(body._file.fd).st_ctime_ns

        def sent(so_far: int) -> None:
            while so_far and os.fstat(body._file.fd).st_ctime_ns == before:
                os.fchmod(body._file.fd, 0o640)

        body.on_sent = sent
        assert service.upload(body, organization="") == Accepted(sha256)
    assert sandbox.counters["POST /upload"] == 1


def test_a_file_that_cannot_be_read_any_more_is_no_trouble_of_the_service(service: Service) -> None:
    with open(os.devnull, "wb") as unreadable, body_of(b"x" * 3 * MAX_PIECE) as body:

        def sent(so_far: int) -> None:
            if so_far == MAX_PIECE:
                os.dup2(unreadable.fileno(), body._file.fd)

        body.on_sent = sent
        with pytest.raises(FileUnreadable):
            service.upload(body, organization="")
    assert upload(service) == Accepted(SHA256)


# The table of trouble


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_file_that_the_service_will_not_have_is_refused_in_its_words(
    service: Service, sandbox: Sandbox, status: int
) -> None:
    sandbox.fault(faults.Status(status))
    assert upload(service) == Refused("Told to fail")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 402, 405, 408, 409, 418, 425, 429, 501, 502,
                                    503, 504, 599, 202, 204, 299])  # fmt: skip
@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_everything_else_is_trouble_of_the_service(
    service: Service, sandbox: Sandbox, method: str, status: int
) -> None:
    sandbox.fault(faults.Status(status), method=method)
    with pytest.raises(ServiceTrouble, match=f"it answered {status}"):
        service.knows(SHA256, organization="") if method == "HEAD" else upload(service)
    assert not sandbox.uploads
    assert upload(service) == Accepted(SHA256)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_question_that_is_refused_is_no_answer(
    service: Service, sandbox: Sandbox, status: int
) -> None:
    sandbox.fault(faults.Status(status), method="HEAD")
    with pytest.raises(ServiceTrouble):
        service.knows(SHA256, organization="")


def test_a_single_unexpected_error_is_asked_again_and_two_are_trouble(
    service: Service, sandbox: Sandbox
) -> None:
    sandbox.fault(faults.Status(500))
    assert upload(service) == Accepted(SHA256)
    sandbox.fault(faults.Status(500), times=2)
    with pytest.raises(ServiceTrouble, match="it answered 500"):
        service.knows(SHA256, organization="")


class StoredAnd500:
    """The content is stored, and then something unexpected happens."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.ordinary()
        exchange.send(faults.Status(500).answer(exchange.request.path))


def test_before_a_file_is_sent_again_after_a_500_it_is_asked_for(
    service: Service, sandbox: Sandbox
) -> None:
    sandbox.fault(StoredAnd500(), method="POST")
    assert upload(service) == Accepted(SHA256)
    assert sandbox.counters["POST /upload"] == sandbox.counters["HEAD /upload"] == 1
    sandbox.fault(faults.Status(500), method="POST", times=2)
    other = b"other" + CONTENT
    assert upload(service, other) == Accepted(hashlib.sha256(other).hexdigest())
    assert sandbox.counters["HEAD /upload"] == 2
    assert sandbox.counters["POST /upload"] == 4


def test_no_permission_is_the_set_ups_fault(service: Service, sandbox: Sandbox) -> None:
    sandbox.fault(faults.Status(403), times=2)
    with pytest.raises(AccessDenied, match="it answered 403: "):
        service.knows(SHA256, organization="x")
    with pytest.raises(AccessDenied, match="it answered 403: "):
        upload(service)
    with pytest.raises(AccessDenied, match="No permission for organization other"):
        upload(service, organization="other")
    sandbox.fault(faults.Status(404))
    with pytest.raises(AccessDenied, match="it answered 404 to an upload"):
        upload(service)


def test_a_refused_token_is_renewed_once_and_the_whole_body_is_sent_again(
    sandbox: Sandbox,
) -> None:
    tokens = Renewable("expired", sandbox.access_token)
    with a_connection() as connection:
        service = Service(connection, url=sandbox.url, tokens=tokens)
        assert upload(service, b"x" * 3 * MAX_PIECE) == Accepted(
            hashlib.sha256(b"x" * 3 * MAX_PIECE).hexdigest()
        )
    assert tokens.refused == ["expired"]


@pytest.mark.parametrize("second", ["expired too", "expired"])
def test_a_new_token_that_is_refused_too_means_login(sandbox: Sandbox, second: str) -> None:
    tokens = Renewable("expired", second, "never asked for")
    with a_connection() as connection:
        service = Service(connection, url=sandbox.url, tokens=tokens)
        with pytest.raises(LoginNeeded):
            service.knows(SHA256, organization="")
    assert tokens.refused == ["expired"]
    assert sandbox.counters["HEAD /upload 401"] == 2


def test_a_token_that_was_given_and_is_refused_means_login(sandbox: Sandbox) -> None:
    with a_connection() as connection:
        service = Service(connection, url=sandbox.url, tokens=GivenToken("wrong"))
        with pytest.raises(LoginNeeded):
            upload(service)


# What comes back


@pytest.mark.parametrize("form", ["upper", "quoted", "base64", "spaced"])
def test_the_hash_may_come_in_other_forms(
    service: Service, sandbox: Sandbox, form: faults.HashForm
) -> None:
    sandbox.fault(faults.OtherHash(form))
    assert upload(service) == Accepted(SHA256)


def test_another_hash_is_told_as_it_is(service: Service, sandbox: Sandbox) -> None:
    sandbox.fault(faults.OtherHash("wrong"))
    answer = upload(service)
    assert isinstance(answer, Accepted)
    assert answer.sha256 != SHA256


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"<!doctype html><p>Welcome",
        b'{"contentHash": "' + SHA256.encode() + b'"}',
        SHA256[:-1].encode(),
        SHA256.encode() + b"0",
        SHA256.encode() + b" " + SHA256.encode(),
        b"g" * 64,
        b"0" * 100_000,
        b"\xff" * 64,
    ],
)
def test_success_without_a_hash_is_trouble(
    service: Service, sandbox: Sandbox, status: int, body: bytes
) -> None:
    sandbox.fault(faults.Status(status, body=body))
    with pytest.raises(ServiceTrouble, match="not with a hash"):
        upload(service)


def test_a_portals_page_is_trouble(service: Service, sandbox: Sandbox) -> None:
    sandbox.fault(faults.Html())
    with pytest.raises(ServiceTrouble, match="it answered 200, but not with a hash"):
        upload(service)


DIGESTS = st.binary(min_size=32, max_size=32)
AROUND = st.sampled_from([b"", b" ", b"\r\n", b"\t \n"])


@given(digest=DIGESTS, before=AROUND, after=AROUND, quote=st.sampled_from([b"", b'"', b"'"]))
@PROPERTY
def test_a_hash_is_found_in_any_form_that_is_known(
    digest: bytes, before: bytes, after: bytes, quote: bytes
) -> None:
    for form in (
        digest.hex().encode(),
        digest.hex().upper().encode(),
        base64.b64encode(digest),
        base64.b64encode(digest).rstrip(b"="),
        base64.urlsafe_b64encode(digest),
    ):
        assert hash_in(before + quote + form + quote + after) == digest.hex()


@given(
    st.binary(max_size=100) | st.text(alphabet="abc0123456789+/=_-", max_size=70).map(str.encode)
)
@PROPERTY
def test_what_is_found_is_always_a_hash(body: bytes) -> None:
    found = hash_in(body)
    assert found is None or re.fullmatch("[0-9a-f]{64}", found)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message": "Too  large\\n\\u0000 \\ud800"}', "Too large ? ?"),
        (b'{"message": "' + b"x" * 1000 + b'"}', "x" * 200),
        (b'{"message": "\\u001b[31mred"}', "?[31mred"),
        (b'{"message": " "}', "status 422"),
        (b'{"message": ["a"]}', "status 422"),
        (b'{"error": "a"}', "status 422"),
        (b'["message"]', "status 422"),
        (b"", "status 422"),
        (b"<p>message", "status 422"),
        (b"\xff\xfe", "status 422"),
        (b"[" * 60_000, "status 422"),
        (b'{"message": ' + b"9" * 10_000 + b"}", "status 422"),
    ],
)
def test_the_services_words_are_one_printable_line_or_left_out(body: bytes, said: str) -> None:
    assert message_in(Answer(422, {}, body)) == said


@given(st.binary(max_size=300))
@PROPERTY
def test_whatever_an_answer_holds_its_words_are_printable(body: bytes) -> None:
    said = message_in(Answer(500, {}, body))
    assert said.isprintable()
    assert 0 < len(said) <= 200


# Retry-After

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("99999999999", MAX_RETRY_AFTER),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("Tuesday, 14-Nov-23 22:13:50 GMT", 30.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Mon, 01 Jan 0001 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None),
        ("Mon, 32 Jan 2024 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_the_standard_says_and_kept_sane(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after(value, now=NOW) == seconds


@given(
    st.text(max_size=40)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.datetimes().map(format_datetime)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [+-]?\w{1,20}")
)
@PROPERTY
def test_whatever_stands_in_retry_after_the_wait_is_bounded(value: str) -> None:
    seconds = retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_trouble_carries_what_the_service_asked_for(
    service: Service, sandbox: Sandbox, status: int
) -> None:
    sandbox.fault(faults.Status(status, headers={"Retry-After": "17"}))
    with pytest.raises(ServiceTrouble) as caught:
        upload(service)
    assert caught.value.retry_after == 17
    sandbox.fault(faults.Status(status))
    with pytest.raises(ServiceTrouble) as caught:
        service.knows(HASH, organization="")
    assert caught.value.retry_after is None


def test_no_token_is_in_an_error_or_a_repr(sandbox: Sandbox) -> None:
    access = Access("SECRET", "studio")
    assert "SECRET" not in repr(access)
    with a_connection() as connection:
        service = Service(connection, url=sandbox.url, tokens=GivenToken("SECRET"))
        with pytest.raises(LoginNeeded) as caught:
            service.knows(SHA256, organization="")
        assert "SECRET" not in str(caught.value)
        assert "SECRET" not in repr(service)
