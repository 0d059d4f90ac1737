"""Parameters for every named query, as the large source of the synthetic corpus takes them (`large_corpus`).

What is asked is about one batch, a few documents, a page: the corpus around it grows, and the question does not. What
has no value here gets one by its type.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import ClientCursor

from corpus.database import Connection
from corpus.sql import queries, query

_NOW = datetime.now(UTC)
_LONG_AGO = _NOW - timedelta(days=500)
_HASH = bytes(32)
_NEWEST = 9_000_000  # a batch after all that are there
_NUMBER, _FRACTION, _TEXT = 0, 0.0, "text"
_BY_TYPE: dict[str, Any] = {
    "boolean": False,
    "bytea": b"",
    "smallint": _NUMBER,
    "integer": _NUMBER,
    "bigint": _NUMBER,
    "double precision": _FRACTION,
    "json": "{}",
    "jsonb": "{}",
    "timestamp with time zone": _NOW,
    "uuid": "00000000-0000-0000-0000-000000000001",
    "vector": "[1,0,0]",
}
# Those of the first documents: they are there at every size.
VALUES: dict[str, Any] = {
    "source": "large",
    "sources": ["large", "small-1"],
    "behind": ["large"],
    "batch": 27,
    "batches": [27, 27],
    "after": 27,
    "upto": [29, 29],
    "cursor": 27,
    "last_batch": 30,
    "document_id": "doc-9",
    "document_ids": [f"doc-{n}" for n in range(20)],
    "document_key": 1,
    "document_keys": [1, 2, 3],
    "head_key": 1,
    "chunk_id": 1,
    "chunk_ids": [1, 2, 3],
    "keys": [1, 2, 3],
    "dead_letter": 1,
    "dead_letters": [1, 2],
    "unread": [1],
    "unread_ids": ["doc-1"],
    "spellings": [b"doc-1"],
    "hashes": [_HASH],
    "topic": "topic",
    "topics": ["topic"],
    "topic_id": "id",
    "topic_ids": ["id"],
    "read_id": "id",
    "partitions": [0],
    "offset": 273,
    "offsets": [273],
    "record_offset": 273,
    "first_offset": 270,
    "first_offsets": [270],
    "next_offset": 280,
    "next_offsets": [280],
    "limit": 50,
    "most": 50,
    "audit": 1,
    "purge": 1,
    "backfill": 1,
    "space_id": 1,
    "subscriber": "team",
    "subscribers": ["team"],
    "version": 3,
    "old_version": 3,
    "new_version": 2,
    "own_version": 9,
    "record_version": 9,
    "fraction": 1.0,
    "language": "english",
    "min_unknown_ratio": None,
    "max_kept_ratio": None,
    "min_kept_ratio": 0.1,
    "max_unknown_ratio": 0.05,
    "expire_after": 2_592_000.0,
    "by_age": True,
    "by_origin": True,
    "history_from": _LONG_AGO,
    "versions_until": _LONG_AGO,
    "embeddings_until": _LONG_AGO,
    "dead_letters_until": _LONG_AGO,
    "open_dead_letters_until": _LONG_AGO,
    "notices_until": _LONG_AGO,
    "reports_until": _LONG_AGO,
    "audits_until": _LONG_AGO,
    "since": _NOW - timedelta(hours=1),
    "as_of": None,
    "metadata": '{"n": 7}',
    "said": '[{"document_id": "doc-9", "version": 4, "record_offset": 99999999999, "acl": ["group-1"]}]',
    "answers": ["unchanged"] * 3,
    "etags": [None] * 3,
    "text": "w9",
    "mode": "hybrid",
    "k": 10,
    "kind": "ingest",
    "state": "published",
    "scope": "full",
    "decision": "keep",
    "pipeline": "p",
    "fingerprint": "fingerprint",
    "space_fingerprint": "fingerprint",
    "vectors": "full",
    "status": "pass",
    "snapshotted_at_ms": 1.0,
    "seconds": 5.0,
    "every": True,
    "lost_after": 60.0,
    "entries": "[]",
    "team": None,
    "reason": "reason",
    "pid": -1,
}
# Where a name means something else.
OVERRIDES: dict[str, dict[str, Any]] = {
    "audit_page": {"after": ""},
    "audit_sample_texts": {"after": ""},
    "audit_sample_chunks": {"after": ""},
    "backfill_moved": {"gone": 0},
    "create_source": {"source": "new"},
    "decide": {"expire_after": 1.0},
    "end_backfill": {"state": "done"},
    "erased_names": {"names": [_HASH]},
    "findings_of": {"state": None},
    "freshness_expired": {"after": _NEWEST},
    "insert_ledger": {"batch": _NEWEST},
    "limit_waiting": {"lock_ms": "10", "statement_ms": "600000"},
    "list_audits": {"audit": None},
    "list_dead_letters": {"reason": None, "state": None, "dead_letters": None},
    "list_documents": {"document_id": None},
    "list_erasures": {"erasure": None},
    "list_parts": {"document_id": None, "unread": False},
    "list_purges": {"purge": None},
    "metrics_dropped": {"after": [27, 27]},
    "metrics_ledger": {
        "sources": ["large"],
        "batches": [_NEWEST],
    },  # of small ones nothing is counted yet
    "metrics_notes": {"after": [27, 27]},
    "note_answers": {"last_modified": [None] * 3},
    "open_corrected": {"batch": _NEWEST},
    "order_backfill": {"state": "paused"},
    "purge_vectors": {"after": ""},
    "record_freshness": {"error": None},
    "settle": {"as_of": _NOW - timedelta(days=1)},
    "settle_dead_letters": {"state": "discarded"},
    "space_indexes": {},
    "texts_embedded_after": {"batch": _NEWEST},
    "write_finding": {"records": "[]"},
    "write_team": {"team": "other"},
}
# What cannot be explained.
_COMMANDS = ("COPY", "CREATE", "ANALYZE", "DO", "REVOKE", "VACUUM")
_LEFT_OUT = {
    # Of the server, or of the session.
    "disown_superusers", "end_session", "ensure_login", "keep_advisory_locks", "let_read_for_others", "log_access",
    "migrations_applied", "pin_settings", "read_as", "record_migration", "register_space", "secure_schema",
    "secure_table", "set_character_type", "signing_key", "try_lock_session", "unpinned_settings",
    "wait_to_lock_session", "build_small_index", "set_build_memory", "limit_lost_client", "cancel_upkeep",
    # Of rows that are written beside: those of one page, or of one order.
    "add_backfill_records", "backfill_published", "erase_chunks", "erase_dead_letters", "insert_audit_records",
    "insert_embeddings", "insert_outcomes", "insert_range", "keep_brought_embeddings", "open_corrected",
    "remember_erased",
}  # fmt: skip


def explainable() -> list[str]:
    """Names of the queries that are about rows."""
    return sorted(
        name
        for name, text in queries().items()
        if not text.startswith(_COMMANDS) and name not in _LEFT_OUT
    )


def values_of(connection: Connection, name: str) -> Mapping[str, Any]:
    """Parameters of a query."""
    known = VALUES | OVERRIDES.get(name, {})
    return {
        parameter: known[parameter] if parameter in known else _by_type(kind)
        for parameter, kind in _types_of(connection, name).items()
    }


def _by_type(kind: str) -> Any:
    return [] if kind.endswith("[]") else _BY_TYPE.get(kind, _TEXT)


_TYPES: dict[str, dict[str, str]] = {}  # of each query that was looked at


def _types_of(connection: Connection, name: str) -> dict[str, str]:
    """The type of each parameter, as PostgreSQL reads the query."""
    if name not in _TYPES:
        _TYPES[name] = _described(connection, name)
    return _TYPES[name]


def _described(connection: Connection, name: str) -> dict[str, str]:
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    text = re.sub(r"%\((\w+)\)s", number, query(name)).replace("%%", "%")
    connection.execute(f"PREPARE explained AS {text}".encode())
    kinds = connection.execute(
        "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'explained'"
    ).fetchone()
    connection.execute("DEALLOCATE explained")
    assert kinds is not None
    return dict(zip(numbers, kinds[0], strict=True))


# Queries of a publishing transaction read these tables. Of 20 documents of the large source, 19 have one new chunk.
_INCOMING = """
INSERT INTO incoming_document (document_id, topic, partition, record_offset, record_at, op, version, first_record,
    written, metadata, content_sha256, cleaned_sha256, raw_sha256, received_characters, kept_characters, dropped,
    tokens, unknown_tokens, unknown_characters, language, notes)
