"""What a soak has met so far, and how it is told."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

PROGRESS_SECONDS = 10.0


class Report:
    """Counts and violations; owned by the thread that runs the soak. `say` gets each line."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self._say = say
        self._started = time.monotonic()
        self._next = self._started + PROGRESS_SECONDS

    def violated(self, faults: Iterable[str], when: str) -> None:
        """Takes violations in and tells them at once."""
        for fault in faults:
            self.violations.append(f"{when}: {fault}")
            self._say(f"VIOLATION {self.violations[-1]}")

    def progress(self, where: str) -> None:
        """How far it is; told every ten seconds at most."""
        if time.monotonic() >= self._next:
            self._next += PROGRESS_SECONDS
            self._say(f"{where}; {self._told()}")

    def summary(self) -> None:
        """The last line."""
        seconds = time.monotonic() - self._started
        self._say(f"{seconds:.0f} s; {self._told()}")

    def _told(self) -> str:
        counts = {**self.counts, "violations": len(self.violations)}
        return ", ".join(f"{count} {what}" for what, count in counts.items())
