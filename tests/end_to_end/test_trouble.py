"""The service misbehaves; no file is blamed, none is lost."""

import hashlib

import pytest

from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation
from tests.end_to_end.test_once import check, fill
from watcher.sandbox import Fault, Sandbox, faults

TRANSIENT: list[Fault] = [
    *(faults.Status(status) for status in (408, 425, 429, 500, 502, 503, 504, 418)),
    faults.Status(503, headers={"Retry-After": "0"}),
    faults.Reset("before_body"),
    faults.Reset("in_body"),
    faults.Reset("after_body"),
    faults.Close("after_body"),
    faults.DieAfterWork(),
    faults.OtherHash("wrong"),
    faults.Html(200),
    faults.Oversized(size=3_000_000, status=201),
    faults.Gzipped(padding=1_000_000),
    faults.Redirect("http://127.0.0.1:9/elsewhere", 307),
    faults.Garbage(b"\0\1\2 not HTTP\r\n\r\n"),
]


@pytest.mark.parametrize("fault", TRANSIENT, ids=repr)
def test_a_transient_fault_costs_a_retry_and_no_file(installed: Installation, fault: Fault) -> None:
    content = picture()
    installed.drop("IMG.jpg", content)
    rule = installed.service.fault(fault, method="POST", path="/upload", times=1)
    result = installed.once()
    assert rule.hits == 1
    assert result.code == 0, result.stderr
    assert set(installed.service.uploads) == {hashlib.sha256(content).hexdigest()}
    assert check(installed.share) == 1
    assert not result.named("rejected")


@pytest.mark.parametrize("form", ["upper", "quoted", "base64", "spaced"])
def test_the_hash_may_come_in_other_forms(installed: Installation, form: str) -> None:
    installed.drop("IMG.jpg", picture())
    installed.service.fault(faults.OtherHash(form), method="POST", path="/upload")  # type: ignore[arg-type]
    assert installed.once().code == 0
    assert installed.service.counters["POST /upload"] == 1


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_file_is_rejected_in_the_services_words(
    installed: Installation, status: int
) -> None:
    installed.drop("IMG.jpg", picture())
    body = b'{"status": 422, "message": "the colours\\u001b[31m are\\nwrong"}'
    installed.service.fault(
        faults.Status(status, body=body), method="POST", path="/upload", times=None
    )
    result = installed.once()
    assert result.code == 1
    assert [e["reason"] for e in result.named("rejected")] == ["refused_by_service"]
    note = (installed.share / "IMG.jpg.rejected.txt").read_text()
    assert "the colours?[31m are wrong" in " ".join(note.split())


def test_every_second_request_fails_and_every_file_gets_through(installed: Installation) -> None:
    fill(installed, 24)
    installed.service.fault(faults.Status(500), path="/upload", times=None, every=2)
    assert installed.once().code == 0
    assert check(installed.share) == 24


def test_a_token_that_ends_is_renewed_once_for_all(installed: Installation) -> None:
    del installed.environment["AUTORETOUCH_ACCESS_TOKEN"]
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = installed.service.refresh_token
    with installed.daemon() as daemon:
        installed.drop("first.jpg", picture(1))
        daemon.wait_for("uploaded")
        installed.service.expire_access_tokens()
        for number in range(20):
            installed.drop(f"{number}.jpg", picture(100 + number))
        daemon.wait_until(lambda: len(daemon.named("uploaded")) == 21, "all of them")
    assert installed.service.counters["POST /oauth/token"] == 2


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_without_a_token_it_says_so_and_blames_no_file(installed: Installation, token: str) -> None:
    installed.environment["AUTORETOUCH_ACCESS_TOKEN"] = token
    fill(installed, 6)
    result = installed.once()
    assert result.code == 77
    assert [e["condition"] for e in result.named("condition_raised")] == ["login_needed"]
    assert not result.named("failed")
    assert not list(installed.share.rglob("*.rejected.txt"))


def test_what_one_organization_refuses_does_not_end_the_others(installed: Installation) -> None:
    other = installed.folder / "other"
    installed.configure(
        share='organization = "somebody-else"',
        more=f'[[share]]\npath = "{other}"\n[workers]\ncount = 4',
    )
    other.mkdir()
    installed.service.latency_seconds = 0.05
    installed.drop("IMG.jpg", picture(1))
    for number in range(20):
        (other / f"{number}.jpg").write_bytes(picture(100 + number))
    result = installed.once()
    assert result.code == 1
    assert len(result.named("uploaded")) == 20
    assert [e["condition"] for e in result.named("condition_raised")] == ["access_denied"]


def test_a_foreign_organization_is_access_denied_and_blames_no_file(
    installed: Installation,
) -> None:
    installed.configure(organization="somebody-else")
    fill(installed, 6)
    result = installed.once()
    assert result.code == 1
    assert [e["condition"] for e in result.named("condition_raised")] == ["access_denied"]
    assert result.named("stopped")[0]["in_backlog"] == 6
    assert not list(installed.share.rglob("*.rejected.txt"))


def test_an_outage_is_one_condition_that_clears_by_itself(installed: Installation) -> None:
    with installed.daemon() as daemon:
        installed.service.stop()
        for number in range(6):
            installed.drop(f"{number}.jpg", picture(number))
        daemon.wait_for("condition_raised", condition="service_unavailable")
        installed.service.start()
        daemon.wait_for("condition_cleared", condition="service_unavailable")
        daemon.wait_until(lambda: len(daemon.named("uploaded")) == 6, "all of them")
        assert len(daemon.named("condition_raised")) == 1


def asked(service: Sandbox) -> set[str]:
    return {request.content_hash for request in service.requests}


def test_requests_during_an_outage_are_few_and_fresh_drops_go_first_after_it(
    installed: Installation,
) -> None:
    installed.configure(more="[workers]\ncount = 4\n")
    for number in range(150):
        installed.drop(f"backlog/{number:03}.jpg", picture(number))
    rule = installed.service.fault(faults.Status(503), path="/upload", times=None)
    with installed.daemon() as daemon:
        daemon.wait_for("condition_raised", condition="service_unavailable")
        fresh = hashlib.sha256(picture(1000)).hexdigest()
        installed.drop("fresh.jpg", picture(1000))
        # What the workers had under way when it began, and then a probe now and then.
        service = installed.service
        assert service.wait_for(lambda: rule.hits >= 4 + 2 and fresh in asked(service), 30)
        installed.service.clear_faults()
        daemon.wait_until(lambda: len(daemon.named("uploaded")) == 151, "all of them")
    assert rule.hits <= 4 + 6
    assert "fresh.jpg" in [event["path"] for event in daemon.named("uploaded")[:4]]
    log = [event["event"] for event in daemon.events if "condition" in event]
    assert log == ["condition_raised", "condition_cleared"]
    assert check(installed.share) == 151


def test_a_poisonous_file_does_not_keep_others(installed: Installation) -> None:
    poison = hashlib.sha256(picture(0)).hexdigest()
    with installed.daemon() as daemon:
        rule = installed.service.fault(
            faults.Status(500), method="POST", path="/upload", times=None
        )
        installed.drop("poison.jpg", picture(0))
        assert installed.service.wait_for(lambda: rule.hits > 0)
        installed.service.clear_faults()
        installed.service.fault(
            faults.Status(500), method="HEAD", path="/upload", times=None, every=1000
        )
        for number in range(1, 6):
            installed.drop(f"{number}.jpg", picture(number))
        daemon.wait_until(lambda: len(daemon.named("uploaded")) >= 5, "the others")
        daemon.wait_for("uploaded", path="poison.jpg", sha256=poison)
