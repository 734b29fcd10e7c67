"""The rules of this house, each with its reason, held by reading the imports."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import watcher

PACKAGE = Path(watcher.__file__).parent
LONGEST = 300
"""Lines of a module that can still be read in one go."""


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str) -> Iterator[str]:
    """What a module imports anywhere in it: our modules by their full name, others by their first
    part."""
    for node in ast.walk(ast.parse(SOURCES[module].read_bytes())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in SOURCES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


IMPORTS = {
    module: {name if name in SOURCES else name.split(".")[0] for name in imports(module)}
    for module in SOURCES
}


def part(module: str) -> str:
    """A module's short name; a subpackage is one part."""
    return module.split(".")[1] if "." in module else module


def who_imports(name: str) -> set[str]:
    return {
        part(module)
        for module, found in IMPORTS.items()
        if name in {*found, *map(part, found)} and part(module) != name
    }


ONLY = {
    "watchdog": ("observer", "its events and its faults are translated in one place"),
    "httpx": ("connection", "its errors are translated in one place"),
    "connection": ("access dialling", "all others take what it is to them: `exchange`"),
    "dialling": ("switchboard", "it is what the other process does"),
    "switchboard": ("access cli wiring", "who has a line need not know where it leads"),
    "httptools": ("answer", "what it makes of an answer is told in one place"),
    "daemon": ("wiring", "whoever else built one would wire it in another way"),
    "wiring": ("cli", "it knows everything, so nobody may know it"),
    "settings": ("wiring access commands cli", "all others take the values that they use"),
    "access": ("wiring commands cli", "like the settings that it reads"),
    "commands": ("cli", "they are no part of the daemon"),
    "settings_values": ("settings", "they are the types of the settings' values"),
    "settings_faults": ("settings", "they are the words of the settings' own errors"),
    "PIL": ("sandbox demo", "the hot path decodes no pixel, and the daemon runs without the extra"),
    "python_multipart": ("sandbox", "the daemon runs without the extra"),
    "sandbox": ("demo commands", "the daemon does not know that there is a stand-in"),
    "demo": ("cli", "it is no part of the daemon"),
    "rich": ("progress bar demo cli commands", "what has no terminal needs no picture"),
    "prometheus_client": ("metrics", "what is measured is told in one place"),
    "structlog": (
        "conditions daemon disposition hangs logs notify scans shift trouble wiring",
        "who logs is who decides: all others return or raise",
    ),
}

NOTHING_OF_THE_SERVICE = "service exchange line connection wire tokens token_store journey httpx"
WITHOUT = {
    "daemon": (NOTHING_OF_THE_SERVICE, "it starts and stops, whatever is done"),
    "shift": (NOTHING_OF_THE_SERVICE, "it starts and stops, whatever is done"),
    "pool": (f"{NOTHING_OF_THE_SERVICE} inspection tree", "threads know no HTTP and no images"),
    "backlog": (NOTHING_OF_THE_SERVICE, "it orders paths, whatever becomes of them"),
    "intake": (NOTHING_OF_THE_SERVICE, "what there is does not depend on who takes it"),
    "scan": (
        f"{NOTHING_OF_THE_SERVICE} threading",
        "what there is does not depend on who takes it",
    ),
    "journey": ("threading pool disposition", "one file's way is told without threads"),
    "settling": ("threading time", "a decision over an injected clock"),
    "record": ("threading service", "what is written is told by what it is given"),
    "gate": ("backlog share time random", "a decision over an injected clock and chance"),
}


@pytest.mark.parametrize(("name", "rule"), ONLY.items(), ids=ONLY)
def test_only_some_may_import_it(name: str, rule: tuple[str, str]) -> None:
    some, why = rule
    found = who_imports(name)
    assert found, f"nobody imports {name} any more: drop the rule"
    assert found <= set(some.split()), why


@pytest.mark.parametrize(("module", "rule"), WITHOUT.items(), ids=WITHOUT)
def test_it_knows_nothing_of_the_others(module: str, rule: tuple[str, str]) -> None:
    names, why = rule
    known = {*IMPORTS[f"watcher.{module}"], *map(part, IMPORTS[f"watcher.{module}"])}
    assert not known & set(names.split()), why


@pytest.mark.parametrize("package", ["inspection", "sandbox"])
def test_a_part_of_its_own_needs_nothing_of_ours(package: str) -> None:
    """The formats can be read anywhere; the judge shares nothing with the judged."""
    inside = f"watcher.{package}"
    needed = {name for module in SOURCES if module.startswith(inside) for name in IMPORTS[module]}
    assert {name for name in needed if part(name) == package or name not in SOURCES} == needed


def test_no_imports_go_in_a_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


def test_every_module_can_be_read_in_one_go() -> None:
    lengths = {name: len(file.read_bytes().splitlines()) for name, file in SOURCES.items()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}
