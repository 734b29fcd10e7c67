"""Who is held at which gate, and who is let through: between the gates and the backlog."""

import random
import threading
import time
from collections.abc import Callable, Collection
from typing import Self

from watcher.backlog import Backlog
from watcher.candidate import Candidate
from watcher.gate import Gate


class Gates:
    """A gate for each organization that files go to. Thread-safe; its lock guards the table."""

    def __init__(
        self,
        backlog: Backlog,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._backlog = backlog
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._gates: dict[str, Gate] = {}

    def of(self, candidate: Candidate) -> Gate:
        """The gate that this candidate has to pass."""
        return self._of(candidate.share.organization)

    def _of(self, organization: str) -> Gate:
        with self._lock:
            gate = self._gates.get(organization)
            if gate is None:
                gate = self._gates[organization] = Gate(clock=self._clock, chance=self._chance)
            return gate

    def admits(self, candidate: Candidate) -> bool:
        """Whether it may ask the service now; remembered in the candidate if it is a probe."""
        admitted = self.of(candidate).admits()
        candidate.probe = admitted == "probe"
        return admitted != "nobody"

    def abandon(self, candidate: Candidate) -> None:
        """A dead file server holds this candidate: if it was to probe, another one may."""
        if candidate.probe:
            candidate.probe = False
            self.of(candidate).unused()

    def any_closed(self) -> bool:
        """Whether anything is held for the service's sake."""
        return any(gate.state == "closed" for gate in tuple(self._gates.values()))

    def closed_seconds(self, organization: str) -> float:
        """For how long nothing has got through this organization's gate; 0 if it is open."""
        return self._of(organization).closed_seconds

    def inherit(self, before: Self, organizations: Collection[str]) -> None:
        """What was closed under the configuration before is closed, and soon probed again."""
        for organization, gate in tuple(before._gates.items()):
            if gate.state == "closed" and organization in organizations:
                self._of(organization).shut(probe=False)

    def hurry(self) -> None:
        """There is reason to hope: the next probes need not wait for their time."""
        for gate in tuple(self._gates.values()):
            gate.hurry()

    def open_all(self) -> None:
        """Nothing is left that could probe."""
        for gate in tuple(self._gates.values()):
            gate.open()

    def let_through(self) -> None:
        """Hands out again as many of those that are held as may try now."""
        for organization, gate in tuple(self._gates.items()):
            match gate.state:
                case "open":
                    self._backlog.release(organization)
                case "closed" if gate.places():
                    self._backlog.release(organization, 1, probing=True)
                case "recovering" if not self._backlog.release(organization, gate.places()):
                    gate.nobody_is_held()
