"""What is too dear for every document is tried on a sample: search for chunks, embed them, clean and split again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from psycopg.rows import class_row, scalar_row

from corpus.answer.search import HitRow
from corpus.audit.audit import (
    MIN_COSINE,
    AuditCursor,
    Finding,
    FindingKind,
    NotJudged,
    counted,
)
from corpus.audit.store import AuditRow, write_findings
from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.database import Connection, fetch_all, fetch_one
from corpus.embed.embedder import Embedder
from corpus.embed.tokenizer import ChunkTokenizer
from corpus.preparation import preparation_rules
from corpus.source import SourceSpec
from corpus.split.splitter import TooManyChunks, split

PAGE = 50
_HITS = 20
_MANY_HITS = 1_000
_WORDS = 4
_MAX_CHARACTERS = 2_000
_SAME = 1 - 1e-6  # score of a vector that is the same


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledChunk:
    """A visible chunk of a sample (query `audit_sample_chunks`)."""

    chunk_id: int
    document_id: str
    document_key: int
    text: str
    headings: str | None
    truncated: bool
    space_id: int
    embedding: Any
    context: str
    language: str
    topic: str | None
    partition: int | None
    record_offset: int | None
    topic_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledDocument:
    """A visible document of a sample (query `audit_sample_texts`)."""

    document_id: str
    document_key: int
    pipeline: str
    topic: str | None
    partition: int | None
    record_offset: int | None
    content_type: str | None
    title: str | None
    content_sha256: bytes | None
    chunk_starts: list[int]
    chunk_headings: list[str]
    hashes: list[bytes] | None
    is_moved: bool
    topic_id: str | None


# A content, and whether Kafka has the record that a document names.
Content = str | bytes
ContentOf = Callable[[SampledDocument], Content | None]
Clean = Callable[
    [Sequence[tuple[Content, str | None]]],
    Sequence[CleanedDocument | CleaningFailure],
]


def fraction_of(documents: int, wanted: int) -> float:
    """The share of documents that gives about so many."""
    return min(1.0, wanted / max(documents, 1))


# ── search ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def search_next(
    connection: Connection, cursor: AuditCursor, row: AuditRow, fraction: float
) -> AuditCursor:
    """Search for the next chunks of the sample by their own vectors and their own words."""
    chunks = _chunks(connection, cursor, row, fraction)
    findings: list[Finding] = []
    not_tried = 0
    for chunk in chunks:
        for is_found, mode in (
            (_found_by_vector(connection, row.source, chunk), "vector"),
            (_found_by_words(connection, row.source, chunk), "text"),
        ):
            not_tried += is_found is None
            if is_found is False:
                findings.append(_not_found(chunk, mode))
    # A chunk that was withdrawn meanwhile is rightly not found.
    visible = _visible(connection, findings)
    kept = [finding for finding in findings if finding.chunk_id in visible]
    write_findings(connection, row.audit, kept)
    counts = counted(cursor.counts, searched=len(chunks), not_tried=not_tried)
    return _moved(cursor, chunks, counts)


def _found_by_vector(
    connection: Connection, source: str, chunk: SampledChunk
) -> bool | None:
    """Whether its own vector finds a chunk; None: too many others have the same."""
    values = {"mode": "vector", "query": chunk.embedding, "text": None}
    hits = _search(connection, source, chunk, values, k=_HITS)
    if _is_among(chunk, hits):
        return True
    # So deep that an approximate index misses nothing.
    hits = _search(connection, source, chunk, values, k=_MANY_HITS)
    if _is_among(chunk, hits):
        return True
    same = [hit for hit in hits if hit.score >= _SAME]
    return None if len(same) == _MANY_HITS else False


def _found_by_words(
    connection: Connection, source: str, chunk: SampledChunk
) -> bool | None:
    """Whether its rarest words find a chunk; None: it has none, or too many others have them."""
    text = chunk.text[:_MAX_CHARACTERS]
    words = sorted(set(text.split()), key=_commonness)
    # The rarest alone finds it fast, unless too many chunks have it.
    for question in (words[:1], words[:_WORDS]):
        asked = {"language": chunk.language, "text": " ".join(question)}
        if not fetch_one(connection, scalar_row, "search_terms_of", asked):
            continue
        values = {"mode": "text", "query": None, "text": asked["text"]}
        hits = _search(connection, source, chunk, values, k=_MANY_HITS)
        if _is_among(chunk, hits):
            return True
        if len(hits) < _MANY_HITS:
            return False
    return None


def _commonness(word: str) -> tuple[bool, int, str]:
    """Words with digits are rare, and so are long ones: they tell most, and are found soonest."""
    has_digit = any(map(str.isdigit, word))
    return (not has_digit, -len(word), word)


def _search(
    connection: Connection,
    source: str,
    chunk: SampledChunk,
    values: dict[str, Any],
    *,
    k: int,
) -> list[HitRow]:
    """As `corpus.answer.search` does, with a vector that is known."""
    parameters = {
        **values,
        "k": k,
        "space_id": chunk.space_id,
        "sources": [source],
        "metadata": None,
        "as_of": None,
        "max_characters": 1,
    }
    return fetch_all(connection, class_row(HitRow), "search", parameters)


def _is_among(chunk: SampledChunk, hits: Sequence[HitRow]) -> bool:
    return any(hit.chunk_id == chunk.chunk_id for hit in hits)


def _not_found(chunk: SampledChunk, mode: str) -> Finding:
    return Finding(
        kind=FindingKind.NOT_FOUND_BY_SEARCH,
        document_id=chunk.document_id,
        subject=f"chunk {chunk.chunk_id} by {mode}",
        chunk_id=chunk.chunk_id,
        document_key=chunk.document_key,
        expected="found by its own vector and words",
        actual=f"mode {mode} does not find it",
    )


# ── vectors ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def embed_next(
    connection: Connection,
    cursor: AuditCursor,
    row: AuditRow,
    fraction: float,
    *,
    embedder: Embedder,
    tokenizer: ChunkTokenizer,
) -> AuditCursor:
    """Embed the next chunks of the sample again, and compare their vectors with those that they have."""
    chunks = _chunks(connection, cursor, row, fraction)
    tried = [chunk for chunk in chunks if _is_embedded_alone(chunk)]
    findings: list[Finding] = []
    if tried:
        tokens = [tokenizer.encode(chunk.text)[0] for chunk in tried]
        vectors = embedder.embed_tokens(tokens)
        for chunk, vector in zip(tried, vectors, strict=True):
            cosine = _cosine(vector, chunk.embedding)
            if cosine < MIN_COSINE:
                findings.append(_other_vector(chunk, cosine, row))
    visible = _visible(connection, findings)
    kept = [finding for finding in findings if finding.chunk_id in visible]
    write_findings(connection, row.audit, kept)
    skipped = len(chunks) - len(tried)
    counts = counted(cursor.counts, embedded_again=len(tried), not_tried=skipped)
    return _moved(cursor, chunks, counts)


def _is_embedded_alone(chunk: SampledChunk) -> bool:
    return chunk.context == "none" and not chunk.truncated


def _cosine(one: Any, other: Any) -> float:
    first = np.asarray(one, dtype=np.float64)
    second = np.asarray(other.to_numpy(), dtype=np.float64)
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / max(float(lengths), 1e-12))


def _other_vector(chunk: SampledChunk, cosine: float, row: AuditRow) -> Finding:
    return Finding(
        kind=FindingKind.STORED_VECTOR_OF_OTHER_TEXT,
        document_id=chunk.document_id,
        subject=f"chunk {chunk.chunk_id}",
        chunk_id=chunk.chunk_id,
        document_key=chunk.document_key,
        expected=f"cosine to its text embedded again >= {MIN_COSINE}",
        actual=f"{cosine:.3f}",
        records=_record_of(chunk, row),
    )


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def split_next(
    connection: Connection,
    cursor: AuditCursor,
    row: AuditRow,
    fraction: float,
    *,
    content_of: ContentOf,
    clean: Clean,
    tokenizer: ChunkTokenizer,
) -> AuditCursor:
    """Clean and split the next documents of the sample again, and compare their chunks."""
    spec = row.readable()
    documents = _sampled(connection, cursor, row, fraction)
    usable = [document for document in documents if _is_comparable(document, row)]
    tried = _with_contents(usable, content_of)
    raw = [(content, document.content_type) for document, content in tried]
    compared = [
        _compare_chunks(document, cleaned, tokenizer, spec, row)
        for (document, _), cleaned in zip(tried, clean(raw), strict=True)
    ]
    findings = [finding for finding in compared if finding is not None]
    write_findings(connection, row.audit, findings)
    left_out = {
        str(NotJudged.PREPARED_OTHERWISE): len(documents) - len(usable),
        str(NotJudged.NOT_TRIED): len(usable) - len(tried),
    }
    counts = counted(cursor.counts, split_again=len(tried), **left_out)
    return replace(cursor, after=_last(documents), cost=len(documents), counts=counts)


def _with_contents(
    documents: Sequence[SampledDocument], content_of: ContentOf
) -> list[tuple[SampledDocument, Content]]:
    """The documents whose record Kafka gives, with their contents."""
    found: list[tuple[SampledDocument, Content]] = []
    for document in documents:
        content = content_of(document)
        if content is not None:
            found.append((document, content))
    return found


def _last(page: Sequence[SampledDocument] | Sequence[SampledChunk]) -> str:
    """Where the next page begins; empty: there is none."""
    return page[-1].document_id if len(page) == PAGE else ""


def _is_comparable(document: SampledDocument, row: AuditRow) -> bool:
    """Whether a document was prepared as it would be now, and before the audit began."""
    spec = row.readable()
    rules = preparation_rules(spec.pipeline, row.prepare_again)
    current = rules.of(document.content_type).current
    return document.pipeline == current and not document.is_moved


def _compare_chunks(
    document: SampledDocument,
    cleaned: CleanedDocument | CleaningFailure,
    tokenizer: ChunkTokenizer,
    spec: SourceSpec,
    row: AuditRow,
) -> Finding | None:
    if isinstance(cleaned, CleaningFailure):
        return None  # a time limit; it was cleaned once
    try:
        chunks = split(
            cleaned,
            tokenizer,
            spec.pipeline,
            context=spec.context,
            title=document.title or "",
        )
    except TooManyChunks:
        return None
    expected = [(chunk.sha256(), chunk.start, chunk.heading or "") for chunk in chunks]
    hashes = document.hashes or []
    places = zip(document.chunk_starts, document.chunk_headings, strict=True)
    is_whole = len(hashes) == len(document.chunk_starts)
    actual = [(digest, *place) for digest, place in zip(hashes, places, strict=False)]
    if is_whole and actual == expected:
        return None
    return Finding(
        kind=FindingKind.CHUNKS_DIFFER,
        document_id=document.document_id,
        document_key=document.document_key,
        expected=f"{len(expected)} chunks, as its record is split",
        actual=f"{len(hashes)} chunks, {len(set(actual) & set(expected))} of them the same",
        records=_record_of(document, row),
    )


def _record_of(
    one: SampledDocument | SampledChunk, row: AuditRow
) -> tuple[tuple[str, int, str, int], ...]:
    """The record that a document names, if its log is the one that is audited."""
    offset = one.record_offset
    for known in row.partitions:
        is_same = (one.topic, one.partition) == (known.topic, known.partition)
        is_of_log = one.topic_id in (None, known.topic_id)
        if is_same and is_of_log and offset is not None:
            return ((known.topic, known.partition, known.topic_id, offset),)
    return ()


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parameters(cursor: AuditCursor, row: AuditRow, fraction: float) -> dict[str, Any]:
    return {
        "source": row.source,
        "audit": row.audit,
        "after": cursor.after,
        "fraction": fraction,
        "limit": PAGE,
        "last_batch": row.last_batch,
        "language": row.readable().text_search_language,
    }


def _chunks(
    connection: Connection, cursor: AuditCursor, row: AuditRow, fraction: float
) -> list[SampledChunk]:
    values = _parameters(cursor, row, fraction)
    factory = class_row(SampledChunk)
    name = "audit_sample_chunks"
    return fetch_all(connection, factory, name, values)


def _sampled(
    connection: Connection, cursor: AuditCursor, row: AuditRow, fraction: float
) -> list[SampledDocument]:
    values = _parameters(cursor, row, fraction)
    factory = class_row(SampledDocument)
    name = "audit_sample_texts"
    return fetch_all(connection, factory, name, values)


def _visible(connection: Connection, findings: Sequence[Finding]) -> set[int]:
    values = {"chunk_ids": [finding.chunk_id for finding in findings]}
    return set(fetch_all(connection, scalar_row, "visible_chunks_among", values))


def _moved(
    cursor: AuditCursor, chunks: Sequence[SampledChunk], counts: dict[str, int]
) -> AuditCursor:
    return replace(cursor, after=_last(chunks), cost=len(chunks), counts=counts)
