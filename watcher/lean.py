"""Loading only what is used, and at once; keeping no memory that nobody uses."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import Any

_M_ARENA_MAX = -8
"""mallopt(3)."""


class _Late(ModuleType):
    """Stands for a module that is loaded when something is asked of it, and not before. It is no
    package: what is below it would be loaded twice."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        if name == "__path__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def _no_plugins() -> ModuleType:
    """What pydantic looks for plug-ins with, of which there are none: `importlib.metadata`."""
    metadata = _Late("importlib.metadata")
    vars(metadata)["entry_points"] = lambda **_: ()
    return metadata


@contextmanager
def loading_lean() -> Iterator[None]:
    """What is loaded in this block does without what is never used of it, and is not gone through
    for garbage: that was a fifth of the daemon's start.

    structlog loads rich for traces in colour (40 ms) and asyncio for what is awaited (10 ms);
    pydantic opens all that is installed in search of plug-ins (10 ms). `None` in a module's place
    stops an import as though it were not installed (the language reference, 5.3.1).
    """
    places: dict[str, ModuleType | None] = {
        "rich": None,
        "pygments": None,
        "asyncio": _Late("asyncio"),
        "importlib.metadata": _no_plugins(),
    }
    instead = {name: module for name, module in places.items() if name not in sys.modules}
    sys.modules.update(instead)  # type: ignore[arg-type] # None is documented, but not in its type
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # else all of it is gone through now
        gc.enable()
        for name, module in instead.items():
            if sys.modules.get(name) is module:
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
