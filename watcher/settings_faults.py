"""What is wrong with a configuration, in words that name file, key and remedy. Shows no value."""

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Where = tuple[int | str, ...]
"""A place in the configuration, as pydantic tells it: ("share", 0, "path")."""


def in_words(
    fault: ErrorDetails, sources: Mapping[str, Mapping[str, Any]], model: type[BaseModel]
) -> str:
    """One line for one fault. `sources` holds what each source said, the strongest first."""
    where = fault["loc"] or ("share",)  # the one check of the whole is about shares
    held = where[:-1] if fault["type"] == "missing" else where
    origin = next(
        (name for name, values in sources.items() if _holds(values, held)), "the configuration"
    )
    if not fault["loc"]:
        return f"{origin}: {_said(fault)}."
    if fault["type"] == "extra_forbidden":
        known = _model_at(where[:-1], model)
        return (
            f"{origin}: {_key(where)}: unknown key{did_you_mean(str(where[-1]), known)} "
            "Correct or remove it."
        )
    if fault["type"] == "missing":
        return f"{origin}: {_key(where)}: is missing. Add it."
    return f"{origin}: {_key(where)}: {_said(fault)}. Correct the value."


def _said(fault: ErrorDetails) -> str:
    match fault["type"]:
        case "tuple_type" if fault["loc"] == ("share",):
            return "should be written with two brackets, [[share]]"
        case "model_type":
            return "should be a section of keys and values"
    return fault["msg"].removeprefix("Value error, ").replace("Input should", "should")


def _holds(values: Any, where: Where) -> bool:  # noqa: ANN401 - parsed TOML
    for part in where:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _key(where: Where) -> str:
    """A key as it is written in the file: "[api] url", "[[share]] 2, path"."""
    if len(where) == 1:
        return str(where[0])
    if isinstance(where[1], int):
        return f"[[{where[0]}]] {where[1] + 1}" + "".join(f", {part}" for part in where[2:])
    return f"[{where[0]}] " + ".".join(map(str, where[1:]))


def _model_at(where: Where, model: type[BaseModel]) -> type[BaseModel]:
    for part in where:
        if isinstance(part, str):
            section = model.model_fields[part].annotation
            (section, *_) = get_args(section) or (section,)
            if isinstance(section, type) and issubclass(section, BaseModel):
                model = section
    return model


def did_you_mean(name: str, model: type[BaseModel]) -> str:
    """The key that was probably meant, or all that there are."""
    near = difflib.get_close_matches(name, model.model_fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else f" (known: {', '.join(model.model_fields)})."
