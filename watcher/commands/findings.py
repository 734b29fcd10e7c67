"""What a check has found, and how a tired administrator reads it.

One line for each thing: PASS, WARN or FAIL, what it is, what was found; beneath, what to do.
"""

import os
import pwd
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Literal

from rich.console import Console
from rich.text import Text

from watcher.exit_codes import AMISS, CONFIGURATION, LOGIN_NEEDED, OK
from watcher.printable import printable

Level = Literal["PASS", "WARN", "FAIL"]

_STYLES: Mapping[Level, str] = MappingProxyType(
    {"PASS": "green", "WARN": "bold", "FAIL": "bold red"}
)
_PLAIN_WIDTH = 80
_WIDEST = 100
_NAMES = 14
"""Columns for what a line is about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what it is about, what was found, and what to do if it is not well. `code` is the
    exit code that a FAIL stands for."""

    level: Level
    what: str
    found: str
    remedy: str = ""
    code: int = AMISS


def passed(what: str, found: str) -> Finding:
    """All is well."""
    return Finding("PASS", what, found)


def warned(what: str, found: str, remedy: str) -> Finding:
    """It works, but less well than it could, or not for long."""
    return Finding("WARN", what, found, remedy)


def failed(what: str, found: str, remedy: str, *, code: int = AMISS) -> Finding:
    """It does not work."""
    return Finding("FAIL", what, found, remedy, code)


def named(paths: Iterable[str], count: int) -> str:
    """The first three of `count` paths; "." is the share itself."""
    shown = [printable(path) or "." for path in islice(paths, 3)]
    return ", ".join(shown) + (", ..." if count > len(shown) else "")


def amount(size: float) -> str:
    """Bytes in the units that people use."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} PB"


class Table:
    """Prints findings as they come and remembers what they amount to. Owned by one thread.

    What is not a terminal (the journal, a file) gets 80 columns and no colour.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _WIDEST) if console.is_terminal else _PLAIN_WIDTH
        self._levels: Counter[Level] = Counter()
        self._codes: set[int] = set()

    def section(self, title: str) -> None:
        """What the following lines are about."""
        if self._levels:
            self._line(Text())
        self._line(Text(printable(title), style="bold"))

    def add(self, finding: Finding) -> None:
        """One more line, and what to do about it."""
        self._levels[finding.level] += 1
        if finding.level == "FAIL":
            self._codes.add(finding.code)
        margin = f"  {finding.level}  {finding.what:<{_NAMES}} "
        lines = self._wrapped(finding.found, margin, " " * len(margin))
        line = Text(lines[0] if lines else margin.rstrip())
        line.stylize(_STYLES[finding.level], 2, 6)
        self._line(line)
        indent = " " * len(margin)
        remedy = self._wrapped(finding.remedy, f"{indent}-> ", f"{indent}   ")
        for each in (*lines[1:], *remedy):
            self._line(Text(each))

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Shows on a terminal that something is waited for."""
        if not self._console.is_terminal:
            return nullcontext()
        return self._console.status(Text(printable(what), no_wrap=True, overflow="ellipsis"))

    def exit_code(self) -> int:
        """78 if the configuration is at fault, 77 if only the login is, 1 if anything else is."""
        if CONFIGURATION in self._codes:
            return CONFIGURATION
        if self._codes == {LOGIN_NEEDED}:
            return LOGIN_NEEDED
        return AMISS if self._codes else OK

    def summary(self, more: str = "") -> None:
        """The last line: how many of each."""
        warnings, failures = self._levels["WARN"], self._levels["FAIL"]
        warnings_said = "1 warning" if warnings == 1 else f"{warnings} warnings"
        text = f"{self._levels['PASS']} passed, {warnings_said}, {failures} failed.{more}"
        self._line(Text())
        for line in self._wrapped(text, "", ""):
            self._line(Text(line, style="bold"))

    def _wrapped(self, text: str, first: str, others: str) -> list[str]:
        lines: list[str] = []
        for paragraph in text.split("\n"):
            # A path is left whole, even if it sticks out: it is there to be copied.
            lines += textwrap.wrap(
                printable(paragraph),
                self._width,
                initial_indent=others if lines else first,
                subsequent_indent=others,
                break_long_words=False,
                break_on_hyphens=False,
            )
        return lines

    def _line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def user_name(uid: int) -> str:
    """A user as people call it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def us() -> str:
    """The user that this process acts as."""
    return user_name(os.geteuid())
