"""Whether the service may be asked now: tells "this file" from "the service".

While the service answers, the gate is open and nobody notices it. When several files in a row fail
for its sake, or fewer for a minute, it closes: what is ready to be sent is held, and one file after
another is let through as a probe, ever more seldom. When a probe gets through, the held files
follow, each success letting two more go, until none is held: a service that has just come back is
not run over.

Pure logic over an injected clock and chance; it holds no file, only counts.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Literal

IN_A_ROW = 3
"""Different files that fail in a row before it counts as the service."""

ALONE, ALONE_SECONDS = 4, 60.0
"""Failures of fewer files in a row, and over how long, before it counts as the service, too: if
not even a question is answered. That a file cannot be sent may be its own fault."""

FORGOTTEN_SECONDS = 150.0
"""After so long without a failure they are none in a row: a file is tried again within a minute."""

FIRST_PROBE_SECONDS = 1.0
LONGEST_PROBE_SECONDS = 30.0
"""Between two probes of a long outage: half of it to all of it, so two to four a minute."""

State = Literal["open", "closed", "recovering"]


class Gate:
    """One for each organization. Thread-safe; its lock guards all of it.

    Whoever wants to ask the service calls `admits`; one that is let through while the gate is not
    open is a probe and must be given back by `passed`, `failed` or `unused`.
    """

    def __init__(self, *, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        """`clock` gives steady seconds, `chance` numbers in [0, 1)."""
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._state: State = "open"
        self._failing: set[Hashable] = set()
        self._alone = 0
        self._alone_since = self._failed_at = 0.0
        self._failures = 0
        self._probe_at = 0.0
        self._probes = 0
        self._allowed = 0
        self._closed_since: float | None = None
        self.passes = 0
        """How often the service has answered well."""

    @property
    def state(self) -> State:
        """Whether everybody passes, nobody but probes, or more and more."""
        return self._state

    @property
    def closed_seconds(self) -> float:
        """Since when nothing has got through a gate that is not open; 0 if it is."""
        since = self._closed_since
        return 0.0 if since is None else self._clock() - since

    def admits(self) -> Literal["everybody", "probe", "nobody"]:
        """Whether one more may ask now, and as what."""
        with self._lock:
            if self._state == "open":
                return "everybody"
            if self._places() < 1:
                return "nobody"
            self._probes += 1
            self._allowed = max(0, self._allowed - 1)
            return "probe"

    def places(self) -> int:
        """How many of those that are held may try now."""
        with self._lock:
            return self._places()

    def _places(self) -> int:
        if self._state == "closed":
            return 1 if self._probes == 0 and self._clock() >= self._probe_at else 0
        # Recovering: at least one must be on its way, or nobody would ever open the gate.
        return max(self._allowed, 1 if self._probes == 0 else 0)

    def passed(self, *, probe: bool) -> None:
        """One was answered well."""
        with self._lock:
            self.passes += 1
            self._probes = max(0, self._probes - probe)
            self._failing.clear()
            self._failures = self._alone = 0
            self._closed_since = None
            if self._state != "open":
                self._state = "recovering"
                self._allowed += 2

    def failed(
        self, who: Hashable, *, probe: bool, sending: bool = False, at_least: float | None = None
    ) -> None:
        """One failed for the service's sake, in asking or in `sending`; `at_least` is what it asked
        to be left alone for."""
        with self._lock:
            self._probes = max(0, self._probes - probe)
            self._failing.add(who)
            alone = not sending and self._fails_alone(self._clock())
            if len(self._failing) >= IN_A_ROW or alone or self._state == "closed":
                self._close(probe=probe, at_least=at_least)

    def _fails_alone(self, now: float) -> bool:
        """Counts one more question without an answer; whether it is enough of them."""
        if not self._alone or now - self._failed_at > FORGOTTEN_SECONDS:
            self._alone, self._alone_since = 0, now
        self._alone += 1
        self._failed_at = now
        return self._alone >= ALONE and now - self._alone_since >= ALONE_SECONDS

    def shut(self, *, probe: bool) -> None:
        """One failed in a way that all others would, too: a token or a right is missing."""
        with self._lock:
            self._probes = max(0, self._probes - probe)
            self._close(probe=probe, at_least=None)

    def unused(self) -> None:
        """A probe came to its end without asking."""
        with self._lock:
            self._probes = max(0, self._probes - 1)
            if self._state == "recovering":
                self._allowed += 1

    def nobody_is_held(self) -> None:
        """There is none left to let through: a recovered gate is open."""
        with self._lock:
            if self._state == "recovering":
                self._state = "open"

    def hurry(self) -> None:
        """The next probe of a closed gate is due now."""
        with self._lock:
            self._probe_at = min(self._probe_at, self._clock())

    def open(self) -> None:
        """Whatever closed it, the next file finds out anew."""
        with self._lock:
            self._state, self._closed_since, self._failures = "open", None, 0
            self._failing.clear()

    def _close(self, *, probe: bool, at_least: float | None) -> None:
        now = self._clock()
        asked = now + (at_least or 0.0)
        if self._state == "closed" and not probe:
            # One that was under way when it closed: it says nothing new, but may say "later".
            self._probe_at = max(self._probe_at, asked)
            return
        self._state, self._allowed = "closed", 0
        if self._closed_since is None:
            self._closed_since = now
        wait = min(LONGEST_PROBE_SECONDS, FIRST_PROBE_SECONDS * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._probe_at = max(now + wait * (1 + self._chance()) / 2, asked)
