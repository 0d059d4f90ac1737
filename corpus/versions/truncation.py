"""A truncated table: what its source halts with, what a person decides, and what the records before it become.

To empty a table deletes every document that came of it. Nothing is deleted before a person has said so
(`freshet source truncate`). The decision is a row (`freshet.truncation`); the batch with the record carries it out, in
the transaction that moves the position over it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from corpus.source import record_version

# Rules by which a record is ignored.
UNDECIDED = "debezium truncate"
DELETES = "debezium truncate: the documents of the table are deleted"
KEEPS = "debezium truncate: the documents of the table are kept"
AGAIN = "debezium truncate, sent again"
OLDER = "debezium row from before a truncate"

_HALTED = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]+)/(?P<partition>\d+)@(?P<offset>\d+): the table was truncated"
)


class Decision(StrEnum):
    """What a person says."""

    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the record is."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """When and where a record was first written: one that was redriven is older than its place says."""

    timestamp_ms: int | None
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """A decision about one record (query `truncations_of_sources`)."""

    source: str
    topic: str
    topic_id: str
    partition: int
    record_offset: int
    decision: Decision
    own_version: int | None  # by the database's log; None: it says none
    record_version: int

    def is_at(self, row: Mapping[str, Any], topic_id: str) -> bool:
        """Whether the decision is about this staged record."""
        place = (row["topic"], row["partition"], row["offset"])
        return place == self._place and topic_id == self.topic_id

    def is_repeated_by(self, row: Mapping[str, Any]) -> bool:
        """Whether a staged record is the same truncation, sent again by a connector that was killed."""
        is_known = self.own_version is not None
        is_same = row.get("version") == self.own_version
        return is_known and is_same and row["topic"] == self.topic

    def is_after(self, row: Mapping[str, Any], topic_id: str, written: Written) -> bool:
        """Whether a staged row of the table was there when it was truncated.

        By the versions of the database's log where both have one; else by the offset in one log, and by the time of
        the records in others.
        """
        version = row.get("version")
        of_record = record_version(written.timestamp_ms, written.offset)
        is_own = version is not None and version != of_record
        if is_own and self.own_version is not None:
            return int(version or 0) < self.own_version
        if row["partition"] == self.partition and topic_id == self.topic_id:
            return written.offset < self.record_offset
        return of_record < self.record_version

    @property
    def _place(self) -> tuple[str, int, int]:
        return (self.topic, self.partition, self.record_offset)


def halt_reason(source: str, place: Place) -> str:
    """Why a source halts at a truncated table, and what a person can do."""
    command = f"`freshet source truncate {source}"
    return (
        f"{place.topic}/{place.partition}@{place.offset}: the table was truncated, which would delete all documents "
        f"that came of this topic; nothing was deleted. {command} --delete --reason TEXT` deletes them, {command} "
        "--keep --reason TEXT` keeps them, and either goes on; with --dry-run it counts them"
    )


def place_in(reason: str) -> Place | None:
    """Where the record is that a source halted at; None: it halted for another reason."""
    found = _HALTED.match(reason)
    if found is None:
        return None
    return Place(
        topic=found["topic"],
        partition=int(found["partition"]),
        offset=int(found["offset"]),
    )


def settled(
    row: Mapping[str, Any],
    decisions: Iterable[Truncation],
    topic_id: str,
    written: Written,
) -> Mapping[str, Any]:
    """A staged row as decisions make it: the record of a truncation, or a row that was there before one.

    Args:
        row: of the record.
        decisions: about truncated tables of its source.
        topic_id: of the topic that it was read from.
        written: when and where it was first written.
    """
    if row.get("reason") == UNDECIDED:
        return {**row, "reason": _rule_of(row, decisions, topic_id)}
    if row.get("op") != "upsert":
        return row
    for one in decisions:
        is_of_table = one.topic == row["topic"] and one.decision == Decision.DELETE
        if is_of_table and one.is_after(row, topic_id, written):
            return _ignored(row)
    return row


def _rule_of(
    row: Mapping[str, Any], decisions: Iterable[Truncation], topic_id: str
) -> str:
    rule = UNDECIDED
    for one in decisions:
        if one.is_at(row, topic_id):
            return DELETES if one.decision == Decision.DELETE else KEEPS
        if one.is_repeated_by(row):
            rule = AGAIN
    return rule


_OF_RECORD = (
    *("topic", "partition", "offset", "timestamp_ms"),
    *("key", "value", "headers"),
)


def _ignored(row: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = {name: row[name] for name in _OF_RECORD}
    return {**kept, "outcome": "ignored", "reason": OLDER}
