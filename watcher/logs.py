r"""The log: one JSON object a line, or readable lines on a terminal.

Names and paths are values only, never part of the event's text, and the output is pure ASCII JSON
or escaped: a file called "x\nrejected" cannot forge a line. No token ever gets near it, because
nothing that holds one is logged.
"""

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from watcher.printable import printable

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

_FIRST = ("timestamp", "level", "event", "share", "path", "reason")
_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure(
    *, level: Level, form: Format, environ: Mapping[str, str] = os.environ
) -> FilteringBoundLogger:
    """The program's logger, to standard error. Under the journal each line carries its syslog
    level (sd-daemon(3))."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    colours = sys.stderr.isatty() and not environ.get("NO_COLOR")
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
    ]
    if console:
        processors += [_printable, structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)]
    else:
        processors += [_in_order, structlog.processors.format_exc_info]
        processors.append(structlog.processors.JSONRenderer())
        if "JOURNAL_STREAM" in environ:
            processors.append(_with_syslog_level)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _StandardError())),
    )
    _silence_libraries()
    logger: FilteringBoundLogger = structlog.get_logger().bind()  # made now, not at each event
    return logger


def internal_error(log: FilteringBoundLogger, error: Exception) -> None:
    """A failure that nobody has thought of, in one line; its trace is for the debug level."""
    log.error("failed", reason="internal_error", found=f"{type(error).__name__}: {error}")
    log.debug("internal_error", exc_info=error)


def _silence_libraries() -> None:
    """What libraries have to tell reaches us as events and exceptions; as log lines it would be
    httpx's addresses and 360 MB of watchdog's warnings in one burst (measured)."""
    for name in ("watchdog", "httpx"):
        library = logging.getLogger(name)
        library.handlers = [logging.NullHandler()]
        library.propagate = False


class _StandardError:
    """Standard error as it is at each line: a progress bar puts itself in between.

    A line that cannot be written is lost: the images go on, and what became of them is on the
    share.
    """

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {key: event[key] for key in _FIRST if key in event}
    return {**first, **event}


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        key: printable(value) if isinstance(value, str) else value for key, value in event.items()
    }


def _with_syslog_level(_logger: WrappedLogger, method: str, event: EventDict) -> str:
    return f"<{_SYSLOG.get(method, 6)}>{event}"
