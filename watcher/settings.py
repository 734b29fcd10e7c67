"""The configuration: TOML file and environment; checked once, here.

Only the wiring (`wiring`, `access`) and the command line know it; everybody else is handed values.
"""

import os
import stat
import threading
import time
import tomllib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from watcher.errors import ConfigurationError
from watcher.settings_faults import did_you_mean, in_words
from watcher.settings_values import (
    Command,
    File,
    Folder,
    Listen,
    Patterns,
    Proxy,
    Seconds,
    Sidecars,
    Url,
    Webhook,
)

PREFIX = "AUTORETOUCH_WATCHER_"
PLACES = (
    "/etc/autoretouch-watcher/config.toml",
    "~/.config/autoretouch-watcher/config.toml",
)

ANSWER_SECONDS = 3.0
"""How long a share's file server may take to say where the share's path leads."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Api(_Section):
    """Where images go."""

    url: Url = "https://api.autoretouch.com"
    organization: str = ""
    timeout_seconds: Seconds = 60
    ca_file: File = ""
    proxy: Proxy = ""


class Auth(_Section):
    """Where tokens come from."""

    url: Url = "https://auth.autoretouch.com"
    client_id: str = "V8EkfbxtBi93cAySTVWAecEum4d6pt4J"


class ShareSettings(_Section):
    """One watched share."""

    path: Folder
    organization: str = ""
    watch: Literal["auto", "events", "poll"] = "auto"
    poll_seconds: Seconds = 5
    rescan_seconds: Seconds = 300
    ignore: Patterns = ("CaptureOne/", "autoRetouch/")
    sidecars: Sidecars = "beside"
    require_mount: bool = False


class Readiness(_Section):
    """When a file counts as at rest."""

    settle_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 2.0
    incomplete_after_seconds: Seconds = 600


class Workers(_Section):
    """How many files are under way at once."""

    count: Annotated[int, Field(ge=1, le=256)] = 32


class Upload(_Section):
    """How much of that is sent at once."""

    parallel: Annotated[int, Field(ge=1, le=256)] = 8
    max_mbit_per_second: Annotated[float, Field(ge=0, le=100_000)] = 0


class Monitor(_Section):
    """Where the daemon tells a monitoring system how it is."""

    listen: Listen = ""


class Notify(_Section):
    """Who is told when a condition lasts."""

    command: Command = ()
    webhook: Webhook = ""
    after_seconds: Annotated[float, Field(ge=0, le=7 * 86400)] = 300


class Log(_Section):
    """What is written to the log, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(BaseSettings):
    """The whole configuration. Holds no secret: tokens come by other ways (see `tokens`)."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api: Api = Api()
    auth: Auth = Auth()
    share: tuple[ShareSettings, ...] = ()
    readiness: Readiness = Readiness()
    workers: Workers = Workers()
    upload: Upload = Upload()
    monitor: Monitor = Monitor()
    notify: Notify = Notify()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` has put together, in its order and with its error texts."""
        return (init_settings,)

    @model_validator(mode="after")
    def _shares_apart(self) -> Self:
        folders = [("share", share.path) for share in self.share]
        folders += [("sidecars", s.sidecars) for s in self.share if s.sidecars != "beside"]
        real = _real({path for _, path in folders})
        for index, (kind, path) in enumerate(folders):
            for other_kind, other in folders[:index]:
                if _inside(real[path], real[other]) or _inside(real[other], real[path]):
                    raise ValueError(
                        f"{other_kind} {other!a} and {kind} {path!a} are the same or one inside "
                        "the other; give each a folder of its own"
                    )
        return self


def _inside(path: str, other: str) -> bool:
    return (path + "/").startswith(other.rstrip("/") + "/")


def _real(paths: Collection[str]) -> Mapping[str, str]:
    """Where each path leads; as it is written if a file server on the way does not answer: that is
    one share's trouble and must not hold up the others."""
    answers: dict[str, str] = {}

    def ask(path: str) -> None:
        answers[path] = os.path.realpath(path)

    asking = [threading.Thread(target=ask, args=(path,), daemon=True) for path in paths]
    for thread in asking:
        thread.start()
    deadline = time.monotonic() + ANSWER_SECONDS
    for thread in asking:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {path: os.path.normpath(path) for path in paths} | answers


def load(config: str | None, environ: Mapping[str, str]) -> Settings:
    """The effective configuration: environment before file before defaults.

    `config` names the file; without it the first of `PLACES` that exists is read, if any. Raises
    `ConfigurationError` whose text names each fault's place, key and remedy.
    """
    sources = sources_of(config, environ)
    merged: dict[str, Any] = {}
    for values in reversed(sources.values()):
        _merge(merged, values)
    try:
        return Settings(**merged)
    except ValidationError as error:
        faults = [in_words(fault, sources, Settings) for fault in error.errors(include_url=False)]
        raise ConfigurationError("\n".join(faults)) from None


def sources_of(config: str | None, environ: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """What each source says by itself, the strongest first: the environment, the file under its
    path. Raises `ConfigurationError`."""
    file, from_file = _file(config)
    return {"the environment": _environment(environ), file: from_file}


def _file(config: str | None) -> tuple[str, Mapping[str, Any]]:
    path = config or next(
        (place for place in map(os.path.expanduser, PLACES) if os.path.exists(place)), None
    )
    if path is None:
        return "no file", {}
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # nobody may ever write to it
            raise ConfigurationError(f"{path}: is no regular file. Give --config the path of one.")
        with open(path, "rb") as file:
            return path, tomllib.load(file)
    except OSError as error:
        remedy = "Give --config the path of a readable file."
        if isinstance(error, PermissionError):
            remedy = "Run this as root (sudo) or as the daemon's user."
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}. {remedy}") from error
    except (ValueError, RecursionError) as error:  # a number can be too long, too, or too deep
        raise ConfigurationError(f"{path}: is not TOML: {error}. Mend that line.") from error


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {name for name in environ if name.startswith(PREFIX)}
    for name in names:
        section = name.removeprefix(PREFIX).split("__")[0].lower()
        if section not in Settings.model_fields:
            raise ConfigurationError(
                f"the environment: {name}: unknown key{did_you_mean(section, Settings)} "
                "Correct or unset it."
            )
    try:
        values = _FromEnvironment(environ)()
    except SettingsError as error:
        raise ConfigurationError(
            f"the environment: {error}. A list such as {PREFIX}SHARE must be JSON."
        ) from None
    vendors = environ.get("AUTORETOUCH_ORGANIZATION_ID")
    if vendors:  # what the vendor's own tools read; our own name goes before it
        _merge(vendor := {"api": {"organization": vendors}}, values)
        return vendor
    return values


class _FromEnvironment(EnvSettingsSource):
    """Reads the variables that it is given, not those of the process."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(Settings, env_prefix=PREFIX, env_nested_delimiter="__")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            below = into.setdefault(key, {})
            if isinstance(below, dict):
                _merge(below, value)
                continue
        into[key] = value
