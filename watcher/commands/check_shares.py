"""What could be wrong with a share: asked of the share itself, with the daemon's own parts."""

import errno
import glob
import os
import re
import shlex
import stat
from collections.abc import Iterator
from typing import NamedTuple

from watcher.commands.check_records import RecordsCheck, room
from watcher.commands.findings import Finding, failed, named, passed, us, user_name, warned
from watcher.commands.inquiry import Beat
from watcher.commands.survey import Survey, survey
from watcher.errors import FileUnreadable, ShareGone
from watcher.mounts import file_system, is_announced, is_mount_point, mount_id
from watcher.printable import printable
from watcher.settling import writers
from watcher.share import Share
from watcher.tree import NotThere, open_regular, split

_CAP_LEASE = 28  # capabilities(7), linux/capability.h


class Mount(NamedTuple):
    """What is mounted where (proc(5), mountinfo)."""

    kind: str
    source: str
    point: str


class ShareCheck:
    """All lines about one share, in the order in which one thing builds on the other.

    `seconds` bounds the look through its folders; after it, `seen` is what was there. `by_events`
    tells whether the share needs a watch for each.
    """

    def __init__(self, share: Share, *, seconds: float, settle_seconds: float) -> None:
        self.share = share
        self.seen: Survey | None = None
        self.by_events = share.watch == "events"
        self._seconds = seconds
        self._settle_seconds = settle_seconds

    def steps(self, beat: Beat) -> Iterator[Finding]:
        """What is found; nothing is left on the share, and nothing there is changed."""
        try:
            with self.share.tree.folder("") as root:
                yield self._folder(root)
                yield from let_in(self.share.root)
                yield from self._mount(root)
                yield self._watched(root)
                yield from self._readable(beat)
                beat()
                yield from RecordsCheck(self.share, root).steps()
                yield self._leases(root)
                yield from room("space", root)
        except ShareGone as error:
            yield _absent(error)
        except OSError as error:
            yield failed("answers", f"its file system says: {error.strerror}", _LOOK_AFTER)

    def _folder(self, root: int) -> Finding:
        status = os.fstat(root)
        owner = f"{user_name(status.st_uid)}, mode {stat.S_IMODE(status.st_mode):04o}"
        return passed("folder", f"is there, owned by {owner}")

    def _mount(self, root: int) -> Iterator[Finding]:
        mount = mount_of(root)
        found = f"{mount.kind}, {mount.source} at {mount.point}"
        if is_mount_point(root):
            if self.share.require_mount:
                found += "; a mount is required, and there is one"
            elif not is_announced(root):
                yield warned(
                    "file system",
                    f"{found}; a server's share, and no mount is required",
                    "Set require_mount = true for it: then the bare folder below, when it is not "
                    "mounted, is never taken for the share.",
                )
                return
        yield passed("file system", found)

    def _watched(self, root: int) -> Finding:
        share, kind = self.share, mount_of(root).kind
        polling = f"polling every {share.poll_seconds:g} s"
        if share.watch == "poll":
            return passed("watched by", f'{polling}, because watch = "poll"')
        if is_announced(root):
            self.by_events = True
            return passed("watched by", f"events of the kernel: {kind} announces all that happens")
        why = f"{kind} does not announce what others do there"
        if share.watch == "events":
            return warned(
                "watched by",
                f'events, because watch = "events"; but {why}',
                'Set watch = "auto" unless only this machine writes to the share: what others '
                f"drop is found no sooner than in {share.rescan_seconds:g} s.",
            )
        return passed("watched by", f"{polling}: {why}")

    def _readable(self, beat: Beat) -> Iterator[Finding]:
        seen = self.seen = survey(self.share, seconds=self._seconds, beat=beat)
        so_far = "" if seen.whole else f" (looked at in {self._seconds:g} s, there may be more)"
        found = f"{_many(seen.folders, 'folder')}{so_far}, {_many(seen.files, 'image')} tried"
        if seen.unreadable:
            count = len(seen.unreadable)
            yield warned(
                "folders",
                f"{count} of {_many(seen.folders, 'folder')}{so_far} cannot be read: "
                f"{named(seen.unreadable, count)}",
                f"Give the user {us()} the right to read and enter (r-x), or name them in "
                "`ignore`. Until then the whole share is polled, too.",
            )
        if seen.closed:
            count = len(seen.closed)
            yield warned(
                "images",
                f"{count} of {_many(seen.files, 'image')} tried cannot be opened: "
                f"{named(seen.closed, count)}",
                f"Give the user {us()} the right to read images: best by a group that the share's "
                "new files get (Samba: `force group`, `create mask = 0664`).",
            )
        if not seen.unreadable and not seen.closed:
            yield passed("readable", found)
        if seen.foreign and self.share.watch != "poll":
            yield warned(
                "mounts below",
                f"something is mounted at {named(seen.foreign, len(seen.foreign))} that announces "
                "nothing",
                "Give it a [[share]] of its own and ignore it here; else all of this share is "
                "polled.",
            )

    def _leases(self, root: int) -> Finding:
        """Whether the kernel can say that nobody writes to a file any more."""
        twice = f"every file waits for two quiet times ({2 * self._settle_seconds:g} s)"
        if not is_announced(root):
            return passed(
                "leases", f"of no use on {mount_of(root).kind}: there {twice} instead of one"
            )
        stranger = self.seen.stranger if self.seen else ""
        said = self._writers(stranger) if stranger else "unknown"
        if said != "unknown":
            return passed("leases", "granted: the kernel says who still writes to a file")
        if has_cap_lease() and not stranger:
            return passed("leases", "CAP_LEASE is there: the kernel says who still writes")
        if has_cap_lease():
            return warned(
                "leases",
                f"{mount_of(root).kind} grants none, so {twice}",
                "Nothing needs to be done; each image only comes a little later.",
            )
        if not stranger and self.seen and self.seen.files and not self.seen.closed:
            return passed("leases", f"the images tried are all of this user, {us()}")
        return warned(
            "leases",
            f"no CAP_LEASE, so {twice}",
            "Give the daemon this capability. Under systemd: AmbientCapabilities=CAP_LEASE and "
            "CapabilityBoundingSet=CAP_LEASE. (This line is about the user that checks.)",
        )

    def _writers(self, path: str) -> str:
        folder, name = split(path)
        try:
            with self.share.tree.folder(folder) as above:
                file = open_regular(name, above)
                try:
                    return writers(file)
                finally:
                    os.close(file)
        except (NotThere, FileUnreadable):
            return "unknown"  # it went meanwhile


