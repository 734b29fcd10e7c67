"""Loading only what is used, and at once."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
    """What is loaded stays, and is not gone through any more; what comes now may be garbage."""
    gc.freeze()
    gc.set_threshold(5_000)
