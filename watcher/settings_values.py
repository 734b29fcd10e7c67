"""What single values of the configuration must be like, as types for the settings' models."""

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from watcher.ignores import Ignores
from watcher.proxies import is_here

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[0-9]{1,5})?")
"""A host and perhaps a port; no user, who would have a password, and nothing that httpx refuses."""


def _secure_url(url: str) -> str:
    parts = urlsplit(url)
    plain = _HOST.fullmatch(parts.netloc) is not None and parts.port != 0
    if not plain or not parts.hostname or parts.scheme not in {"http", "https"} or parts.query:
        raise ValueError("must be an address such as https://api.autoretouch.com")
    if parts.scheme == "http" and not is_here(parts.hostname):
        raise ValueError("must begin with https:// (http:// is for this machine alone)")
    return url


def _proxy(proxy: str) -> str:
    parts = urlsplit(proxy)
    if "@" in parts.netloc:
        raise ValueError(
            'must hold no password; set HTTPS_PROXY in the environment and write "environment" here'
        )
    address = _HOST.fullmatch(parts.netloc) and parts.hostname and parts.port
    bare = parts.path in {"", "/"} and not parts.query
    if proxy in {"", "environment"} or (parts.scheme == "http" and address and bare):
        return proxy
    raise ValueError('must be "", "environment" or an address such as http://proxy.studio:3128')


def _for_kernel(text: str) -> str:
    """What the kernel can be told as a path or an argument: no NUL, nothing without bytes."""
    odd = "\0" if "\0" in text else ""
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        odd = odd or text[error.start]
    if odd:
        raise ValueError(f"holds the character {odd!a}, which no path and no argument can hold")
    return text


def _command(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_for_kernel, arguments))


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path.rstrip("/") or "/"


def _gitignore(patterns: tuple[str, ...]) -> tuple[str, ...]:
    try:
        Ignores(patterns)
    except ValueError as error:
        raise ValueError(f"holds {error}") from error
    return patterns


def _sidecars(place: str) -> str:
    if place != "beside" and not place.startswith("/"):
        raise ValueError('must be "beside" or the absolute path of a directory')
    return place


def _listen(address: str) -> str:
    host, _, port = address.rpartition(":")
    named = _HOST.fullmatch(address) and host  # an IPv6 address needs its brackets
    if address and not (named and port.isdecimal() and 0 < int(port) <= 65535):
        raise ValueError(
            'must be "" or an address and a port such as "127.0.0.1:9464" or "[::1]:9464"'
        )
    return address


def _webhook(url: str) -> str:
    """As `_secure_url`, but some services put their key into a query."""
    if url:
        _secure_url(url.partition("?")[0])
    return url


Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]
Url = Annotated[str, AfterValidator(_secure_url)]
Webhook = Annotated[str, AfterValidator(_webhook)]
Proxy = Annotated[str, AfterValidator(_proxy)]
Listen = Annotated[str, AfterValidator(_listen)]
File = Annotated[str, AfterValidator(_for_kernel)]
Command = Annotated[tuple[str, ...], AfterValidator(_command)]
Folder = Annotated[File, AfterValidator(_absolute)]
Patterns = Annotated[tuple[str, ...], AfterValidator(_gitignore)]
Sidecars = Annotated[File, AfterValidator(_sidecars)]
