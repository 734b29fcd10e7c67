"""`config`: the effective configuration as TOML, with where each value came from.

What it prints can be saved as a configuration file of the same meaning, except for what may be a
secret and is masked: the path of a webhook and the arguments of a command. Exit code 0, or 78 if
`run` would refuse the configuration: systemd's reload asks here first.
"""

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic import BaseModel

from watcher.access import connections, given, shares_of, tokens_of
from watcher.errors import ConfigurationError
from watcher.exit_codes import OK
from watcher.printable import printable
from watcher.settings import PREFIX, Settings, load, sources_of
from watcher.token_store import TokenStore

_WIDTH = 80
_VENDORS = "AUTORETOUCH_ORGANIZATION_ID"
_DEFAULT = "default"
_MASK = "***"


def run_config(config: str | None, *, state_dir: str, environ: Mapping[str, str]) -> int:
    """Prints it; the exit code. Raises `ConfigurationError` for all that `run` would, after what
    can be printed."""
    settings = load(config, environ)
    origins = Origins(sources_of(config, environ), environ)
    lines = [
        *_heading(settings, origins, state_dir=state_dir, environ=environ),
        *as_toml(settings, origins),
    ]
    click.echo("\n".join(lines))
    shares_of(settings)
    connect = connections(settings, environ)
    tokens_of(settings, state_dir=state_dir, environ=environ, connect=connect)
    return OK


class Origins:
    """Where values came from: "default", a variable's name, or the file's path."""

    def __init__(
        self, sources: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]
    ) -> None:
        """`sources` are those of `settings.sources_of`."""
        self._environment, self._file = sources.values()
        _, self.file = sources
        self._environ = environ

    def of(self, section: str, key: str) -> str:
        """Of a value in a plain section."""
        if key in self._environment.get(section, {}):
            return self._variable(section, key)
        return self.file if key in self._file.get(section, {}) else _DEFAULT

    def of_share(self, index: int, key: str) -> str:
        """Of a value of one share: the strongest source that names shares names all of them."""
        if "share" in self._environment:
            said, where = self._environment["share"], self._named(f"{PREFIX}SHARE")
        else:
            said, where = self._file["share"], self.file
        return where if key in said[index] else _DEFAULT

    def _variable(self, section: str, key: str) -> str:
        """The variable that a value came from, as it is written in the environment: a single one
        goes before one that holds the section, and ours before the vendor's."""
        single, whole = f"{PREFIX}{section}__{key}", f"{PREFIX}{section}"
        here = {name.lower() for name in self._environ}
        if single.lower() in here:
            return self._named(single)
        if whole.lower() in here and key in json.loads(self._environ[self._named(whole)]):
            return self._named(whole)
        return _VENDORS  # that of `[api] organization` is the only other one

    def _named(self, variable: str) -> str:
        wanted = variable.lower()
        return next(name for name in reversed(list(self._environ)) if name.lower() == wanted)


# What stands above the values


def _heading(
    settings: Settings, origins: Origins, *, state_dir: str, environ: Mapping[str, str]
) -> Iterator[str]:
    yield _comment(f"Configuration file: {printable(origins.file)}")
    yield _comment(f"State directory: {printable(state_dir)}")
    token, organization = _login(state_dir, environ)
    yield _comment(f"Token: {token}")
    if not settings.share:
        yield _comment("No share is configured: add a [[share]] with its path.")
    if any(not (share.organization or settings.api.organization) for share in settings.share):
        yield _comment(f"Organization, where none is given below: {organization}")


def _comment(text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _login(state_dir: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Where the token comes from, and the organization that was chosen with it. No token is shown,
    and none is renewed."""
    if given("access_token", environ):
        return f"an access token, from {_giver('access_token', environ)}", "the token's own"
    store = TokenStore(state_dir)
    try:
        stored = store.read()
    except ConfigurationError as error:
        return printable(str(error)), "not known"
    chosen = stored.organization if stored else ""
    organization = f"{printable(chosen)}, chosen at login" if chosen else "the token's own"
    if given("refresh_token", environ):
        giver = _giver("refresh_token", environ)
        later = f"; then its successors in {printable(store.path)}"
        return f"a refresh token, from {giver}{later}", organization
    if stored is None:
        return "none. Sign in with `autoretouch-watcher login`.", "the one chosen at login"
    return f"{printable(store.path)}, from a login", organization


def _giver(name: str, environ: Mapping[str, str]) -> str:
    """Where `access.given` found a token."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and os.path.exists(os.path.join(folder, name)):
        return f"the systemd credential {name}"
    return f"AUTORETOUCH_{name.upper()}"


# The values


def as_toml(settings: Settings, origins: Origins) -> Iterator[str]:
    """All values as lines of TOML, in the order of the documentation."""
    for section in Settings.model_fields:
        value = getattr(settings, section)
        if section == "share":
            for index, share in enumerate(value):
                yield from ("", "[[share]]")
                for key in type(share).model_fields:
                    yield from _line(share, key, origins.of_share(index, key))
            continue
        yield from ("", f"[{section}]")
        for key in type(value).model_fields:
            yield from _line(value, key, origins.of(section, key))


def _line(section: BaseModel, key: str, origin: str) -> Iterator[str]:
    """One value; its origin stands behind it, or above if the line would be too long."""
    value = getattr(section, key)
    comment = f"# {printable(origin)}"
    if key == "webhook" and value:
        value, comment = _masked(value), f"{comment}; its path is a secret and masked here"
    if key == "command" and value[1:]:
        value, comment = (value[0], *[_MASK] * len(value[1:])), f"{comment}; arguments are masked"
    line = f"{key} = {toml_value(value)}"
    if not _is_utf8(value):
        line = f"# {line}"
        comment = f"{comment}; its bytes are not UTF-8, so TOML cannot hold it"
    if len(line) + 2 + len(comment) <= _WIDTH:
        yield f"{line}  {comment}"
    else:
        yield from (comment, line)


def _masked(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{_MASK}"


def toml_value(value: object) -> str:
    """A value as TOML writes it: text, truth, numbers and lists of text."""
    match value:
        case str():
            return '"' + "".join(map(_letter, value)) + '"'
        case bool():
            return str(value).lower()
        case tuple():
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case float() if value.is_integer():
            return str(int(value))
    return repr(value)


def _letter(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def _is_utf8(value: object) -> bool:
    texts = value if isinstance(value, tuple) else (value,)
    return not any("\ud800" <= letter <= "\udfff" for text in texts for letter in str(text))
