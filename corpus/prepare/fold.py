"""Which of a batch's events may act: the greatest version a document, tombstones included. Pure.

A document's events are judged in the order of the log. A relative event (a Kafka tombstone without a version) acts on
whatever is there; so what it leaves behind is a *floor*: the greatest version seen before it, which nothing at or below may
pass. What the corpus itself holds is not known here; the publishing transaction applies the same rule to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class FoldedDocument:
    """What one document's events come to. Numbers are rows of the batch's event table."""

    winner: int | None = None  # row of the event with the greatest version
    winner_version: int = -1
    tombstone: int | None = None  # row of the last relative event; it acts before the winner
    tombstone_floor: int = -1  # greatest version seen in this batch before it
    floor: int | None = None  # row of the event with that version


@dataclass(frozen=True, slots=True)
class Fold:
    """Result: a folded document per id, and rows that lost inside the batch."""

    documents: dict[str, FoldedDocument]
    superseded: list[int]  # rows: an older version, or replaced by a later event of the batch
    repeated: list[int]  # rows: the winner's version and bytes, sent again by the winner


def fold(events: Iterable[tuple[int, str, int | None, bytes]]) -> Fold:
    """Fold (row, document id, version or None, hash of the raw value), in the order of the log."""
    documents: dict[str, FoldedDocument] = {}
    superseded: list[int] = []
    repeated: list[int] = []
    hashes: dict[str, bytes] = {}
    for row, document_id, version, raw_sha256 in events:
        folded = documents.setdefault(document_id, FoldedDocument())
        if version is None:
            superseded.extend(
                lost for lost in (folded.winner, folded.tombstone) if lost is not None
            )
            if folded.winner_version > folded.tombstone_floor:
                folded.tombstone_floor, folded.floor = folded.winner_version, folded.winner
            folded.tombstone, folded.winner, folded.winner_version = row, None, -1
        elif version > max(folded.winner_version, folded.tombstone_floor):
            if folded.winner is not None:
                superseded.append(folded.winner)
            folded.winner, folded.winner_version = row, version
            hashes[document_id] = raw_sha256
        elif (
            folded.winner is not None
            and version == folded.winner_version
            and raw_sha256 == hashes[document_id]
        ):
            # The same thing sent again: the later record says when it was last observed.
            repeated.append(folded.winner)
            folded.winner = row
        else:
            superseded.append(row)
    return Fold(documents, superseded, repeated)
