"""By which proxy a host is reached, if the configuration says that there may be one.

Only HTTPS goes through a proxy, and only as a tunnel: what is not HTTPS stays on this machine.
"""

import base64
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from watcher.errors import ConfigurationError

VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""What names a proxy in the environment; the first that is set counts."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where to ask for a tunnel; `authorization` is a header's value, "" for none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


def proxies(setting: str, environ: Mapping[str, str]) -> Callable[[str], Proxy | None]:
    """`setting`: "" for none, "environment" for the usual variables, or an address.

    The function tells the proxy for a host, None for none; this machine is never reached by one.
    Raises `ConfigurationError`, which shows no password.
    """
    if not setting:
        return lambda _host: None
    if setting != "environment":
        return _everywhere_but("", _proxy_at(setting, "[api] proxy"))
    for name in VARIABLES:
        if environ.get(name):
            exceptions = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
            return _everywhere_but(exceptions, _proxy_at(environ[name], name))
    return lambda _host: None


def _everywhere_but(exceptions: str, proxy: Proxy) -> Callable[[str], Proxy | None]:
    def proxy_for(host: str) -> Proxy | None:
        return None if is_here(host) or _is_among(host, exceptions) else proxy

    return proxy_for


def _is_among(host: str, exceptions: str) -> bool:
    """NO_PROXY as curl reads it: `*`, or names that stand for those below them as well."""
    names = [name.strip().lower().lstrip(".") for name in exceptions.split(",")]
    return any(name and (name == "*" or f".{host.lower()}".endswith(f".{name}")) for name in names)


def _proxy_at(url: str, where: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http":
        raise ConfigurationError(
            f"{where}: is not a proxy that can be used. Give an address such as "
            "http://proxy.studio:3128; SOCKS and https:// proxies are not supported."
        )
    if parts.username is None:
        return Proxy(host, port)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return Proxy(host, port, f"Basic {base64.b64encode(login).decode()}")


def is_here(host: str) -> bool:
    """Whether a host is this machine by its very name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
