"""What the README lists is what there is."""

import re
from pathlib import Path
from typing import get_args

import pytest

from watcher.conditions import Name
from watcher.notes import REASONS

README = (Path(__file__).parents[2] / "README.md").read_text()
PAGE = (Path(__file__).parents[2] / "docs" / "reasons.md").read_text()


def first_column(header: str) -> set[str]:
    """The names in the first column of the table that begins so."""
    table = README.partition(f"| {header} |")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_a_page_explains_every_reason_of_a_rejection_and_no_other() -> None:
    assert set(re.findall(r"^## `(\w+)`: ", PAGE, re.MULTILINE)) == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_the_page_says_what_the_note_says_to_do(reason: str) -> None:
    section = PAGE.partition(f"## `{reason}`")[2].partition("\n## ")[0]
    assert REASONS[reason].remedy in " ".join(section.split())


def test_it_explains_every_condition_and_no_other() -> None:
    assert first_column("condition") == set(get_args(Name))


def test_its_source_map_names_every_module() -> None:
    source_map = README.partition("## Source map")[2].partition("\nDependencies")[0]
    package = Path(__file__).parents[2] / "watcher"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    modules |= {path.parent.name + "/" for path in package.glob("*/__init__.py")}
    assert modules - set(re.findall(r"`([\w/]+)`", source_map)) <= SUPPORTING


SUPPORTING = {"errors", "exit_codes", "outcomes", "settings_faults"}
"""Words and values that one meets on the way."""
