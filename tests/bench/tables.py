"""Rows as a table for people; numbers to the right, words to the left."""

from collections.abc import Iterable

Row = dict[str, object]


def shown(rows: Iterable[Row]) -> list[Row]:
    """Prints each row as soon as it is there; all of them."""
    kept: list[Row] = []
    for row in rows:
        if not kept:
            print("  ".join(_cell(key, key, value) for key, value in row.items()), flush=True)
        print("  ".join(_cell(key, value, value) for key, value in row.items()), flush=True)
        kept.append(row)
    return kept


_WORDS = {"program": 19, "target": 46, "what": 38, "drops": 26, "where": 38}
"""Columns that hold words, and their widths."""


def _cell(key: str, text: object, value: object) -> str:
    if key in _WORDS:
        return f"{text!s:<{_WORDS[key]}}"
    width = max(len(key), 6 if isinstance(value, int | float) else 4)
    return f"{text!s:>{width}}"
