"""The rule that an audit judges by: what is wrong, what is right, and what nothing proves."""

import json
from dataclasses import replace
from typing import Any

import pytest

from corpus.audit.audit import AuditedPartition, Finding, FindingKind, NotJudged
from corpus.audit.evidence import (
    Document,
    LoggedRecord,
    Logs,
    StoredVersion,
    read_again_from,
)
from corpus.audit.verdict import judge

PARTITION = AuditedPartition(
    topic="t", partition=0, topic_id="i", first_offset=0, next_offset=100, is_complete=True
)
COMPLETE = Logs([PARTITION])
LOSSY = Logs([replace(PARTITION, first_offset=50, is_complete=False)])
SAID = {
    "uri": None, "title": "D", "content_type": "text/plain", "metadata": {"n": 1}, "acl": ["g"],
    "stated_language": None,
}  # fmt: skip


def record(version: int | None, offset: int, **other: Any) -> LoggedRecord:
    values: dict[str, Any] = {
        "document_id": "d",
        "topic": "t",
        "partition": 0,
        "topic_id": "i",
        "record_offset": offset,
        "op": "upsert",
        "version": version,
        "record_version": offset,
        "is_redriven": False,
        "content_sha256": b"%d" % (version or 0),
        "description": json.dumps(SAID),
        "expires_at_ms": None,
        "was_dead_letter": False,
        **other,
    }
    return LoggedRecord(**values)


def row(version: int, offset: int | None, **other: Any) -> StoredVersion:
    values: dict[str, Any] = {
        "document_id": "d",
        "document_key": version + 10,
        "version": version,
        "kind": "document",
        "is_head": True,
        "is_visible": True,
        "is_moved": False,
        "is_ended": True,
        "end_reason": None,
        "content_sha256": b"%d" % version,
        "uri": None,
        "title": "D",
        "content_type": "text/plain",
        "metadata": {"n": 1},
        "acl": ["g"],
        "knows_language": True,
        "stated_language": None,
        "is_past_end": False,
        "is_corrected": False,
        "topic": "t",
        "partition": 0,
        "topic_id": "i",
        "record_offset": offset,
        "named_document": "d",
        "named_outcome": "event",
        **other,
    }
    return StoredVersion(**values)


LOST = {"named_document": None, "named_outcome": None}
HIDDEN = {"is_visible": False, "end_reason": "deleted"}
TOMBSTONE = {**HIDDEN, "kind": "tombstone"}


def verdict_of(
    records: list[LoggedRecord], rows: list[StoredVersion], logs: Logs = COMPLETE, **other: Any
) -> Any:
    verdict = judge(Document(document_id="d", records=records, versions=rows, **other), logs)
    return verdict.kind if isinstance(verdict, Finding) else verdict


