"""A synthetic corpus that grows: one large source with a long history beside sources that stay small.

Rows are copied from series of numbers, not published, so that their plans can be looked at where publishing them would
take hours: heads and versions before them, open and closed chunks, a ledger, dead letters, reports and notices. Vectors
are of three dimensions and in no index. What the parameters of `PARAMETERS` name is there at every size.
"""

from dataclasses import dataclass

import psycopg

from corpus.database import Connection

SMALL_DOCUMENTS = 4  # of each small source
SMALL_BATCHES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the corpus has of each document of the large source.

    Attributes:
        chunks: of a document version.
        batches: in the ledger, for each document.
        versions: that were replaced, of each document.
        small_sources: beside the large one; they do not grow.
    """

    chunks: int = 2
    batches: int = 1
    versions: int = 2
    small_sources: int = 20


def grow(connection: Connection, shape: Shape, first: int, upto: int) -> None:
    """Add the documents `first` to `upto` (not included) of the large source, and what belongs to them."""
    values = {
        "first": first,
        "last": upto - 1,
        "chunks": shape.chunks,
        "batches": shape.batches,
        "versions": shape.versions,
        "small": shape.small_sources,
        "small_documents": SMALL_DOCUMENTS,
        "small_batches": SMALL_BATCHES,
    }
    statements = (*_FIRST, *_GROWTH) if first == 0 else _GROWTH
    # With literals: the type of a number follows from its place.
    with connection.transaction(), psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SET LOCAL search_path TO freshet, public")
        for statement in statements:
            cursor.execute(statement, values)
    connection.execute("VACUUM (ANALYZE)")


# A document is in the batch of its number; offsets are those of ten records per batch.
_FIRST = (
    """INSERT INTO embedding_space (space_id, fingerprint, model, weights, pooling, prefix, dimensions, normalised,
           token_limit) OVERRIDING SYSTEM VALUE
       VALUES (1, 'fingerprint', 'model', 'weights', 'mean', '', 3, true, 256)""",
    """INSERT INTO source (source, spec, last_published_at)
       SELECT name, jsonb_build_object(
                  'source', name, 'topics', jsonb_build_array('topic'), 'model', 'model',
                  'freshness', jsonb_build_object('expire_after_seconds', 2592000),
                  'retention', jsonb_build_object('history_seconds', 864000, 'notices_seconds', 864000)),
              now()
       FROM (SELECT 'large' UNION ALL SELECT 'small-' || i FROM generate_series(1, %(small)s) i) s (name)""",
    """INSERT INTO source_position (source, cluster_id, topic, topic_id, partition, next_offset, newest_at)
       SELECT source, 'cluster', 'topic', 'id', 0, 0, now() FROM source""",
    """INSERT INTO subscription (subscriber, source, endpoint) SELECT 'team', source, 'endpoint' FROM source""",
    """INSERT INTO delivery (subscriber, source) SELECT 'team', source FROM source""",
    """INSERT INTO access_list (access_id, source, acl) OVERRIDING SYSTEM VALUE
       SELECT i, 'large', ARRAY['group-' || i] FROM generate_series(1, 5) i""",
    """INSERT INTO audit (source, workflow_id, run_id, scope, state, finished_at)
       SELECT 'large', 'w', 'audit-' || i, 'full', 'done', now() FROM generate_series(1, 20) i""",
    """INSERT INTO purge (source, workflow_id, run_id, state, finished_at)
       SELECT 'large', 'w', 'purge-' || i, 'done', now() FROM generate_series(1, 20) i""",
    # Of each small source the same as of the large one, in little.
    """INSERT INTO batch (source, batch, kind, state, records, applied, workflow_id, run_id, staged_at, published_at)
       SELECT 'small-' || i, b, 'ingest', 'published', 10, 10, 'w', 'r', now(), now() - make_interval(days => 50 - b)
       FROM generate_series(1, %(small)s) i, generate_series(1, %(small_batches)s) b""",
    """INSERT INTO batch_range (source, batch, topic, partition, epoch, first_offset, next_offset, records, topic_id)
       SELECT source, batch, 'topic', 0, 0, 10 * batch - 10, 10 * batch, 10, 'id' FROM batch""",
    """INSERT INTO chunk (source, document_id, text_sha256, text, token_count, search_text, space_id, dimensions,
           embedding, visible_from, batch)
       SELECT s, d, sha256(convert_to(s || d || c, 'UTF8')), d || ' text ' || c, 3, to_tsvector('simple', d), 1, 3,
              '[1,0,0]', now() - interval '9 days', 1
       FROM (SELECT 'small-' || i AS s FROM generate_series(1, %(small)s) i) s,
            (SELECT 'doc-' || i AS d FROM generate_series(1, %(small_documents)s) i) d,
            generate_series(1, %(chunks)s) c""",
    """INSERT INTO document (source, document_id, version, kind, is_head, visible_from, pipeline, space_id, chunk_ids,
           chunk_starts, chunk_headings, observed_at, batch, topic, partition, record_offset, received_characters,
           kept_characters, dropped, tokens, unknown_tokens, unknown_characters)
       SELECT source, document_id, 1, 'document', true, min(visible_from), 'p', 1, array_agg(chunk_id),
              array_agg(0), array_agg(''::text), now(), 1, 'topic', 0, 1, 100, 90, '{}', 20, 1, 1
       FROM chunk GROUP BY source, document_id""",
)
_GROWTH = (
    # One batch in five hundred withdrew documents; the newest is a minute old.
    """INSERT INTO batch (source, batch, kind, state, records, applied, workflow_id, run_id, staged_at, published_at,
           documents_written, documents_deleted)
       SELECT 'large', b, CASE WHEN b %% 500 = 0 THEN 'expiry' ELSE 'ingest' END, 'published', 10, 10,
              'batch:large:' || b, md5(b::text), t.at, t.at, 9, 1
       FROM generate_series(%(first)s * %(batches)s + 1, (%(last)s + 1) * %(batches)s) b,
            LATERAL (SELECT now() - interval '60 days' + b * interval '1 second' AS at) t""",
    """INSERT INTO batch_range (source, batch, topic, partition, epoch, first_offset, next_offset, records, topic_id)
       SELECT 'large', b, 'topic', 0, 0, 10 * b - 10, 10 * b, 10, 'id'
       FROM generate_series(%(first)s * %(batches)s + 1, (%(last)s + 1) * %(batches)s) b""",
    """INSERT INTO record_outcome (source, topic, partition, topic_id, first_offset, next_offset, batch, published_at,
           offsets, outcomes, ops, document_ids, versions, reasons)
       SELECT 'large', 'topic', 0, 'id', 10 * b - 10, 10 * b, b, now() - interval '1 day', ARRAY[10 * b - 7],
              ARRAY['applied'], ARRAY['upsert'], ARRAY['doc-' || b], ARRAY[3], ARRAY[NULL]
       FROM generate_series(%(first)s * %(batches)s + 1, (%(last)s + 1) * %(batches)s) b""",
    """UPDATE source SET last_batch = (%(last)s + 1) * %(batches)s WHERE source = 'large'""",
    """UPDATE source_position SET next_offset = 10 * (%(last)s + 1) * %(batches)s WHERE source = 'large'""",
    """UPDATE delivery SET cursor_batch = (%(last)s + 1) * %(batches)s WHERE source = 'large'""",
    # Visible chunks of every document, and chunks of every second one that were closed with a version before.
    """INSERT INTO chunk (source, document_id, text_sha256, text, token_count, search_text, space_id, dimensions,
           embedding, visible_from, visible_to, batch, access_id)
       SELECT 'large', 'doc-' || d, sha256(convert_to(concat_ws(' ', d, c, v), 'UTF8')), concat_ws(' ', 'text', d, c),
              3, to_tsvector('simple', 'w' || d || ' common w' || d %% 777), 1, 3, '[0,1,0]',
              now() - interval '9 days', CASE v WHEN 0 THEN now() - interval '8 days' END, d + 1,
              CASE d %% 20 WHEN 1 THEN 1 + d / 20 %% 5 END
       FROM generate_series(%(first)s, %(last)s) d, generate_series(1, %(chunks)s) c, generate_series(0, 1) v
       WHERE v = 1 OR d %% 2 = 0""",
    "ANALYZE chunk",  # without statistics the triggers of documents read all chunks for each
    # Of all texts, some have lost much, and some have much that the model does not know. One document in ten has an
    # end of its own, in the future; none is older than the source's age.
    """INSERT INTO document (source, document_id, version, kind, is_head, visible_from, metadata, acl, pipeline,
           space_id, chunk_ids, chunk_starts, chunk_headings, observed_at, expires_at, batch, topic, partition,
           record_offset, content_sha256, received_characters, kept_characters, dropped, tokens, unknown_tokens,
           unknown_characters)
       SELECT 'large', c.document_id, 3, 'document', true, min(c.visible_from), jsonb_build_object('n', n.d %% 1000),
              CASE n.d %% 20 WHEN 1 THEN ARRAY['group-' || 1 + n.d / 20 %% 5] END, 'p' || n.d %% 2, 1,
              array_agg(c.chunk_id), array_agg(0), array_agg(''::text), now() - n.d %% 20 * interval '1 day',
              CASE n.d %% 10 WHEN 0 THEN now() + interval '1 year' END, n.d + 1, 'topic', 0, 10 * n.d + 3,
              sha256(convert_to(c.document_id, 'UTF8')), 100, CASE n.d %% 30 WHEN 0 THEN 1 ELSE 90 END, '{}', 20, 1,
              CASE n.d %% 40 WHEN 0 THEN 50 ELSE 1 END
       FROM chunk c, LATERAL (SELECT split_part(c.document_id, '-', 2)::bigint AS d) n
       WHERE c.source = 'large' AND c.visible_to IS NULL AND n.d BETWEEN %(first)s AND %(last)s
       GROUP BY c.document_id, n.d""",
    # Versions before, and documents that are withdrawn or deleted.
    """INSERT INTO document (source, document_id, version, kind, is_head, visible_from, visible_to, end_reason,
           end_batch, observed_at, batch, topic, partition, record_offset)
       SELECT 'large', 'doc-' || d, 2 - v, 'document', false, now() - make_interval(days => 50 + v),
              now() - make_interval(days => 49 + v), 'replaced', d + 1, now() - make_interval(days => 50 + v), d + 1,
              'topic', 0, 10 * d + v
       FROM generate_series(%(first)s, %(last)s) d, generate_series(1, %(versions)s) v""",
    """INSERT INTO document (source, document_id, version, kind, is_head, visible_from, visible_to, end_reason,
           end_batch, observed_at, expires_at, batch, topic, partition, record_offset)
       SELECT 'large', 'gone-' || d, 1, CASE d %% 4 WHEN 0 THEN 'document' ELSE 'tombstone' END, true,
              now() - interval '50 days', now() - interval '45 days',
              CASE d %% 4 WHEN 0 THEN 'expired' ELSE 'deleted' END, d + 1, now() - interval '50 days',
              CASE d %% 8 WHEN 0 THEN now() - interval '45 days' END, d + 1, 'topic', 0, 10 * d
       FROM generate_series(%(first)s, %(last)s, 2) d""",
    """INSERT INTO embedding (space_id, text_sha256, dimensions, embedding, source, batch)
       SELECT 1, sha256(convert_to('embedded ' || d, 'UTF8')), 3, '[0,0,1]', 'large', d + 1
       FROM generate_series(%(first)s, %(last)s) d""",
    "DELETE FROM uncounted_texts",
    """INSERT INTO delivered_notice (subscriber, source, batch, acknowledged_at)
       SELECT 'team', 'large', b, now() - interval '1 day'
       FROM generate_series(%(first)s * %(batches)s + 1, (%(last)s + 1) * %(batches)s) b""",
    """INSERT INTO freshness_report (source, snapshotted_at, status, criteria, duration_seconds, workflow_id, run_id)
       SELECT 'large', now() - interval '400 days' + b * interval '5 minutes', 'pass', '{}', 1, 'w', md5(b::text)
       FROM generate_series(%(first)s * %(batches)s + 1, (%(last)s + 1) * %(batches)s) b""",
    """INSERT INTO dead_letter (source, batch, topic, partition, record_offset, document_id, reason, value, produced_at,
           topic_id, state, state_at)
       SELECT 'large', d + 1, 'topic', 0, 10 * d + 9, 'doc-' || d, 'invalid_field', '{}', now(), 'id',
              CASE d %% 100 WHEN 0 THEN 'open' ELSE 'redriven' END, CASE d %% 100 WHEN 0 THEN NULL ELSE now() END
       FROM generate_series(%(first)s, %(last)s) d""",
    """INSERT INTO fetched (source, document_id, host, url_sha256, url, content_sha256)
       SELECT 'large', 'doc-' || d, 'host', '\\x00', 'https://host/' || d, sha256(convert_to('doc-' || d, 'UTF8'))
       FROM generate_series(%(first)s, %(last)s, 3) d""",
)
