"""A validation error in words: the field, its value, what is allowed."""

import json
from typing import Any

from pydantic_core import ErrorDetails

from workers.config.tables import (
    ConfigFile,
    FreshnessTable,
    LimitsTable,
    PreparationTable,
    SourceTable,
    SubscriberTable,
    Table,
)

_MAX_SHOWN = 60  # characters of a value
# What pydantic puts into the place of an error for validators of its own.
_INTERNAL = ("function-", "constrained-")
_TABLES: dict[str, type[Table]] = {
    "": ConfigFile,
    "source.*": SourceTable,
    "source.*.pipeline": PreparationTable,
    "source.*.limits": LimitsTable,
    "source.*.freshness": FreshnessTable,
    "subscriber.*": SubscriberTable,
}


def explain(error: ErrorDetails) -> str:
    """One error of the configuration file as one line: "source.a.topics = []: ..."."""
    path, value = _path(error["loc"]), error["input"]
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return f"{path} is not a setting{_known(error['loc'][:-1])}"
        case "missing":
            return f"{path} is missing"
        case "value_error":
            return _explain_value(path, value, str(context.get("error", error["msg"])))
        case "string_pattern_mismatch":
            return f"{path} = {_shown(value)} does not match {context['pattern']}"
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return f"{path} = {_shown(value)}: {message}"


def _explain_value(path: str, value: Any, message: str) -> str:
    """An error of a validator of ours; one of a whole table shows no value, one of the file no path."""
    if not path:
        return message
    if isinstance(value, dict):
        return f"{path}: {message}"
    return f"{path} = {_shown(value)}: {message}"


def _path(location: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in location]
    return ".".join(part for part in parts if part != "[key]" and not part.startswith(_INTERNAL))


def _known(location: tuple[int | str, ...]) -> str:
    """The settings of a table, where it is one of the file's."""
    parts = [str(part) for part in location]
    if len(parts) > 1:
        parts[1] = "*"  # the name of the source or subscriber
    table = _TABLES.get(".".join(parts))
    return f"; known there: {', '.join(table.model_fields)}" if table else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
