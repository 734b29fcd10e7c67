"""Certificates and proxies: to whom the program speaks, and that it is silent before it knows."""

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.end_to_end.pictures import picture
from tests.end_to_end.running import Installation
from tests.end_to_end.tunnel import Tunnel
from watcher.sandbox import OAuthRules, Sandbox

NAME = "service.test"
"""Resolves nowhere: only a proxy gets there."""

LONG_AGO = datetime.now(UTC) - timedelta(days=30)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    return serving(authority.issue_cert("127.0.0.1", NAME))


@pytest.fixture
def service(context: ssl.SSLContext) -> Iterator[Sandbox]:
    with Sandbox(ssl_context=context, oauth=OAuthRules(poll_interval_seconds=0)) as sandbox:
        yield sandbox


@pytest.fixture
def installed(tmp_path: Path, service: Sandbox, authority: trustme.CA) -> Installation:
    """It believes the authority that signed the service's certificate."""
    installed = Installation(tmp_path, service)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    installed.environment["AUTORETOUCH_WATCHER_API__CA_FILE"] = str(tmp_path / "ca.pem")
    return installed


def heard_nothing(service: Sandbox) -> bool:
    return service.bytes_received == 0 and not service.requests


# Certificates


def test_a_private_authority_that_is_named_is_believed(installed: Installation) -> None:
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = installed.service.refresh_token
    del installed.environment["AUTORETOUCH_ACCESS_TOKEN"]
    installed.drop("IMG.jpg", picture())
    assert installed.once().code == 0
    assert len(installed.service.uploads) == 1


def of_a_stranger(_authority: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


def of_another_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.2", "other.test")


def that_has_expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(
        "127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1)
    )


def that_is_not_valid_yet(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", not_before=datetime.now(UTC) + timedelta(days=1))


BAD: dict[Callable[[trustme.CA], trustme.LeafCert], str] = {
    of_a_stranger: "name it in [api] ca_file",
    of_another_host: "Check `url` in [api] and [auth]",
    that_has_expired: "Check this machine's clock",
    that_is_not_valid_yet: "Check this machine's clock",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_certificate_is_a_condition_and_no_byte_is_sent(
    installed: Installation,
    authority: trustme.CA,
    context: ssl.SSLContext,
    bad: Callable[[trustme.CA], trustme.LeafCert],
) -> None:
    bad(authority).configure_cert(context)
    for number in range(6):
        installed.drop(f"{number}.jpg", picture(number))
    with installed.daemon() as daemon:
        raised = daemon.wait_for("condition_raised", condition="service_unavailable")
        assert "the certificate of 127.0.0.1 is not trusted" in raised["reason"]
        assert "nothing was sent" in raised["reason"]
        assert BAD[bad] in raised["reason"]
        assert heard_nothing(installed.service)
        assert not list(installed.share.glob("*.rejected.txt"))
        authority.issue_cert("127.0.0.1").configure_cert(context)
        daemon.wait_for("condition_cleared", condition="service_unavailable")
        daemon.wait_until(lambda: len(daemon.named("uploaded")) == 6, "all of them")
        assert len(daemon.named("condition_raised")) == 1


def test_no_sign_in_begins_with_a_stranger(
    installed: Installation, authority: trustme.CA, context: ssl.SSLContext
) -> None:
    of_a_stranger(authority).configure_cert(context)
    result = installed.call("login")
    assert result.code == 1
    assert "is not trusted" in result.stderr
    assert "name it in [api] ca_file" in result.stderr
    assert heard_nothing(installed.service)


def test_no_variable_makes_it_believe_an_authority(installed: Installation) -> None:
    ca_file = installed.environment.pop("AUTORETOUCH_WATCHER_API__CA_FILE")
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        installed.environment[variable] = ca_file
    result = installed.call("login")
    assert result.code == 1
    assert "is not trusted" in result.stderr
    assert heard_nothing(installed.service)


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_ca_file_that_cannot_be_used_is_a_configuration_error(
    installed: Installation, content: bytes | None
) -> None:
    path = Path(installed.environment["AUTORETOUCH_WATCHER_API__CA_FILE"])
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    result = installed.call("run")
    assert result.code == 78
    assert "[api] ca_file" in result.stderr
    assert "Traceback" not in result.stderr


# Proxies


@pytest.fixture
def far_away(installed: Installation) -> Installation:
    """The service has a name that cannot be found from here."""
    text = installed.config.read_text()
    installed.config.write_text(text.replace("127.0.0.1", NAME))
    del installed.environment["AUTORETOUCH_ACCESS_TOKEN"]
    installed.environment["AUTORETOUCH_REFRESH_TOKEN"] = installed.service.refresh_token
    installed.drop("IMG.jpg", picture())
    return installed


PROXY = "AUTORETOUCH_WATCHER_API__PROXY"


def test_all_goes_through_a_proxy_that_is_configured(far_away: Installation) -> None:
    with Tunnel(far_away.service.port) as tunnel:
        far_away.environment[PROXY] = f"http://127.0.0.1:{tunnel.port}"
        assert far_away.once().code == 0
    assert set(tunnel.asked) == {f"{NAME}:{far_away.service.port}"}
    assert len(far_away.service.uploads) == 1


def test_a_proxy_of_the_environment_is_used_if_the_configuration_says_so(
    far_away: Installation,
) -> None:
    with Tunnel(far_away.service.port, login="studio:SECRET") as tunnel:
        far_away.environment[PROXY] = "environment"
        far_away.environment["HTTPS_PROXY"] = f"http://studio:SECRET@127.0.0.1:{tunnel.port}"
        result = far_away.once()
    assert result.code == 0
    assert len(far_away.service.uploads) == 1
    assert "SECRET" not in result.stdout + result.stderr


@pytest.mark.parametrize("setting", ["", "environment"])
def test_this_machine_is_reached_without_a_proxy_and_so_is_all_by_default(
    installed: Installation, setting: str
) -> None:
    installed.drop("IMG.jpg", picture())
    with Tunnel(installed.service.port) as tunnel:
        installed.environment[PROXY] = setting
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
            installed.environment[name] = f"http://127.0.0.1:{tunnel.port}"
        assert installed.once().code == 0
    assert tunnel.asked == []


def test_the_certificate_is_asked_for_through_a_proxy_as_well(
    far_away: Installation, authority: trustme.CA, context: ssl.SSLContext
) -> None:
    """A proxy that reads along would show its own."""
    of_another_host(authority).configure_cert(context)
    with Tunnel(far_away.service.port) as tunnel:
        far_away.environment[PROXY] = f"http://127.0.0.1:{tunnel.port}"
        result = far_away.call("login")
    assert result.code == 1
    assert f"the certificate of {NAME} is not trusted" in result.stderr
    assert heard_nothing(far_away.service)


def test_a_proxy_that_refuses_is_named_and_no_password_shown(far_away: Installation) -> None:
    with Tunnel(far_away.service.port, login="studio:right") as tunnel:
        far_away.environment[PROXY] = "environment"
        far_away.environment["HTTPS_PROXY"] = f"http://studio:SECRET@127.0.0.1:{tunnel.port}"
        result = far_away.call("login")
    assert result.code == 1
    assert "the proxy answered 407" in result.stderr
    gone = far_away.call("login")
    assert f"the proxy 127.0.0.1:{tunnel.port}: " in gone.stderr
    assert "SECRET" not in result.stderr + gone.stderr