_LOOK_AFTER = "Look after the file server or the disk; `dmesg` may say more."


_UNIT = "/usr/local/lib/systemd/system/autoretouch-watcher.service"
DROP_INS = "/etc/systemd/system/autoretouch*[-r].service.d/*.conf"
"""What an administrator adds to the service's unit, but not to the weekly verify's alone."""
SEEN = ("/srv/", "/mnt/", "/media/")
"""Where the service's unit looks for shares (systemd/autoretouch-watcher.service)."""


def let_in(root: str, *, unit: str = _UNIT, drop_ins: str = DROP_INS) -> Iterator[Finding]:
    """Whether the service's sandbox shows it this share, which a command at a terminal sees in any
    case. Nothing where the service is not installed."""
    real = os.path.realpath(root) + "/"
    if not os.path.exists(unit) or real.startswith(SEEN):
        return
    try:
        bound = [path for name in glob.glob(drop_ins) for path in _bound_in(name)]
    except OSError:  # whoever may not read them cannot tell
        return
    if any(real.startswith(path.rstrip("/") + "/") for path in bound):
        return
    yield warned(
        "service",
        "the systemd service sees no share here: it is not below /srv, /mnt or /media",
        "Copy systemd/examples/shares.conf (in /opt/autoretouch-watcher/current/files), write its "
        f'path into it, BindPaths="-{printable(root)}", then: systemctl daemon-reload and restart '
        "the service.",
    )


def _bound_in(name: str) -> Iterator[str]:
    """The paths that a drop-in shows the service (systemd.exec(5), systemd.syntax(7))."""
    with open(name, encoding="utf-8", errors="replace") as file:
        text = file.read()
    for words in re.findall(r"(?m)^(?:BindPaths|ReadWritePaths)=(.*)", text):
        try:
            paths = shlex.split(words)
        except ValueError:  # a quotation mark too few: systemd does not take it either
            continue
        yield from (path.lstrip("-+").split(":")[0] for path in paths)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _absent(error: ShareGone) -> Finding:
    cause = error.__cause__
    if isinstance(cause, OSError):
        remedy = _ABSENCES.get(cause.errno or 0, _LOOK_AFTER)
    else:
        remedy = "Mount it (`mount -a`, or look at its unit), or set require_mount = false."
    return failed("folder", printable(str(error)), remedy)


_ABSENCES = {
    errno.ENOENT: "Make the folder, mount what belongs there, or correct [[share]] path. (The "
    "systemd service sees /srv, /mnt and /media; for another place see "
    "systemd/examples/shares.conf.)",
    errno.ENOTDIR: "Give the path of a folder in [[share]] path.",
    errno.ELOOP: "Give the path of a folder in [[share]] path: this link leads nowhere.",
    errno.EACCES: "Give the user that runs this the right to read and enter it, and to enter each "
    "folder above it.",
}


def has_cap_lease() -> bool:
    """Whether this process may ask for a lease on files of others (proc(5), CapEff)."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        effective = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_LEASE & 1)


def mount_of(fd: int) -> Mount:
    """What an open file is on; asks no file server."""
    number = str(mount_id(fd))
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = os.fsdecode(line).partition(" - ")
            if (fields := before.split(" "))[0] == number:
                kind, source, *_ = after.split(" ")
                return Mount(kind, _plain(source), _plain(fields[4]))
    # A mount outside of what this process may see (chroot).
    return Mount(f"file system {file_system(fd):#x}", "of unknown source", "a place unknown here")


def _plain(field: str) -> str:
    """A field of mountinfo: blanks, tabs, newlines and backslashes are octal there."""
    return printable(
        re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field.rstrip("\n"))
    )
