"""A batch is prepared in slices of time: what is done when a slice ends is kept, and the next one continues there.

So a batch of many slow documents holds no place of a preparer for hours, its state is visible after each slice, and a
preparer that is killed loses one slice.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from corpus.chunk import Chunk
from corpus.clean.account import Account, DropRule, Notes
from corpus.clean.blocks import CleaningFailure
from corpus.clean.parts import Part
from corpus.dead_letter import DeadLetterReason
from corpus.prepare.divide import DividedDocument
from corpus.split.unknown import UnknownText

SLICE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceNote:
    """What an event says once the document is fetched that it points to; or why that was not possible."""

    content_type: str | None = None
    content_sha256: bytes | None = None
    content_bytes: int | None = None
    fetched: str | None = None  # JSON, as the documents file has it
    reason: str | None = None  # a DeadLetterReason
    detail: str | None = None
    waits_for: str | None = None  # a host; the event is tried again by itself
    retry_seconds: int | None = None
    waits_since_ms: int | None = None  # None: since this batch
    # For how long the batch had waited for documents when this was known.
    waited_seconds: float = 0.0


# A document that was cleaned and divided, or why it cannot be used.
Prepared = DividedDocument | CleaningFailure
Noted = Prepared | ReferenceNote


class SliceOver(Exception):
    """The time of a slice is used up."""


class TimeSlice:
    """What of a batch is prepared.

    Attributes:
        results: by key (see `result_key`).

    Args:
        results: of the slices before.
        seconds: that this slice has; it ends behind the document in progress, and never without one.
    """

    def __init__(self, results: Mapping[str, Noted], seconds: float) -> None:
        self.results = dict(results)
        self._known = len(results)
        self._end = time.monotonic() + seconds

    def prepared(self, key: str) -> Prepared:
        """The result of a document that is prepared."""
        result = self.results[key]
        assert not isinstance(result, ReferenceNote), "a key has one kind of result"
        return result

    @property
    def documents(self) -> int:
        """How many documents are prepared."""
        notes = sum(isinstance(one, ReferenceNote) for one in self.results.values())
        return len(self.results) - notes

    @property
    def fetching(self) -> tuple[float, int]:
        """For how many seconds the batch has waited for documents, and how many need not be waited for."""
        notes = [one for one in self.results.values() if isinstance(one, ReferenceNote)]
        waited = max((note.waited_seconds for note in notes), default=0.0)
        return waited, sum(note.waits_for is None for note in notes)

    @property
    def is_over(self) -> bool:
        """Whether the next document is for another slice."""
        has_new = len(self.results) > self._known
        return has_new and time.monotonic() > self._end

    def add(self, key: str, result: Noted) -> None:
        """Keep a result."""
        self.results[key] = result

    def check(self) -> None:
        """Raise SliceOver where the next document is for another slice."""
        if self.is_over:
            raise SliceOver


def result_key(*parts: bytes | str | int | None) -> str:
    """Identifies a result by all that decides it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part!r}\0".encode())
    return digest.hexdigest()


def results_frame(results: Mapping[str, Noted]) -> pl.DataFrame:
    """One row per document that is prepared."""
    texts = [
        json.dumps(asdict(result), default=bytes.hex) for result in results.values()
    ]
    return pl.DataFrame({"key": list(results), "result": texts})


def read_results(frame: pl.DataFrame) -> dict[str, Noted]:
    """What `results_frame` wrote."""
    results = frame["result"].to_list()
    return {
        key: _result(json.loads(text))
        for key, text in zip(frame["key"], results, strict=True)
    }


def _result(values: dict[str, Any]) -> Noted:
    if "waits_for" in values:
        digest = values.pop("content_sha256")
        content_sha256 = None if digest is None else bytes.fromhex(digest)
        return ReferenceNote(content_sha256=content_sha256, **values)
    if "reason" in values:
        reason = DeadLetterReason(values["reason"])
        return CleaningFailure(reason, values["detail"])
    account = values["account"]
    dropped = [(DropRule(rule), length) for rule, length in account["dropped"]]
    return DividedDocument(
        cleaned_sha256=bytes.fromhex(values["cleaned_sha256"]),
        sample=values["sample"],
        account=Account(
            account["kept"], tuple(dropped), notes=Notes(**account["notes"])
        ),
        chunks=tuple(map(_chunk, values["chunks"])),
        unknown=UnknownText(**values["unknown"]),
        parts=tuple(map(_part, values["parts"])),
    )


def _part(values: dict[str, Any]) -> Part:
    reason = values.pop("reason")
    return Part(reason=DeadLetterReason(reason) if reason else None, **values)


def _chunk(values: dict[str, Any]) -> Chunk:
    for name in ("token_ids", "context_ids"):
        values[name] = tuple(values[name])
    return Chunk(**values)
