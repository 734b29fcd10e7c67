"""`check` in this process, and its table as rows."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from tests.end_to_end.running import Installation
from watcher.commands.check import run_check

_ROW = re.compile(r"  (PASS|WARN|FAIL)  (.{14}) (.*)")


class Row(NamedTuple):
    """One line, unwrapped: its section, what was found, and the remedy."""

    section: str
    level: str
    what: str
    found: str
    remedy: str


class Checked:
    """What one `check` printed, and its exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        self.rows = list(self._read())

    def _read(self) -> list[Row]:
        section, rows = "", list[Row]()
        for line in self.text.splitlines():
            match = _ROW.fullmatch(line)
            if match:
                rows.append(Row(section, match[1], match[2].strip(), match[3], ""))
            elif line and not line.startswith(" "):
                section = line
            elif line:
                row, said = rows.pop(), line.strip()
                if said.startswith("-> ") or row.remedy:
                    row = row._replace(remedy=f"{row.remedy} {said}".removeprefix(" -> "))
                else:
                    row = row._replace(found=f"{row.found} {said}".strip())
                rows.append(row)
        return rows

    def row(self, what: str, section: str = "") -> Row:
        """The one row about this."""
        (row,) = [r for r in self.rows if r.what == what and r.section.endswith(section)]
        return row

    def level(self, what: str, section: str = "") -> str:
        """PASS, WARN or FAIL; "" if there is no such row."""
        rows = [r for r in self.rows if r.what == what and r.section.endswith(section)]
        return rows[0].level if rows else ""

    def not_well(self) -> list[str]:
        """What does not pass."""
        return [row.what for row in self.rows if row.level != "PASS"]


def check(
    installed: Installation,
    *,
    offline: bool = False,
    silence: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Checked:
    """Runs it as the command line does."""
    output = io.StringIO()
    code = run_check(
        str(installed.config),
        state_dir=str(installed.folder / "state"),
        environ=installed.environment if environ is None else environ,
        offline=offline,
        console=Console(file=output, highlight=False),
        silence=silence,
    )
    return Checked(code, output.getvalue())


def everything_below(folder: Path) -> dict[str, tuple[object, ...]]:
    """Each file and folder below it: content, and all that `stat` says but the time of reading."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        identity = status.st_mode, status.st_ino, status.st_uid, status.st_gid, status.st_nlink
        found[str(path)] = (content, *identity, status.st_mtime_ns, status.st_ctime_ns)
    return found
