"""Libraries without what they load on the chance that it is there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """What is loaded in this block does not find these packages, as though they were not installed.

    (`None` in their place stops an import: the language reference, 5.3.1.)
    """
    hidden = {name: None for name in packages if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type] # it is documented, but not in its type
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
