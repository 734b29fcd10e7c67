"""What must be true of a share: at any instant, and when everything has come to rest."""

import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from tests.core.studio import claim, state_beside
from tests.soak.load import Known, Load
from watcher import record
from watcher.placing import temporary
from watcher.sandbox import Sandbox

_NOTE_END = b"it is looked at again.\n"
_BOTH = (record.SIDECAR, record.NOTE)
_LEFT = ".autoretouch-*.tmp"


def at_any_instant(load: Load, service: Sandbox, counts: Counter[str]) -> list[str]:
    """What is wrong, with the daemon dead or alive, while the load stands still.

    Every record is whole, every sidecar claims what the service has, no sidecar that is current
    claims other content than its image's, and the originals are as they were written.
    """
    with load.lock:
        records = dict(_records(load.root))
        for suffix, kind in zip(_BOTH, ("sidecars", "notes"), strict=True):
            counts[f"{kind} checked"] += sum(path.name.endswith(suffix) for path in records)
        uploads = service.uploads  # after the sidecars, which a living daemon may have just written
        return [
            *(fault for path, text in records.items() for fault in _faults(path, text, uploads)),
            *_false_claims(load),
            *load.touched(),
        ]


def _records(root: Path) -> Iterator[tuple[Path, bytes | None]]:
    """Every record with its content, None if it is no regular file."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(_BOTH):
                path = Path(folder, name)
                with suppress(FileNotFoundError):  # a living daemon has taken it away just now
                    yield path, path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else None


def _faults(path: Path, text: bytes | None, uploads: Collection[str]) -> Iterator[str]:
    """Reads strictly, and not by the code that wrote it."""
    if path.name.endswith(record.NOTE):
        if not (text and text.startswith(record.NOTE_TITLE) and text.endswith(_NOTE_END)):
            yield f"{path} is not a whole note: {text!r}"
        return
    image = re.escape(os.fsencode(path.name.removesuffix(record.SIDECAR)))
    line = re.fullmatch(rb"([0-9a-f]{64})  " + image + rb"\n", text or b"")
    if line is None:
        yield f"{path} is not one whole line: {text!r}"
    elif line[1].decode() not in uploads:
        yield f"{path} claims what the service does not have"


def _false_claims(load: Load) -> Iterator[str]:
    for slot, known in load.files.items():
        image = load.path(slot)
        if state_beside(image) == "uploaded" and claim(image) != known.sha256:
            yield f"the current sidecar of {load.relative(slot)} claims other content"


def at_rest(load: Load, service: Sandbox, counts: Counter[str], *, kills: int) -> list[str]:
    """What is wrong once nothing is left to do.

    Besides all of the above: every image has its current record, no kill has cost more than one
    content sent again, and no temporary file is left of a record that was written again. (One may
    be left beside an image that went, or became another kind of record; only one for each name.)
    """
    left = {path for path in load.root.rglob(_LEFT) if path.is_file()}
    faults = at_any_instant(load, service, counts)
    for slot, known in load.files.items():
        faults += _rest_faults(load.path(slot), known, service, left)
    again = sum(max(0, stored.count - 1) for stored in service.uploads.values())
    if again > kills:
        faults.append(f"{again} contents were sent again after {kills} kills")
    counts["sent again"] = again
    names = {
        _temporary_of(load.path(slot), suffix).name for slot in load.slots() for suffix in _BOTH
    }
    faults += [f"{path} is no record's temporary file" for path in left if path.name not in names]
    counts["temporary files of records that went"] = len(left)
    return faults


def _rest_faults(image: Path, known: Known, service: Sandbox, left: set[Path]) -> Iterator[str]:
    """Takes the temporary file that is told of out of `left`."""
    state, wanted = state_beside(image), "uploaded" if known.acceptable else "rejected"
    if state != wanted:
        yield f"{image} is {state}, not {wanted}"
    elif known.acceptable and known.sha256 not in service.uploads:
        yield f"the service does not have {image}"
    suffix = record.SIDECAR if known.acceptable else record.NOTE
    temporary = _temporary_of(image, suffix)
    if temporary in left:
        left.remove(temporary)
        yield f"{temporary} was left, and the record of {image.name} was written since"


def _temporary_of(image: Path, suffix: str) -> Path:
    return image.with_name(temporary(image.name + suffix))
