"""What a record says of a row, and which events of a batch leave out what did not change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus.prepare.fetch_memory import Wait
from corpus.source import SourceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRow:
    """What a record says, with columns that are known of its row."""

    values: Mapping[str, Any]  # of a staged event, by column name
    content: str | bytes | None
    columns: Mapping[str, Any]  # that a later change may leave out


# (source specification, key, value, headers as JSON, known columns by name) -> what the record says.
RowReader = Callable[[SourceSpec, bytes | None, bytes, str, Mapping[str, Any]], ReadRow]


@dataclass(slots=True)
class Completion:
    """The events of a batch that left columns out. Numbers are rows of the batch's table of events."""

    known: dict[int, Mapping[str, Any]] = field(
        default_factory=dict[int, Mapping[str, Any]]
    )
    values: dict[int, Mapping[str, Any]] = field(
        default_factory=dict[int, Mapping[str, Any]]
    )
    incomplete: dict[int, tuple[str, ...]] = field(
        default_factory=dict[int, tuple[str, ...]]
    )
    # Of the incomplete: those behind a record of their document that could not be used.
    doubtful: set[int] = field(default_factory=set[int])
    # Of the incomplete: those whose document was another one, of which not all is read yet; since when each waits.
    waits: dict[int, Wait | None] = field(default_factory=dict[int, Wait | None])
    # By document that an event leaves columns of, or that is deleted after another event: its last columns.
    last: dict[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )
