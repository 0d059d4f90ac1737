"""What a wait answers, as a table over the states of the rows; no database."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.answer.await_fresh import _version_in, decide
from corpus.answer.await_rows import (
    AwaitRows,
    BatchRow,
    DeadLetterRow,
    HeadRow,
    PartitionRow,
    PositionRow,
    RecordRow,
    SourceRow,
    VersionRow,
    WrittenRow,
)
from corpus.service import AwaitFreshRequest, AwaitFreshResponse, WaitOutcome

PUBLISHED_AT_MS = 1_700_000_000_000
ACTIVE = SourceRow(state="active", state_reason=None, last_batch=9)
HALTED = SourceRow(state="halted", state_reason="offsets 3 to 9 are missing", last_batch=9)
RETIRED = SourceRow(state="retired", state_reason=None, last_batch=9)
LETTER = DeadLetterRow(reason="too_large", detail="33 MB", batch=4, value=b'{"version": 7}')


def batch_row(number: int = 4, **fields: Any) -> BatchRow:
    times = {"published_at_ms": PUBLISHED_AT_MS, "published_at_us": PUBLISHED_AT_MS * 1000 - 7}
    return BatchRow(batch=number, **({"state": "published", "reason": None} | times | fields))


def version_row(version: int = 7, **fields: Any) -> VersionRow:
    base = {"kind": "document", "visible": True, "end_reason": None, "end_detail": None, "batch": 4}
    return VersionRow(version=version, **(base | fields))


def ended(reason: str, detail: str | None = None, **fields: Any) -> VersionRow:
    return version_row(visible=False, end_reason=reason, end_detail=detail, **fields)


TOMBSTONE = ended("deleted", kind="tombstone")


def became(outcome: str | None, op: str | None = "upsert", **fields: Any) -> RecordRow:
    base = {"document_id": "a", "version": 7, "reason": None}
    return RecordRow(batch=4, outcome=outcome, op=op, **(base | fields))


@dataclass
class Rows(AwaitRows):
    """Rows without a database: one of each kind at most."""

    source_row: SourceRow | None = ACTIVE
    batches: dict[int, BatchRow] = field(default_factory=lambda: {4: batch_row()})
    position_row: PositionRow | None = None
    kept: RecordRow | None = None
    kept_log: str = "id"  # of the topic, whose records are kept
    range_batch_row: int | None = None
    letter: DeadLetterRow | None = None
    written: WrittenRow | None = None
    version_row: VersionRow | None = None
    stands: bool = True  # what the version says is what the record said
    head_row: HeadRow | None = None
    letters: list[DeadLetterRow] = field(default_factory=list)
    behind: PartitionRow | None = None
    erasure = staticmethod(lambda document_id: None)

    def source(self):
        return self.source_row

    def batch(self, number):
        return self.batches.get(number)

    def position(self, record):
        return self.position_row

    def record(self, record):
        return self.kept if record.topic_id == self.kept_log else None

    def range_batch(self, record, read_id):
        return self.range_batch_row

    def record_dead_letter(self, record, batch):
        return self.letter

    def record_version(self, record, batch):
        return self.written

    def version(self, document_id, version):
        return self.version_row

    def content_stands(self, record, wrote):
        return self.stands

    def head(self, document_id):
        return self.head_row

    def document_dead_letters(self, document_id):
        return self.letters

    def partition_behind(self):
        return self.behind


def decided(rows: AwaitRows, **target: Any) -> AwaitFreshResponse:
    return decide(rows, AwaitFreshRequest(source="peps", **target))


BATCH = {"batch": 4}
RECORD = {"topic": "topic", "partition": 0, "offset": 5}
DOCUMENT = {"document_id": "a", "version": 7}
READ = PositionRow(topic_id="id", next_offset=6)
NOT_READ = PositionRow(topic_id="id", next_offset=5)
WRITTEN = WrittenRow(document_id="a", version=7)


def at(newest_ms: int | None) -> PartitionRow:
    return PartitionRow(topic="topic", partition=1, newest_ms=newest_ms)


def head(version: int, kind: str = "document") -> HeadRow:
    return HeadRow(version=version, kind=kind, batch=4)


@pytest.mark.parametrize(
    ("rows", "target", "outcome", "detail"),
    [
        # a batch
        (Rows(), BATCH, "retrievable", "batch 4 is published"),
        (Rows(batches={}), {"batch": 10}, "timeout", "batch 10 is not published"),
        (
            Rows(batches={}),
            {"batch": 9},
            "not_published",
            "batch 9 was passed over: batch 9 is published",
        ),
        (
            Rows(batches={4: batch_row(state="held", reason="mass delete")}),
            BATCH,
            "not_published",
            "batch 4 is held: mass delete",
        ),
        (
            Rows(batches={4: batch_row(state="withdrawn")}),
            BATCH,
            "not_published",
            "batch 4 is withdrawn: see the ledger",
        ),
        # a Kafka record that the corpus has not reached
        (Rows(), RECORD, "timeout", "the corpus has applied nothing of its partition"),
        (
            Rows(position_row=NOT_READ),
            RECORD,
            "timeout",
            "topic/0@5 has no effect yet; the corpus is at offset 5",
        ),
        (Rows(position_row=READ), RECORD, "no_change", "lies before the first record"),
        # a Kafka record whose outcome is kept
        (
            Rows(position_row=READ, kept=became(None, None)),
            RECORD,
            "no_change",
            "there is no record",
        ),
        (
            Rows(position_row=READ, kept=became("dead_letter", None), letter=LETTER),
            RECORD,
            "dead_lettered",
            "too_large: 33 MB",
        ),
        (
            Rows(position_row=READ, kept=became("dead_letter", None, reason="too_large")),
            RECORD,
            "dead_lettered",
            "too_large; the dead letter itself is not kept",
        ),
        (
            Rows(position_row=READ, kept=became("ignored", None, reason="other_topic")),
            RECORD,
            "no_change",
            "is ignored by the rule 'other_topic'",
        ),
        (
            Rows(position_row=READ, kept=became("superseded"), version_row=version_row()),
            RECORD,
            "superseded",
            "changed nothing",
        ),
        (Rows(position_row=READ, kept=became("applied", "delete")), RECORD, "deleted", "a delete"),
        (
            Rows(position_row=READ, kept=became("unchanged", "delete")),
            RECORD,
            "deleted",
            "a delete",
        ),
        (
            Rows(position_row=READ, kept=became("applied"), version_row=version_row()),
            RECORD,
            "retrievable",
            "version 7",
        ),
        (
            Rows(position_row=READ, kept=became("unchanged"), version_row=version_row()),
            RECORD,
            "unchanged",
            "already had this content",
        ),
        *(
            (
                Rows(position_row=READ, kept=became(outcome), version_row=row),
                RECORD,
                why,
                detail,
            )
            for outcome in ("applied", "unchanged")
            for row, why, detail in (
                (TOMBSTONE, "deleted", "version 7 is a delete"),
                (ended("deleted"), "deleted", "version 7 was deleted"),
                (ended("replaced"), "superseded", "version 7 was replaced"),
                (ended("expired", "expire_after=30d"), "expired", "expire_after=30d"),
                (ended("erased"), "erased", "was erased"),
                (None, "no_change", "its version 7 is not in the corpus any more"),
            )
        ),
        # a Kafka record of which only the batch is known
        (
            Rows(position_row=READ, range_batch_row=4, letter=LETTER),
            RECORD,
            "dead_lettered",
            "too_large: 33 MB",
        ),
        (
            Rows(position_row=READ, range_batch_row=4, written=WRITTEN, version_row=version_row()),
            RECORD,
            "retrievable",
            "version 7",
        ),
        (
            Rows(position_row=READ, range_batch_row=4, written=WRITTEN, version_row=TOMBSTONE),
            RECORD,
            "deleted",
            "version 7 is a delete",
        ),
        (
            Rows(position_row=READ, range_batch_row=4),
            RECORD,
            "no_change",
            "the corpus keeps that for 30 days",
        ),
        # a Kafka record of a log that the caller names
        (
            Rows(position_row=READ, kept=became("applied"), version_row=version_row()),
            RECORD | {"topic_id": "id"},
            "retrievable",
            "version 7",
        ),
        (
            Rows(position_row=READ, kept=became("applied"), version_row=version_row()),
            RECORD | {"topic_id": "newer"},
            "timeout",
            "the corpus reads the topic with id id",
        ),
        (
            Rows(position_row=NOT_READ, kept=became("applied"), kept_log="older"),
            RECORD | {"topic_id": "older"},
            "no_change",
            "is not in the corpus any more",
        ),
        (
            Rows(position_row=NOT_READ, kept=became("applied"), kept_log="older"),
            RECORD,
            "timeout",
            "the corpus is at offset 5",
        ),
        # a document at a version
        (Rows(version_row=version_row()), DOCUMENT, "retrievable", "version 7 is retrievable"),
        (Rows(), DOCUMENT, "timeout", "'a' at version 7: the corpus has never seen the document"),
        (Rows(head_row=head(6)), DOCUMENT, "timeout", "the corpus has version 6"),
        (Rows(head_row=head(7)), DOCUMENT, "timeout", "the corpus has version 7"),
        (Rows(head_row=head(8)), DOCUMENT, "superseded", "version 8 is in the corpus"),
        (Rows(head_row=head(8, "tombstone")), DOCUMENT, "superseded", "version 8 is a delete"),
        (
            Rows(head_row=head(8), version_row=ended("replaced")),
            DOCUMENT,
            "superseded",
            "version 7 was superseded: version 8",
        ),
        (Rows(head_row=head(7), version_row=TOMBSTONE), DOCUMENT, "deleted", "is a delete"),
        (Rows(head_row=head(7), version_row=ended("expired")), DOCUMENT, "expired", "was expired"),
        (Rows(letters=[LETTER]), DOCUMENT, "dead_lettered", "too_large: 33 MB"),
        (
            Rows(letters=[DeadLetterRow(reason="r", detail="d", batch=4, value=None), LETTER]),
            DOCUMENT,
            "dead_lettered",
            "too_large",
        ),
        (Rows(letters=[LETTER]), DOCUMENT | {"version": 8}, "timeout", "never seen"),
        (Rows(head_row=head(8), letters=[LETTER]), DOCUMENT, "superseded", "version 8"),
        # a time
        (Rows(behind=at(10)), {"time_ms": 10}, "retrievable", "every partition has an event of 10"),
        (
            Rows(behind=at(9)),
            {"time_ms": 10},
            "timeout",
            "the newest event of topic/1 in the corpus is of 9",
        ),
        (Rows(behind=at(None)), {"time_ms": 0}, "timeout", "no event of topic/1 yet"),
        (Rows(), {"time_ms": 10}, "timeout", "the corpus has no event yet"),
        (Rows(behind=at(0)), {"time_ms": 0}, "retrievable", "every partition"),
    ],
)
def test_outcome(rows: Rows, target: dict[str, Any], outcome: str, detail: str) -> None:
    response = decided(rows, **target)
    assert (response.why, response.detail) == (outcome, response.detail)
    assert detail in response.detail
    assert response.reached is (outcome in ("retrievable", "unchanged"))


@pytest.mark.parametrize("target", [{"batch": 10}, RECORD, DOCUMENT, {"time_ms": 1}])
@pytest.mark.parametrize(
    ("source", "outcome", "detail"),
    [
        (ACTIVE, "timeout", ""),
        (HALTED, "source_halted", "offsets 3 to 9 are missing"),
        (RETIRED, "source_retired", "source 'peps' is no longer configured"),
        (None, "source_unknown", "there is no source 'peps'"),
        (SourceRow(state="paused", state_reason="by hand", last_batch=1), "timeout", ""),
    ],
)
def test_what_is_missing_depends_on_the_source(target, source, outcome, detail) -> None:
    response = decided(Rows(source_row=source, batches={}), **target)
    assert (response.why, response.reached) == (outcome, False)
    assert detail in response.detail
    assert response.batch is None


@pytest.mark.parametrize("source", [HALTED, RETIRED])
def test_what_a_stopped_source_has_published_is_retrievable(source: SourceRow) -> None:
    assert decided(Rows(source_row=source), **BATCH).reached
    assert decided(Rows(source_row=source, version_row=version_row()), **DOCUMENT).reached


def test_the_response_has_the_time_of_its_batch() -> None:
    assert decided(Rows(), **BATCH).published_at_ms == PUBLISHED_AT_MS
    assert decided(Rows(), **BATCH).published_at_us == PUBLISHED_AT_MS * 1000 - 7
    assert decided(Rows(version_row=version_row()), **DOCUMENT).published_at_ms == PUBLISHED_AT_MS
    assert decided(Rows(batches={}), batch=10).published_at_ms is None
    unknown = decided(Rows(batches={}, version_row=version_row()), **DOCUMENT)
    assert (unknown.batch, unknown.published_at_ms) == (4, None)


@pytest.mark.parametrize("reason", ["replaced", "deleted", "expired", "erased"])
def test_every_reason_that_ends_a_version_has_an_outcome(reason: str) -> None:
    response = decided(Rows(version_row=ended(reason)), **DOCUMENT)
    assert not response.reached
    assert response.why in WaitOutcome


# ── versions in events that could not be used ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "version"),
    [
        (b'{"version": 7}', 7),
        (b'{"version": 0}', 0),
        (b'{"version": 9223372036854775808}', 2**63),
        (b'{"version": true}', None),
        (b'{"version": 7.0}', None),
        (b'{"version": "7"}', None),
        (b'{"version": null}', None),
        (b"{}", None),
        (b"[7]", None),
        (b"7", None),
        (b"null", None),
        (b"", None),
        (None, None),
        (b"{", None),
        (b"\xff\xfe\x00", None),
        (b"\x00", None),
        (b"[" * 100_000, None),
        (b'{"version": ' + b"9" * 5_000 + b"}", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_version_in_an_unusable_event(value: bytes | None, version: int | None) -> None:
    assert _version_in(value) == version


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_search_for_a_version(value: bytes) -> None:
    found = _version_in(value)
    assert found is None or type(found) is int
