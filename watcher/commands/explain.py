"""`explain`: why a file is in the state that it is in.

Each rule and check in the order in which the daemon applies them, made by the daemon's own code:
the share's rules, the record, and then a rehearsal of its journey. The service is not asked.
"""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from watcher.access import connections, moment, pace_of, settling_of, shares_of
from watcher.claims import Claims
from watcher.commands.blocks import Block, Screen
from watcher.commands.examination import Examination
from watcher.commands.file_examination import FileExamination
from watcher.commands.locate import NoSuchPlace, Silent, is_there, locate
from watcher.commands.narration import Narration
from watcher.commands.neighbour import Neighbour
from watcher.errors import LoginNeeded, ShareTrouble
from watcher.exit_codes import AMISS, OK
from watcher.places import Places
from watcher.printable import printable
from watcher.service import Access, Service
from watcher.settings import Settings
from watcher.settling import outlive_lease_breaks
from watcher.share import Share

_NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})


def run_explain(settings: Settings, paths: Sequence[str], *, state_dir: str) -> int:
    """Prints a block for each path; 1 if one is rejected, fails, or leads to no file."""
    outlive_lease_breaks()
    shares, screen, well = shares_of(settings), Screen(), True
    with connections(settings, _NO_ENVIRONMENT)() as connection:  # nothing is sent over it
        neighbour = Neighbour(state_dir)
        narration = Narration(
            service=Service(connection, url=settings.api.url, tokens=_NotAsked()),
            settling=settling_of(settings),
            claims=Claims(time.monotonic),
            uploads=Places(1),
            pace=pace_of(settings),
            admits=lambda _: False,
            now=moment,
        )
        files = FileExamination(
            narration,
            neighbour,
            incomplete_after_seconds=settings.readiness.incomplete_after_seconds,
        )
        examination = Examination(files, neighbour)
        for path in paths:
            well = _explain(path, shares, examination, screen) and well
    return OK if well else AMISS


def _explain(path: str, shares: Sequence[Share], examination: Examination, screen: Screen) -> bool:
    """Prints one block; whether all is well with that path."""
    looking = f"Looking at {printable(path)} ..."
    try:
        with screen.waiting(looking):
            block = _examined(path, shares, examination)
    except (NoSuchPlace, Silent, ShareTrouble) as error:
        screen.complain(str(error))
        return False
    screen.show(block)
    return block.well


def _examined(path: str, shares: Sequence[Share], examination: Examination) -> Block:
    location = locate(path, shares)
    is_there(location.share)
    return examination.of(location)


class _NotAsked:
    """Tokens for a service that is not asked."""

    organization = ""

    def current(self) -> Access:
        """None."""
        raise LoginNeeded("a rehearsal asks nothing")

    def renewed(self, refused: str) -> Access:  # noqa: ARG002 - the Protocol's signature
        """None."""
        return self.current()
