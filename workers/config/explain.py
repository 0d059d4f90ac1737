"""A validation error in words: the field, its value, what is allowed."""

import json
from typing import Any

from pydantic_core import ErrorDetails

from workers.config.table import Table
from workers.config.tables import (
    ConfigFile,
    FreshnessTable,
    PreparationTable,
    SourceTable,
)
from workers.config.toml.audit_table import AuditTable
from workers.config.toml.limits_table import LimitsTable
from workers.config.toml.mapping_table import (
    CloudEventsTable,
    DebeziumTable,
    MappingTable,
)
from workers.config.toml.retention_table import RetentionTable
from workers.config.toml.space_table import SpaceTable
from workers.config.toml.subscriber_table import SubscriberTable
from workers.config.toml.team_table import TeamTable

_MAX_SHOWN = 60  # characters of a value
# What pydantic puts into the place of an error for validators of its own.
_INTERNAL = ("function-", "constrained-")
_TABLES: dict[str, type[Table]] = {
    "": ConfigFile,
    "source.*": SourceTable,
    "source.*.mapping": MappingTable,
    "source.*.debezium": DebeziumTable,
    "source.*.cloudevents": CloudEventsTable,
    "source.*.pipeline": PreparationTable,
    "source.*.limits": LimitsTable,
    "source.*.freshness": FreshnessTable,
    "source.*.audit": AuditTable,
    "source.*.retention": RetentionTable,
    "subscriber.*": SubscriberTable,
    "team.*": TeamTable,
    "space.*": SpaceTable,
}


def explain(error: ErrorDetails) -> str:
    """One error of the configuration file as one line: "source.a.topics = []: ..."."""
    location, value, message = error["loc"], error["input"], error["msg"]
    context = error.get("ctx", {})
    path = _path(location)
    match error["type"]:
        case "extra_forbidden":
            known = _known(location[:-1])
            return f"{path} is not a setting{known}"
        case "missing":
            return f"{path} is missing"
        case "value_error":
            own = context.get("error", message)
            return _explain_value(path, value, str(own))
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            return f"{path} = {_shown(value)} does not match {pattern}"
        case _:
            message = message[0].lower() + message[1:]
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
    return ".".join(
        part for part in parts if part != "[key]" and not part.startswith(_INTERNAL)
    )


def _known(location: tuple[int | str, ...]) -> str:
    """The settings of a table, where it is one of the file's."""
    parts = [str(part) for part in location]
    if len(parts) > 1:
        parts[1] = "*"  # the name of the source or subscriber
    table = _TABLES.get(".".join(parts))
    if table is None:
        return ""
    fields = ", ".join(table.model_fields)
    return f"; known there: {fields}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
