"""What the log prints: one line an event, whatever a name holds."""

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watchdog.observers import inotify, inotify_c

from tests.core.factories import PROPERTY
from watcher.logs import configure

NASTY = [
    "plain.jpg",
    'x\n{"event": "uploaded"}',
    "\x1b[2J\x1b[31mred",
    "\r\x00\x07\x7f\u2028\u202e\u0085",
    "\udcff.jpg",
    "\u00fc\U0001f600",
    "'\"\\",
    "%s %(message)s {event}",
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("watchdog", "httpx")]
    before = [(logger, logger.propagate, list(logger.handlers)) for logger in loggers]
    yield
    structlog.reset_defaults()
    for logger, propagate, handlers in before:
        logger.propagate, logger.handlers = propagate, handlers


def printed(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> io.StringIO:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_an_event_is_one_json_object_with_its_keys_in_the_documented_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = printed(monkeypatch)
    log = configure(level="info", form="auto", environ={})
    log.bind(share="/srv/photos", path="a.jpg").info("uploaded", seconds=0.5, reason="x")
    line = stream.getvalue()
    assert list(json.loads(line)) == [
        "timestamp", "level", "event", "share", "path", "reason", "seconds",
    ]  # fmt: skip
    found = json.loads(line)
    assert (found["event"], found["level"], found["path"]) == ("uploaded", "info", "a.jpg")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", found["timestamp"])


@given(values=st.dictionaries(st.sampled_from(["path", "found", "reason"]), st.text()))
@settings(PROPERTY, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_is_one_line_of_ascii_whatever_the_values_hold(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    stream = printed(monkeypatch)
    configure(level="info", form="json", environ={}).info("rejected", **values)
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert {key: json.loads(line)[key] for key in values} == values


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("terminal", [False, True])
def test_no_value_forges_a_line_or_reaches_a_terminals_controls(
    monkeypatch: pytest.MonkeyPatch, value: str, form: Any, *, terminal: bool
) -> None:
    stream = printed(monkeypatch, terminal=terminal)
    log = configure(level="info", form=form, environ={"NO_COLOR": "1"})
    log.warning("rejected", path=value, found=value, shares=[value])
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    text.encode("utf-8")


def test_a_terminal_gets_readable_lines_in_colour_and_a_file_gets_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for terminal, environ, coloured in (
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (False, {}, False),
    ):
        stream = printed(monkeypatch, terminal=terminal)
        configure(level="info", form="auto", environ=environ).info("uploaded", path="a.jpg")
        text = stream.getvalue()
        assert ("\x1b[" in text) is coloured
        assert text.startswith("{") is not terminal
        assert "uploaded" in text


@pytest.mark.parametrize(
    ("level", "prefix"), [("debug", "<7>"), ("info", "<6>"), ("warning", "<4>"), ("error", "<3>")]
)
def test_under_the_journal_each_line_carries_its_level(
    monkeypatch: pytest.MonkeyPatch, level: str, prefix: str
) -> None:
    for environ, begins in (({"JOURNAL_STREAM": "8:1"}, prefix + "{"), ({}, "{")):
        stream = printed(monkeypatch)
        log = configure(level="debug", form="json", environ=environ)
        getattr(log, level)("event", path="a\nb")
        assert stream.getvalue().startswith(begins)
        assert stream.getvalue().count("\n") == 1


def test_what_is_below_the_level_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = printed(monkeypatch)
    log = configure(level="warning", form="json", environ={})
    log.info("uploaded")
    log.debug("rescan")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_kept_and_forges_nothing(monkeypatch: pytest.MonkeyPatch, form: Any) -> None:
    stream = printed(monkeypatch)
    log = configure(level="debug", form=form, environ={})
    try:
        os.stat("/nonexistent/a\nforged.jpg")
    except FileNotFoundError as error:
        log.debug("internal_error", exc_info=error)
    assert "FileNotFoundError" in stream.getvalue()
    assert "\nforged" not in stream.getvalue()


def test_each_line_goes_to_standard_error_as_it_is_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A progress bar puts itself in between."""
    first = printed(monkeypatch)
    log = configure(level="info", form="json", environ={})
    log.info("one")
    second = printed(monkeypatch)
    log.info("two")
    assert '"one"' in first.getvalue()
    assert '"two"' in second.getvalue()


def test_what_libraries_have_to_say_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = printed(monkeypatch)
    for _ in range(3):  # as at each reload
        configure(level="debug", form="json", environ={})
    assert all(len(logging.getLogger(name).handlers) == 1 for name in ("watchdog", "httpx"))
    for name in (inotify_c.logger.name, inotify.logger.name, "watchdog", "httpx._client"):
        logging.getLogger(name).warning("Inotify queue overflowed; filesystem events were lost")
        logging.getLogger(name).error("https://service/?secret")
    assert stream.getvalue() == ""
