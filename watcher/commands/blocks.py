"""What `explain` has to say of one path, and how it looks on a terminal."""

import textwrap
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

_LABEL = 9
_WIDEST = 100
_PLAIN_WIDTH = 80


class Step(NamedTuple):
    """What was looked at, and what was found."""

    what: str
    found: str


@dataclass(slots=True)
class Block:
    """One path: what was found step by step, the verdict, and what else there is to say."""

    title: str
    steps: list[Step] = field(default_factory=list)
    verdict: str = ""
    more: list[str] = field(default_factory=list)
    well: bool = True
    """Not rejected, and nothing failed."""

    def note(self, what: str, found: str) -> None:
        """One more step."""
        self.steps.append(Step(what, found))

    def ends(self, verdict: str, *more: str, well: bool = True) -> "Block":
        """The verdict; no step comes after it."""
        self.verdict, self.well = verdict, well
        self.more += [each for each in more if each]
        return self


class Screen:
    """Prints blocks, with an empty line between them. Owned by one thread."""

    def __init__(self) -> None:
        self._out = Console(highlight=False)
        self._errors = Console(highlight=False, stderr=True)
        terminal = self._out.is_terminal
        self._width = min(self._out.width, _WIDEST) if terminal else _PLAIN_WIDTH
        self._first = True

    def show(self, block: Block) -> None:
        """One line for each step, then the verdict."""
        self._gap()
        self._out.print(Text(block.title, style="bold"), soft_wrap=True)
        for step in block.steps:
            self._line(step.what, step.found)
        self._line("verdict", block.verdict, style="bold")
        for more in block.more:
            self._line("", more)

    def _line(self, label: str, text: str, *, style: str = "") -> None:
        margin = f"  {label:<{_LABEL}}"
        # A path or a hash is left whole, even if it sticks out: it is there to be copied.
        lines = textwrap.wrap(
            text,
            self._width,
            initial_indent=margin,
            subsequent_indent=" " * len(margin),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines:
            self._out.print(Text(line, style=style), soft_wrap=True)

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Shows on a terminal that something is done that may last."""
        return self._errors.status(Text(what)) if self._errors.is_terminal else nullcontext()

    def complain(self, text: str) -> None:
        """One path that there is nothing to say about."""
        self._gap()
        self._errors.print(Text(f"autoretouch-watcher: {text}"), soft_wrap=True)

    def _gap(self) -> None:
        if not self._first:
            self._out.print()
        self._first = False