SELECT 'doc-' || i * 7, 'topic', 0, 900000000 + i, now(), CASE i WHEN 3 THEN 'delete' ELSE 'upsert' END, 9,
       '[1, "topic", 0, 1]', '{"topic/0/id": [1, 1]}', '{}', sha256('q'), sha256('q'), sha256('q'), 9, 9, '{}', 1, 0,
       0, 'english', '{}'
FROM generate_series(1, 20) i;
INSERT INTO incoming_event (topic, partition, record_offset, outcome, document_id, record_at, op, version)
SELECT topic, partition, record_offset, 'event', document_id, record_at, op, version FROM incoming_document;
INSERT INTO incoming_chunk (document_id, ordinal, start, text_sha256, heading, token_count, truncated, text)
SELECT i.document_id, row_number() OVER (PARTITION BY c.document_id), 0, c.text_sha256, '', 10, false, c.text
FROM incoming_document i
JOIN freshet.chunk c ON c.source = 'large' AND c.document_id = i.document_id AND c.visible_to IS NULL
WHERE c.chunk_id % 2 = 0;
"""
_BEFORE_JUDGEMENT = ("decide", "count_corrected", "other_versions", "drop_erased")
_OPENING = ("open_documents", "open_tombstones", "open_renewed", "open_ended")


def statements_before(connection: Connection, name: str) -> str:
    """What a transaction begins with in which the query is run."""
    if "incoming_" not in query(name):
        return ""
    steps: list[str] = []
    if name not in _BEFORE_JUDGEMENT:
        steps.append("decide")
    if name in _OPENING:
        steps.append("close_heads")
    cursor = ClientCursor(connection)
    judged = [cursor.mogrify(query(step), values_of(connection, step)) for step in steps]
    return ";".join([_INCOMING, *judged])
