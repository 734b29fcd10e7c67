"""By which proxy a host is reached: none, unless the configuration says so."""

import pytest

from watcher.errors import ConfigurationError
from watcher.proxies import Proxy, proxies
from watcher.settings import load

STUDIO = "http://proxy.studio:3128"
USUAL = {"HTTPS_PROXY": STUDIO}


def test_without_the_configurations_word_there_is_none() -> None:
    assert proxies("", USUAL)("api.autoretouch.com") is None


def test_an_address_is_used_whatever_the_environment_says() -> None:
    proxy_for = proxies(STUDIO, {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "*"})
    assert proxy_for("api.autoretouch.com") == Proxy("proxy.studio", 3128)


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTP_PROXY": STUDIO}, None),
        (USUAL, Proxy("proxy.studio", 3128)),
        ({"https_proxy": "proxy.studio:3128"}, Proxy("proxy.studio", 3128)),
        ({"https_proxy": STUDIO, "HTTPS_PROXY": "http://other:1"}, Proxy("proxy.studio", 3128)),
        ({"ALL_PROXY": "http://proxy.studio"}, Proxy("proxy.studio", 80)),
        ({"HTTPS_PROXY": "http://[::1]:8080/"}, Proxy("::1", 8080)),
        ({**USUAL, "NO_PROXY": "other.test"}, Proxy("proxy.studio", 3128)),
        ({**USUAL, "NO_PROXY": "retouch.com"}, Proxy("proxy.studio", 3128)),
        ({**USUAL, "NO_PROXY": "api.autoretouch.com"}, None),
        ({**USUAL, "no_proxy": "a.test, .AUTOretouch.com"}, None),
        ({**USUAL, "NO_PROXY": "*"}, None),
    ],
)
def test_the_usual_variables_are_read_as_usual(
    environ: dict[str, str], proxy: Proxy | None
) -> None:
    assert proxies("environment", environ)("api.autoretouch.com") == proxy


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_never_reached_by_a_proxy(host: str) -> None:
    assert proxies(STUDIO, {})(host) is None
    assert proxies("environment", USUAL)(host) is None


def test_a_password_is_sent_to_the_proxy_and_shown_to_nobody() -> None:
    environ = {"HTTPS_PROXY": "http://studio:SEC%40RET@proxy.studio:3128"}
    proxy = proxies("environment", environ)("api.autoretouch.com")
    assert proxy == Proxy("proxy.studio", 3128, "Basic c3R1ZGlvOlNFQ0BSRVQ=")
    assert "c3R1" not in repr(proxy)


@pytest.mark.parametrize(
    "url",
    [
        "socks5://user:SECRET@proxy:1080",
        "https://user:SECRET@proxy:3129",
        "http://user:SECRET@proxy:99999",
        "http://user:SECRET@:3128",
        "http://user:SECRET@[::1:3128",
        "/SECRET",
    ],
)
def test_a_variable_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY: .*SOCKS") as caught:
        proxies("environment", {"HTTPS_PROXY": url})
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("http://studio:SECRET@proxy:3128", "must hold no password"),
        ("socks5://proxy:1080", 'must be "", "environment" or an address'),
        ("proxy:3128", 'must be "", "environment" or an address'),
        ("http://proxy", 'must be "", "environment" or an address'),
        ("http://proxy:3128/path", 'must be "", "environment" or an address'),
        ("http://proxy:99999", "."),
        ("http://[::1:3128", "."),
    ],
)
def test_a_proxy_that_cannot_be_is_a_configuration_error(setting: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load("/dev/null", {"AUTORETOUCH_WATCHER_API__PROXY": setting})
    assert "[api] proxy: " in str(caught.value)
    assert says in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("setting", ["", "environment", "http://proxy:3128", "http://[::1]:3128/"])
def test_a_proxy_is_named_by_a_word_or_an_address(setting: str) -> None:
    assert load("/dev/null", {"AUTORETOUCH_WATCHER_API__PROXY": setting}).api.proxy == setting
