"""What a file is, told by its content: never by its name, never by decoding pixels."""

from watcher.inspection.inspect import inspect
from watcher.inspection.source import Source
from watcher.inspection.verdicts import (
    MAX_SIDE,
    SCALED_DOWN_OVER,
    Format,
    Image,
    Incomplete,
    Refusal,
    RefusalCode,
    Verdict,
)

__all__ = [
    "MAX_SIDE",
    "SCALED_DOWN_OVER",
    "Format",
    "Image",
    "Incomplete",
    "Refusal",
    "RefusalCode",
    "Source",
    "Verdict",
    "inspect",
]
