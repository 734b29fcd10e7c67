import ast
from collections.abc import Iterator
from pathlib import Path

import watcher.sandbox


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_judge_shares_nothing_with_the_judged() -> None:
    folder = Path(watcher.sandbox.__file__).parent
    names = {name for source in folder.glob("*.py") for name in imported(source)}
    ours = {name for name in names if name.split(".")[0] == "watcher"}
    assert {name for name in ours if not name.startswith("watcher.sandbox")} == set()
    assert not {name for name in names if name.split(".")[0] == "httpx"}
