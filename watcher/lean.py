"""Loading only what is used, and at once; keeping no memory that nobody uses."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_ARENA_MAX = -8
"""mallopt(3)."""


@contextmanager
def loading_without(*packages: str) -> Iterator[None]:
    """What is loaded in this block does not find these packages, as though they were not installed
    (`None` in their place stops an import: the language reference, 5.3.1); nor is it gone through
    for garbage meanwhile."""
    hidden = {name: None for name in packages if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type] # it is documented, but not in its type
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            del sys.modules[name]


def all_loaded() -> None:
    """For the main thread, before there are others. What is loaded stays, and is not gone through
    any more; what comes now may be garbage.

    All threads share one heap: they take turns anyway, and glibc would give them sixteen on two
    processors, each with its own free room (7 to 10 MB more, and no file sooner).
    """
    gc.freeze()
    gc.set_threshold(5_000)
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
