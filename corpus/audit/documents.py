"""Compare a page of documents with their records, and with their chunks and vectors: one snapshot, so nothing moves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg.rows import class_row, scalar_row

from corpus.audit.audit import (
    MIN_COSINE,
    AuditCursor,
    Finding,
    FindingKind,
    NotJudged,
    counted,
)
from corpus.audit.evidence import (
    Document,
    LoggedRecord,
    StoredVersion,
    floor_of,
    read_again_from,
)
from corpus.audit.store import AuditRow, one_snapshot, write_findings
from corpus.audit.verdict import Verdict, judge
from corpus.database import Connection, fetch_all, fetch_one

PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFault:
    """A row of the query `audit_chunks_of`."""

    kind: str
    document_id: str
    document_key: int | None
    chunk_id: int | None
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResult:
    """What comparing a page gave."""

    last: str  # id of its last document; "": it was the last page
    documents: int
    chunks: int
    findings: list[Finding]
    not_judged: dict[str, int]  # by reason


def compare_page(
    connection: Connection,
    row: AuditRow,
    after: str,
    *,
    space_id: int | None,
    fraction: float,
    limit: int = PAGE,
) -> PageResult:
    """Compare the documents after an id.

    Args:
        connection: to PostgreSQL.
        row: the audit.
        after: id of the last document of the page before.
        space_id: that the source's vectors belong to; None: nothing was ever embedded.
        fraction: of the documents that are compared; those that a record of the audit names are always.
        limit: documents of the page.
    """
    values = {
        "source": row.source,
        "audit": row.audit,
        "after": after,
        "fraction": fraction,
        "limit": limit,
    }
    with one_snapshot(connection):
        ids = fetch_all(connection, scalar_row, "audit_page", values)
        documents = _documents(connection, row, ids)
        faults = _faults(connection, row, ids, space_id)
        chunks = _chunk_count(connection, row, ids)
    findings, not_judged = _judge(row, documents, faults)
    return PageResult(
        last=ids[-1] if len(ids) == limit else "",
        documents=len(ids),
        chunks=chunks,
        findings=findings,
        not_judged=not_judged,
    )


def next_page(
    connection: Connection,
    cursor: AuditCursor,
    row: AuditRow,
    *,
    space_id: int | None,
    fraction: float,
) -> AuditCursor:
    """Compare a page, keep what was found, and move on; `after` is empty once there is no page left."""
    page = compare_page(
        connection, row, cursor.after, space_id=space_id, fraction=fraction
    )
    write_findings(connection, row.audit, page.findings)
    counts = counted(
        cursor.counts, documents=page.documents, chunks=page.chunks, **page.not_judged
    )
    return replace(cursor, after=page.last, cost=page.documents, counts=counts)


# ── what is known of them ───────────────────────────────────────────────────────────────────────────────────────────


def _documents(
    connection: Connection, row: AuditRow, ids: Sequence[str]
) -> list[Document]:
    values = {
        "source": row.source,
        "audit": row.audit,
        "document_ids": list(ids),
        "last_batch": row.last_batch,
    }
    records: dict[str, list[LoggedRecord]] = defaultdict(list)
    inventory: dict[str, LoggedRecord] = {}
    for record in fetch_all(
        connection, class_row(LoggedRecord), "audit_records_of", values
    ):
        if record.topic:
            records[record.document_id].append(record)
        else:
            inventory[record.document_id] = record
    versions: dict[str, list[StoredVersion]] = defaultdict(list)
    for version in fetch_all(
        connection, class_row(StoredVersion), "audit_versions_of", values
    ):
        versions[version.document_id].append(version)
    return [
        Document(
            document_id=document_id,
            records=records[document_id],
            versions=versions[document_id],
            inventory=inventory.get(document_id),
            has_inventory=row.has_inventory,
        )
        for document_id in ids
    ]


def _faults(
    connection: Connection, row: AuditRow, ids: Sequence[str], space_id: int | None
) -> dict[str, list[ChunkFault]]:
    values = {
        "source": row.source,
        "document_ids": list(ids),
        "language": row.readable().text_search_language,
        "space_id": space_id,
        "max_distance": 1 - MIN_COSINE,
    }
    faults: dict[str, list[ChunkFault]] = defaultdict(list)
    for fault in fetch_all(
        connection, class_row(ChunkFault), "audit_chunks_of", values
    ):
        faults[fault.document_id].append(fault)
    return faults


def _chunk_count(connection: Connection, row: AuditRow, ids: Sequence[str]) -> int:
    values = {"source": row.source, "document_ids": list(ids)}
    count = fetch_one(connection, scalar_row, "audit_chunk_count", values)
    return int(count or 0)


# ── judging ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _judge(
    row: AuditRow,
    documents: Sequence[Document],
    faults: Mapping[str, list[ChunkFault]],
) -> tuple[list[Finding], dict[str, int]]:
    """What was found, and why documents were not judged."""
    logs = row.logs
    findings: list[Finding] = []
    not_judged: dict[str, int] = {}
    for document in documents:
        verdict: Verdict = judge(document, logs)
        if isinstance(verdict, Finding) and _is_read_again(row, verdict):
            verdict = NotJudged.MOVED
        if isinstance(verdict, NotJudged):
            not_judged = counted(not_judged, **{str(verdict): 1})
        if isinstance(verdict, Finding):
            # What is wrong with its chunks follows from it.
            findings.append(verdict)
        else:
            found = _chunk_findings(document, faults.get(document.document_id, []))
            findings += [one for one in found if not _is_read_again(row, one)]
    return findings, not_judged


def _is_read_again(row: AuditRow, finding: Finding) -> bool:
    """Whether records of the document are on their way again."""
    starts = {
        (one.topic, one.partition): one.again_from
        for one in row.partitions
        if one.again_from is not None
    }
    return any(
        offset >= starts.get((topic, partition), offset + 1)
        for topic, partition, _, offset in finding.records
    )


def _chunk_findings(document: Document, faults: Sequence[ChunkFault]) -> list[Finding]:
    lacking = [fault for fault in faults if fault.chunk_id is None]
    records = read_again_from(document)
    floor = floor_of(document)
    return [
        Finding(
            kind=FindingKind(fault.kind),
            document_id=fault.document_id,
            subject="" if fault.chunk_id is None else f"chunk {fault.chunk_id}",
            chunk_id=fault.chunk_id,
            document_key=fault.document_key,
            expected=_EXPECTED[FindingKind(fault.kind)],
            actual=fault.detail or "",
            records=records,
            floor=floor,
        )
        for fault in faults
        if fault.chunk_id is not None or fault is lacking[0]
    ]


_EXPECTED = {
    FindingKind.CHUNK_WITHOUT_DOCUMENT: "a visible document that has it",
    FindingKind.DOCUMENT_WITHOUT_CHUNKS: "every chunk that it lists visible",
    FindingKind.TEXT_HASH_DIFFERS: "the hash of its text",
    FindingKind.WRONG_SPACE: "the space of its source",
    FindingKind.VECTOR_OF_OTHER_TEXT: "the vector of its text",
    FindingKind.SEARCH_TEXT_DIFFERS: "the terms of its text",
}
