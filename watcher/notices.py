r"""What is told of a condition that lasts, when, and in which words. Decisions only: no thread, no
clock.

A notice as JSON, on the command's standard input and in the webhook's body:

    {"state": "raised" | "cleared",
     "condition": "share_gone",             one of the README's table
     "place": "/srv/photos",                a share, a folder or an organization; "" for the daemon
     "reason": "...",                       what was found
     "remedy": "...",                       what to do
     "since": "2026-11-24T09:30:00+00:00",  ISO 8601
     "seconds": 312,                        how long it has held, or did
     "other_places": 0,                     how many more have the same condition now
     "host": "fileserver", "version": "1.0.0",
     "text": "..."}                         all of it as one message, which is what chats show

A command finds the same, but for `text`, in its environment: AUTORETOUCH_STATE,
AUTORETOUCH_CONDITION and so on. Control characters and bytes that are no UTF-8 are escaped in all
of them, as in the log: a folder called "x\nBcc: all" adds no line to a mail.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from watcher.conditions import Condition, Name
from watcher.printable import printable

MOST_PLACES = 10
"""So many places are told of one condition until no place has it: a full disk makes every folder
of a share unwritable, and a thousand messages say less than ten."""

MOST_WORDS = 1_000
"""Characters of a reason, some of which come from the service."""


class Notice(NamedTuple):
    """One message; `at` is in epoch seconds, `others` counts the other places that have it."""

    state: Literal["raised", "cleared"]
    condition: Condition
    at: float
    others: int

    def facts(self, *, host: str, version: str) -> dict[str, str | int]:
        """What the module's head describes, but for `text`."""
        it = self.condition
        return {
            "state": self.state,
            "condition": it.name,
            "place": printable(it.place),
            "reason": printable(it.reason[:MOST_WORDS]),
            "remedy": it.remedy,
            "since": datetime.fromtimestamp(it.since, UTC).isoformat(timespec="seconds"),
            "seconds": self._seconds,
            "other_places": self.others,
            "host": host,
            "version": version,
        }

    def as_json(self, *, host: str, version: str) -> bytes:
        """What the module's head describes."""
        facts = self.facts(host=host, version=version)
        return json.dumps({**facts, "text": self._text(host)}).encode("ascii")

    @property
    def _seconds(self) -> int:
        return max(0, round(self.at - self.condition.since))

    def _text(self, host: str) -> str:
        it = self.condition
        where = f" at {_quoted(it.place)}" if it.place else ""
        more = f" (and {self.others} other places)" if self.others else ""
        start = f"autoretouch-watcher on {host}: {it.name}{where}{more}"
        if self.state == "cleared":
            return f"{start} has cleared after {_in_words(self._seconds)}."
        reason = _quoted(it.reason[:MOST_WORDS])
        return f"{start} for {_in_words(self._seconds)}: {reason}. {it.remedy}"


class Lasting:
    """Which conditions have lasted and are told. Owned by one thread."""

    def __init__(self, after_seconds: float) -> None:
        self.after_seconds = after_seconds
        self._told: tuple[Condition, ...] = ()
        self._places: Counter[Name] = Counter()

    def forget(self, unheard: Collection[Condition]) -> None:
        """Nobody was reached: these are to be told again."""
        self._told = tuple(each for each in self._told if each not in unheard)

    def look(self, active: Sequence[Condition], now: float) -> tuple[Notice, ...]:
        """What is to be told now; what is returned counts as told."""
        held = Counter(each.name for each in active)
        cleared = [each for each in self._told if each not in active]
        self._told = tuple(each for each in self._told if each in active)
        self._places = Counter({name: self._places[name] for name in held})
        raised = self._newly_lasting(active, now)
        self._told += raised
        return (
            *(Notice("cleared", each, now, held[each.name]) for each in cleared),
            *(Notice("raised", each, now, held[each.name] - 1) for each in raised),
        )

    def _newly_lasting(self, active: Sequence[Condition], now: float) -> tuple[Condition, ...]:
        found = []
        for each in active:
            if now - each.since < self.after_seconds or each in self._told:
                continue
            if self._places[each.name] < MOST_PLACES:
                self._places[each.name] += 1
                found.append(each)
        return tuple(found)


def _quoted(text: str) -> str:
    """For a chat: a folder called `<!channel>`, `@all` or `[here](http://...)` is only a name."""
    plain = printable(text).replace("`", "'")
    return f"`{plain.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"


def _in_words(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if not minutes:
        return f"{seconds} s"
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if not days else f"{days} d {hours % 24} h"
