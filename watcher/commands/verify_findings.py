"""What `verify` can find, in words, and how it is told: lines for people, or JSON."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Literal

from watcher.printable import printable

Kind = Literal[
    "mismatch",
    "lost",
    "stale",
    "torn",
    "foreign",
    "orphaned_sidecar",
    "orphaned_note",
    "left_over",
    "unreadable",
    "not_there",
    "share",
]

WORDS: Mapping[Kind, str] = MappingProxyType(
    {
        "mismatch": "The content is not what the sidecar says, though its stamp is current: the "
        "image was changed without its times, or the disk is bad, or the sidecar lies.",
        "lost": "The service does not have the content any more, though the sidecar says so.",
        "stale": "The sidecar is not current. The daemon compares the content, asks the "
        "service for it, and stamps the sidecar again or sends the image.",
        "torn": "The sidecar is empty or torn. The daemon replaces it.",
        "foreign": "A file with a record's name that this program did not write. It is never "
        "touched; move or delete it if it is not needed.",
        "orphaned_sidecar": "A sidecar without an image. It may be deleted if the image is not "
        "only away for a while: from absence this program concludes nothing.",
        "orphaned_note": "A note without an image. As with a sidecar.",
        "left_over": "A temporary file that a crash left. It may be deleted.",
        "unreadable": "It could not be read, and so was not verified.",
        "not_there": "Nothing is there, or nothing that the daemon takes.",
        "share": "A share that could not be verified, or not to the end.",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: where (`path` is relative), what was found in
    particular and what was done about it, if there is more to say than of all its kind; whether
    a sidecar that lied was `removed`."""

    kind: Kind
    share: str
    path: str
    found: str = ""
    done: str = ""
    removed: bool = False


@dataclass(slots=True)
class Sums:
    """`verified` images of so many `bytes` were read; the others were only counted. So many
    sidecars that lied were `removed`."""

    verified: int = 0
    bytes: int = 0
    matching: int = 0
    waiting: int = 0
    rejected: int = 0
    removed: int = 0
    findings: Counter[Kind] = field(default_factory=Counter)


def in_words(kind: Kind, sums: Sums) -> str:
    """What all findings of one kind mean, and what was done about them."""
    words = f"{kind}: {sums.findings[kind]:,}. {WORDS[kind]}"
    if kind != "mismatch":
        return words
    left = sums.findings[kind] - sums.removed
    if sums.removed:
        words += (
            f" Our sidecars that were removed: {sums.removed:,}; the daemon, or the next `run`, "
            "looks at those images again."
        )
    if left:
        words += (
            f" Not removed: {left:,}, each line says why. `verify`, run by hand with the right to "
            "write there, removes such a sidecar; the weekly unit only reads."
        )
    return words


def as_line(finding: Finding) -> str:
    """For people: kind and path, and below what else there is."""
    path = f"{finding.share.rstrip('/')}/{finding.path}" if finding.path else finding.share
    lines = [f"{finding.kind:<17}{printable(path)}"]
    lines += [f"{'':<17}{printable(more)}" for more in (finding.found, finding.done) if more]
    return "\n".join(lines)


def as_json(finding: Finding) -> str:
    """For scripts: one object, pure ASCII."""
    values = {key: value for key, value in asdict(finding).items() if value and key != "kind"}
    return json.dumps({"finding": finding.kind, **values})


def summary_json(sums: Sums, *, seconds: float, error: str) -> str:
    """The last object."""
    summary: dict[str, object] = {
        "verified": sums.verified,
        "bytes": sums.bytes,
        "matching": sums.matching,
        "waiting": sums.waiting,
        "rejected": sums.rejected,
        "findings": dict(sums.findings),
        "seconds": round(seconds, 3),
    }
    if error:
        summary["error"] = error
    return json.dumps({"summary": summary})