CASES: dict[str, tuple[list[LoggedRecord], list[StoredVersion], Any]] = {
    "equal": ([record(1, 0), record(2, 1)], [row(2, 1)], None),
    "an older record comes later": ([record(2, 0), record(1, 1)], [row(2, 0)], None),
    "no row": ([record(1, 0)], [], FindingKind.MISSING),
    "hidden": ([record(1, 0)], [row(1, 0, **HIDDEN)], FindingKind.MISSING),
    "a tombstone of an older version": ([record(2, 1)], [row(1, 0, **TOMBSTONE)], FindingKind.MISSING),
    "expired": ([record(1, 0)], [row(1, 0, is_visible=False, end_reason="expired")], None),
    "erased": ([record(1, 0)], [row(1, 0, is_visible=False, end_reason="erased")], None),
    "expired by nothing": (
        [record(1, 0)], [row(1, 0, is_visible=False, end_reason="expired", is_ended=False)], FindingKind.MISSING,
    ),
    "expired, then changed": (
        [record(1, 0), record(2, 1)], [row(1, 0, is_visible=False, end_reason="expired")], FindingKind.MISSING,
    ),
    "stale": ([record(1, 0), record(2, 1)], [row(1, 0)], FindingKind.STALE),
    "newer": ([record(1, 0)], [row(3, 0)], FindingKind.NEWER),
    "two versions": ([record(2, 1)], [row(2, 1), row(1, 0, is_head=False)], FindingKind.DUPLICATE),
    "content": ([record(1, 0)], [row(1, 0, content_sha256=b"x")], FindingKind.WRONG_CONTENT),
    "metadata": ([record(1, 0)], [row(1, 0, metadata={})], FindingKind.WRONG_METADATA),
    "a number's form": ([record(1, 0)], [row(1, 0, metadata={"n": 1.0})], None),
    "language": ([record(1, 0)], [row(1, 0, stated_language="de")], FindingKind.WRONG_METADATA),
    "language of before": (
        [record(1, 0)], [row(1, 0, stated_language="de", knows_language=False)], None,
    ),
    "deleted by an event": ([record(1, 0), record(2, 1, op="delete")], [row(2, 1, **TOMBSTONE)], None),
    "deleted, and visible": ([record(1, 0), record(2, 1, op="delete")], [row(1, 0)], FindingKind.EXTRA),
    "deleted without a version": (
        [record(1, 0), record(None, 1, op="delete")], [row(1, 0)], FindingKind.EXTRA,
    ),
    "deleted, then written again": ([record(None, 0, op="delete"), record(1, 1)], [row(1, 1)], None),
    "only deletes": ([record(None, 0, op="delete")], [row(-1, 0, **TOMBSTONE)], None),
    "no record, the place is another's": ([], [row(1, 0, named_document="other")], FindingKind.EXTRA),
    "no record, no place": ([], [row(1, None, **LOST)], FindingKind.EXTRA),
    "no record, beyond the position": ([], [row(1, 200, **LOST)], FindingKind.EXTRA),
    "no record, no head": ([], [], None),
    "corrected by a person": ([record(1, 0)], [row(3, 0, is_corrected=True)], NotJudged.CORRECTED),
    "no record, past its end": ([], [row(1, None, is_past_end=True, **LOST)], None),
    "moved": ([record(2, 1)], [row(1, 0, is_moved=True)], NotJudged.MOVED),
    "a dead letter": ([record(1, 0), record(2, 1, was_dead_letter=True)], [row(1, 0)], None),
    "a dead letter that was used later": (
        [record(1, 0), record(2, 1, was_dead_letter=True)], [row(2, 1)], None,
    ),
    "a dead letter does not hide a fault": (
        [record(1, 0), record(2, 1, was_dead_letter=True)], [row(3, 1)], FindingKind.NEWER,
    ),
    "of an earlier topic": ([record(1, 0)], [row(5, 9, topic_id="old", **LOST)], NotJudged.RECORD_NOT_IN_LOG),
    "deleted in an earlier topic": (
        [record(1, 0)], [row(5, 9, topic_id="old", **LOST, **TOMBSTONE)], NotJudged.RECORD_NOT_IN_LOG,
    ),
    "of a topic that is not read": ([], [row(5, 9, topic="u", **LOST)], NotJudged.RECORD_NOT_IN_LOG),
    "decoded otherwise now": (
        [], [row(1, 0, named_document=None, named_outcome="dead_letter")], NotJudged.DECODED_OTHERWISE,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("records", "rows", "expected"), CASES.values(), ids=CASES)
def test_a_document_is_judged(
    records: list[LoggedRecord], rows: list[StoredVersion], expected: Any
) -> None:
    assert verdict_of(records, rows) == expected


LOSSY_CASES: dict[str, tuple[list[LoggedRecord], list[StoredVersion], Any]] = {
    "its record is gone": ([], [row(1, 9, **LOST)], NotJudged.RECORD_NOT_IN_LOG),
    "a newer record is gone": ([record(1, 60)], [row(2, 9, **LOST)], NotJudged.RECORD_NOT_IN_LOG),
    "the delete is gone": ([record(1, 60)], [row(1, 9, **LOST, **TOMBSTONE)], NotJudged.RECORD_NOT_IN_LOG),
    "an older one is visible": ([record(3, 60)], [row(2, 9, **LOST)], FindingKind.STALE),
    "there is no row": ([record(3, 60)], [], FindingKind.MISSING),
    "the first record of the version is gone": (
        [record(1, 60, content_sha256=b"other")], [row(1, 9, **LOST)], NotJudged.RECORD_NOT_IN_LOG,
    ),
    "and says the same": ([record(1, 60)], [row(1, 9, **LOST)], None),
}  # fmt: skip


@pytest.mark.parametrize(("records", "rows", "expected"), LOSSY_CASES.values(), ids=LOSSY_CASES)
def test_what_a_log_has_lost_proves_nothing(
    records: list[LoggedRecord], rows: list[StoredVersion], expected: Any
) -> None:
    assert verdict_of(records, rows, LOSSY) == expected


def test_a_compacted_log_has_the_newest_record_of_every_document() -> None:
    """Without one, the document was deleted, and the tombstone is gone, too."""
    compacted = Logs([replace(PARTITION, is_complete=False, is_compacted=True)])
    assert verdict_of([], [row(1, 9, **LOST)], compacted) is FindingKind.EXTRA


def listed(version: int | None, content: bytes | None) -> LoggedRecord:
    return record(version, 0, topic="", topic_id="", content_sha256=content, description=None)


INVENTORY: dict[str, tuple[LoggedRecord | None, list[StoredVersion], Any]] = {
    "equal": (listed(1, b"1"), [row(1, 9, **LOST)], None),
    "not in it": (None, [row(1, 9, **LOST)], FindingKind.EXTRA),
    "missing": (listed(1, b"1"), [], FindingKind.MISSING),
    "expired": (listed(1, b"1"), [row(1, 9, is_visible=False, end_reason="expired")], None),
    "stale": (listed(2, b"2"), [row(1, 9, **LOST)], FindingKind.STALE),
    "changed since": (listed(1, b"1"), [row(2, 9, **LOST)], NotJudged.RECORD_NOT_IN_LOG),
    "deleted since": (listed(1, None), [row(2, 9, **TOMBSTONE)], NotJudged.RECORD_NOT_IN_LOG),
    "content": (listed(1, b"other"), [row(1, 9, **LOST)], FindingKind.WRONG_CONTENT),
    "without version": (listed(None, b"1"), [row(1, 9, **LOST)], None),
    "without version, content": (listed(None, b"x"), [row(1, 9, **LOST)], FindingKind.WRONG_CONTENT),
}  # fmt: skip


@pytest.mark.parametrize(("inventory", "rows", "expected"), INVENTORY.values(), ids=INVENTORY)
def test_an_inventory_stands_in_for_what_the_log_has_lost(
    inventory: LoggedRecord | None, rows: list[StoredVersion], expected: Any
) -> None:
    assert verdict_of([], rows, LOSSY, inventory=inventory, has_inventory=True) == expected


def test_a_newer_record_counts_more_than_the_inventory() -> None:
    found = verdict_of(
        [record(3, 60)], [row(3, 60)], LOSSY, inventory=listed(1, b"1"), has_inventory=True
    )
    assert found is None


def test_a_repair_reads_from_the_oldest_record_that_decides() -> None:
    records = [
        record(1, 3),
        record(None, 5, op="delete"),
        record(2, 7),
        record(2, 9),
        record(2, 4, partition=1),
    ]
    document = Document(document_id="d", records=records, versions=[])
    assert read_again_from(document) == (("t", 0, "i", 5), ("t", 1, "i", 4))
