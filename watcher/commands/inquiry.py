"""Questions to a share, asked in a thread of their own: a dead file server lets nobody go."""

import queue
import threading
import time
from collections.abc import Callable, Iterator

from watcher.commands.findings import Finding

Beat = Callable[[], None]
"""To be called now and then by whoever gets on with its work."""


class Inquiry:
    """Runs `steps`, which is told how to beat, and hands over what they find as it comes.

    `results` is for the one thread that made it. Nobody waits for a thread that hangs: it ends with
    the process.
    """

    def __init__(self, steps: Callable[[Beat], Iterator[Finding]], *, silence: float) -> None:
        """Begins at once; `silence` is how many seconds without a beat count as hanging."""
        self._steps = steps
        self._silence = silence
        self._found: queue.SimpleQueue[Finding | BaseException | None] = queue.SimpleQueue()
        self._beat = time.monotonic()
        self.hung = False
        threading.Thread(target=self._run, name="inquiry", daemon=True).start()

    def results(self) -> Iterator[Finding]:
        """What is found, until the end or until it hangs: then `hung` is True. Raises what the
        steps raise."""
        while True:
            left = self._beat + self._silence - time.monotonic()
            try:
                found = self._found.get(timeout=max(left, 0.01))
            except queue.Empty:
                self.hung = time.monotonic() - self._beat > self._silence
                if self.hung:
                    return
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    def _run(self) -> None:
        try:
            for finding in self._steps(self._beats):
                self._beats()
                self._found.put(finding)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for us
            self._found.put(error)
        else:
            self._found.put(None)

    def _beats(self) -> None:
        self._beat = time.monotonic()
