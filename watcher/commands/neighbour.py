"""The daemon that may run beside a command: what it says, and when it looks at a file again."""

from watcher.conditions import Condition
from watcher.errors import ConfigurationError
from watcher.printable import printable
from watcher.published import Published
from watcher.share import Share
from watcher.snapshot import Flight, Snapshot

NOBODY = "no daemon runs with this state directory"


class Neighbour:
    """What is known of the daemon with this state directory at one moment."""

    def __init__(self, state_dir: str) -> None:
        published = Published(state_dir)
        self.snapshot: Snapshot | None = None
        self.runs: bool | None = None
        """None: this user may not know."""
        self.why_unknown = ""
        try:
            self.runs = published.runs()
            self.snapshot = published.read()
        except ConfigurationError as error:
            self.why_unknown = str(error)

    def flight(self, share: Share, path: str) -> Flight | None:
        """The file's flight, if a worker has it."""
        flights = self.snapshot.flights if self.snapshot else ()
        return next((f for f in flights if (f.share, f.path) == (share.root, path)), None)

    def holding(self, share: Share, record_folder: str) -> tuple[Condition, ...]:
        """The conditions that hold a file of this share whose record belongs in that folder."""
        concerned = {
            "access_denied": share.organization,
            "login_needed": "",
            "service_unavailable": "",
            "share_gone": share.root,
            "share_hung": share.root,
            "sidecar_unwritable": record_folder,
        }
        active = self.snapshot.conditions if self.snapshot else ()
        return tuple(each for each in active if concerned.get(each.name) == each.place)

    def looks(self, share: Share) -> str:
        """When it sees that a record was taken away."""
        if self.runs is None:
            return f"whether a daemon runs cannot be told: {printable(self.why_unknown)}"
        if not self.runs:
            return f"{NOBODY}; the next `run` looks"
        if share.mirror is not None:  # nobody watches a mirror
            return f"the daemon looks within {share.rescan_seconds:g} seconds (`rescan_seconds`)"
        match self.how(share):
            case "events":
                return "the daemon runs and looks at once"
            case "polling":
                return f"the daemon looks within {share.poll_seconds:g} seconds (`poll_seconds`)"
            case _:
                return "the daemon runs and looks when it next scans this share"

    def how(self, share: Share) -> str:
        """How the daemon notices what happens on the share; "" if that is not known."""
        shares = self.snapshot.shares if self.snapshot else ()
        return next((each.how for each in shares if each.root == share.root), "")
