"""Records that Debezium writes for itself: of transactions, heartbeats, changes of a schema, and logical messages.

The columns of a table may have the same names. So a record is Debezium's own only if it has no field beside those that
Debezium gives it; a row with any other column is a row.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ENVELOPE = frozenset({"before", "after"})
_TIMES = frozenset({"ts_ms", "ts_us", "ts_ns"})


class _Kind(NamedTuple):
    """One kind of them."""

    rule: str  # by which they are ignored
    fields: frozenset[str]  # that each has
    others: frozenset[str]  # that it may have
    agrees: Callable[[Mapping[str, Any]], bool]


def rule_of_own_record(value: Mapping[str, Any]) -> str:
    """The rule by which a record is no change of a row; empty: it may be one."""
    names = value.keys()
    if names >= ENVELOPE:
        return ""
    for kind in _KINDS:
        if names >= kind.fields and names - kind.fields <= kind.others:
            return kind.rule if kind.agrees(value) else ""
    return ""


def _is_message(value: Mapping[str, Any]) -> bool:
    return value["op"] == "m"


def _is_transaction(value: Mapping[str, Any]) -> bool:
    return value["status"] in ("BEGIN", "END") and isinstance(value["id"], str)


def _is_any(_: Mapping[str, Any]) -> bool:
    return True


_KINDS = (
    _Kind(
        rule="debezium message",
        fields=frozenset({"op", "message"}),
        others=_TIMES | {"source", "transaction"},
        agrees=_is_message,
    ),
    _Kind(
        rule="debezium transaction",
        fields=frozenset({"status", "id", "event_count"}),
        others=_TIMES | {"data_collections"},
        agrees=_is_transaction,
    ),
    _Kind(
        rule="debezium heartbeat",
        fields=frozenset({"ts_ms"}),
        others=frozenset(),
        agrees=_is_any,
    ),
    _Kind(
        rule="debezium schema change",
        fields=frozenset({"ddl", "databaseName"}),
        others=_TIMES | {"source", "position", "schemaName", "tableChanges"},
        agrees=_is_any,
    ),
)
