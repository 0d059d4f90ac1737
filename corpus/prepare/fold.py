"""Which of a batch's events may act: per document the greatest version, tombstones included. Pure.

A document's events are judged in the order of the log. A relative event (a Kafka tombstone without a version) acts on
the version that it meets, so it leaves a *floor*: the greatest version before it, which nothing at or below may pass.
What the corpus holds is not known here; the publishing transaction applies the same rule to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class FoldableEvent(NamedTuple):
    """What the fold needs to know of an event."""

    row: int  # in the batch's table of events
    document_id: str
    version: int | None  # None: relative
    raw_sha256: bytes  # of the Kafka value


@dataclass(slots=True)
class FoldedDocument:
    """What the events of one document come to. Numbers are rows of the batch's table of events."""

    winner: int | None = None  # row of the event with the greatest version
    winner_version: int = -1
    winner_sha256: bytes = b""  # of its Kafka value
    tombstone: int | None = (
        None  # row of the last relative event; it acts before the winner
    )
    tombstone_floor: int = -1  # greatest version in this batch before it
    floor: int | None = None  # row of the event with that version

    def accepts(self, version: int) -> bool:
        """Whether the version is greater than every version so far."""
        return version > max(self.winner_version, self.tombstone_floor)

    def repeated_by(self, event: FoldableEvent) -> int | None:
        """Row of the winner, if the event is the winner sent again."""
        is_same = event.raw_sha256 == self.winner_sha256
        return self.winner if is_same and event.version == self.winner_version else None

    @property
    def acting(self) -> tuple[int, ...]:
        """Rows that act, in order: the tombstone, then the winner."""
        return tuple(row for row in (self.tombstone, self.winner) if row is not None)


@dataclass(frozen=True, slots=True)
class Fold:
    """Result: a folded document per id, and the rows that do not act."""

    documents: dict[str, FoldedDocument] = field(
        default_factory=dict[str, FoldedDocument]
    )
    superseded: list[int] = field(default_factory=list[int])
    """Rows of an older version, or replaced by a later event of the batch."""
    repeated: list[int] = field(default_factory=list[int])
    """Rows with the winner's version and bytes, which the winner sent again."""


def fold(events: Iterable[FoldableEvent]) -> Fold:
    """Fold events that are in the order of the log."""
    result = Fold()
    for event in events:
        document = result.documents.setdefault(event.document_id, FoldedDocument())
        if event.version is None:
            _apply_tombstone(result, document, event.row)
        elif document.accepts(event.version):
            _apply_version(result, document, event, event.version)
        elif (repeated := document.repeated_by(event)) is not None:
            # The later record says when the document was last observed.
            result.repeated.append(repeated)
            document.winner = event.row
        else:
            result.superseded.append(event.row)
    return result


def _apply_tombstone(result: Fold, document: FoldedDocument, row: int) -> None:
    result.superseded.extend(document.acting)
    if document.winner_version > document.tombstone_floor:
        document.tombstone_floor, document.floor = (
            document.winner_version,
            document.winner,
        )
    document.tombstone, document.winner, document.winner_version = row, None, -1


def _apply_version(
    result: Fold, document: FoldedDocument, event: FoldableEvent, version: int
) -> None:
    if document.winner is not None:
        result.superseded.append(document.winner)
    document.winner, document.winner_version = event.row, version
    document.winner_sha256 = event.raw_sha256
