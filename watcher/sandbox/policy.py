"""Which request meets which fault."""

from dataclasses import dataclass
from threading import Lock

from watcher.sandbox.exchange import Request
from watcher.sandbox.faults import Fault


@dataclass
class FaultRule:
    """A fault and the requests it is for. Guarded by the lock of the `FaultPolicy` that holds it.

    `method` None is any, `path` is a prefix. Of the requests that match, every `every`-th meets the
    fault, until `times` have (None: for ever). `hits` counts them.
    """

    fault: Fault
    method: str | None = None
    path: str = "/"
    times: int | None = 1
    every: int = 1
    hits: int = 0
    _matched: int = 0

    def takes(self, request: Request) -> bool:
        """Whether this request meets the fault; counts it."""
        if self.hits == self.times or self.method not in {None, request.method}:
            return False
        if not request.path.startswith(self.path):
            return False
        self._matched += 1
        if self._matched % self.every:
            return False
        self.hits += 1
        return True


class FaultPolicy:
    """The rules in force, asked in the order in which they were added; the first match has it.

    Shared by all connections, guarded by its lock.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._rules: list[FaultRule] = []

    def add(self, rule: FaultRule) -> None:
        """Put a rule behind those in force."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._rules.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault that this request meets, if any."""
        with self._lock:
            return next((rule.fault for rule in self._rules if rule.takes(request)), None)
