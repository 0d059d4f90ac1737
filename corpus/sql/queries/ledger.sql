-- name: list_batches
-- Newest batches of the ledger. Among the newest N of all are at most N of each of the N sources that published last:
-- nothing else is read.
SELECT b.source, b.batch, b.kind, b.state, b.records, b.applied, b.unchanged, b.superseded, b.dead_lettered, b.ignored,
       b.documents_written, b.documents_deleted, b.documents_expired, b.deletes_without_document, b.chunks_opened,
       b.chunks_closed, b.chunks_reused, b.texts_embedded, b.received_characters, b.kept_characters, b.dropped,
       b.tokens, b.unknown_tokens, b.unknown_characters, b.documents_empty, b.documents_lossy, b.documents_unknown,
       b.languages_unknown, b.languages_unsure, b.notes,
       b.reason, b.workflow_id, b.run_id, b.staged_at, b.published_at
FROM (
    SELECT source FROM freshet.source
    WHERE last_published_at IS NOT NULL AND (%(source)s::text IS NULL OR source = %(source)s::text)
    ORDER BY last_published_at DESC LIMIT %(limit)s::bigint
) newest
CROSS JOIN LATERAL (
    SELECT * FROM freshet.batch WHERE source = newest.source ORDER BY published_at DESC LIMIT %(limit)s::bigint
) b
ORDER BY b.published_at DESC, b.source, b.batch DESC LIMIT %(limit)s::bigint;

-- name: list_documents
-- Documents as they are now; with `history`, every version. With `min_unknown_ratio`, those of which the model knows
-- the least come first.
SELECT source, document_id, version, kind, CASE WHEN visible_to IS NULL THEN 'visible' ELSE end_reason END AS state,
       document_key, cardinality(chunk_ids) AS chunks, content_bytes, visible_from, visible_to, end_detail, event_at,
       observed_at, verified_at, expires_at, batch, topic, partition, record_offset, received_characters,
       kept_characters, dropped, tokens, unknown_tokens, unknown_characters,
       unknown_characters::double precision / greatest(kept_characters, 1) AS unknown_ratio,
       freshet.language_of(source, kind, language, chunk_ids) AS language, language_from, language_note,
       stated_language, content_type, notes
FROM freshet.document d
WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
  AND (%(document_id)s::text IS NULL OR document_id = %(document_id)s::text)
  AND (%(history)s::boolean OR is_head) AND (%(gone)s::boolean OR visible_to IS NULL)
  AND (
      %(max_kept_ratio)s::double precision IS NULL
      OR kept_characters < %(max_kept_ratio)s * freshet.readable_characters(received_characters, dropped)
  )
  AND (
      %(min_unknown_ratio)s::double precision IS NULL
      OR unknown_characters > %(min_unknown_ratio)s * kept_characters
  )
  AND (NOT %(noted)s::boolean OR notes <> '{}')
ORDER BY CASE WHEN %(min_unknown_ratio)s::double precision IS NOT NULL
              THEN unknown_characters::double precision / greatest(kept_characters, 1) END DESC,
         source, document_id, visible_from DESC
LIMIT %(limit)s;

-- name: export_source
-- The visible documents of a source: id, version, hash of the content as received, visible chunks.
SELECT d.document_id AS id, d.version, encode(d.content_sha256, 'hex') AS content_sha256, count(c.chunk_id) AS chunks
FROM freshet.document d
LEFT JOIN freshet.chunk c ON c.source = d.source AND c.document_id = d.document_id AND c.visible_to IS NULL
WHERE d.source = %(source)s AND d.visible_to IS NULL
GROUP BY d.document_id, d.version, d.content_sha256 ORDER BY d.document_id COLLATE "C";

-- name: lineage_versions
-- Every version of a document, newest first: its origin, what made it and what ended it.
SELECT d.source, d.document_id, d.version, d.kind, d.visible_from, d.visible_to, d.end_reason, d.end_detail,
       d.end_batch, d.document_key, d.topic, d.partition, d.record_offset, d.event_at, d.observed_at, d.verified_at,
       encode(d.raw_sha256, 'hex') AS raw_sha256, encode(d.content_sha256, 'hex') AS content_sha256,
       encode(d.cleaned_sha256, 'hex') AS cleaned_sha256, d.pipeline, s.fingerprint AS embedding_space, s.model,
       d.batch, b.kind AS batch_kind, b.workflow_id, b.run_id, b.approver, b.published_at, d.chunk_ids,
       d.received_characters, d.kept_characters, d.dropped, d.tokens, d.unknown_tokens, d.unknown_characters,
       freshet.language_of(d.source, d.kind, d.language, d.chunk_ids) AS language, d.language_from, d.language_note,
       d.stated_language, d.content_type, d.notes
FROM freshet.document d
JOIN freshet.batch b ON b.source = d.source AND b.batch = d.batch
LEFT JOIN freshet.embedding_space s ON s.space_id = d.space_id
WHERE d.document_id = %(document_id)s AND (%(source)s::text IS NULL OR d.source = %(source)s::text)
ORDER BY d.source, d.visible_from DESC, d.document_key DESC;

-- name: lineage_chunks
-- Chunks of a document version, in reading order: which batch opened each, and whether it is still open.
SELECT listed.ordinal - 1 AS position, c.chunk_id, c.token_count, c.batch AS opened_by_batch, c.visible_from,
       c.visible_to, c.end_batch, encode(c.text_sha256, 'hex') AS text_sha256
FROM unnest(%(chunk_ids)s::bigint[]) WITH ORDINALITY AS listed (chunk_id, ordinal)
JOIN freshet.chunk c USING (chunk_id) ORDER BY listed.ordinal;

-- name: may_read_texts
-- Whether this login may read what documents are called and say.
SELECT has_column_privilege('freshet.document', 'title', 'SELECT')
       AND has_column_privilege('freshet.chunk', 'text', 'SELECT') AS may_read;

-- name: document_titles
-- What a version is called, which auditors do not read.
SELECT document_key, title, uri FROM freshet.document WHERE document_key = ANY(%(keys)s::bigint[]);

-- name: document_parts
-- What is attached to versions, which auditors do not read; null: nothing is.
SELECT document_key, parts FROM freshet.document WHERE document_key = ANY(%(keys)s::bigint[]) AND parts IS NOT NULL;

-- name: list_parts
-- What is attached to the visible documents; with `unread`, what of it is not read. `parts` counts all of them.
SELECT d.source, d.document_id, d.version, d.batch, p.number, p.name, p.within, p.media_type, p.content_bytes,
       p.received, p.kept, p.reason, p.detail, count(*) OVER () AS parts
FROM freshet.document d
CROSS JOIN LATERAL jsonb_to_recordset(d.parts) AS p (
    number integer, name text, within text, media_type text, content_bytes bigint, received bigint, kept bigint,
    reason text, detail text
)
WHERE d.parts IS NOT NULL AND d.visible_to IS NULL AND (%(source)s::text IS NULL OR d.source = %(source)s::text)
  AND (%(document_id)s::text IS NULL OR d.document_id = %(document_id)s::text)
  AND (NOT %(unread)s::boolean OR p.reason IS NOT NULL)
ORDER BY d.source, d.document_id, p.number LIMIT %(limit)s::bigint;

-- name: chunk_beginnings
-- How chunks begin, which auditors do not read.
SELECT chunk_id, left(text, 80) AS beginning FROM freshet.chunk WHERE chunk_id = ANY(%(keys)s::bigint[]);

-- name: chunk_document
-- The document that a chunk belongs to.
SELECT source, document_id FROM freshet.chunk WHERE chunk_id = %(chunk_id)s;

-- name: lineage_told
-- The subscribers that were notified of a batch.
SELECT subscriber, acknowledged_at FROM freshet.delivered_notice
WHERE source = %(source)s AND batch = %(batch)s ORDER BY subscriber;

-- name: ledger_sums
-- Sums over the batches since an instant, for live displays.
SELECT count(*) AS batches, coalesce(sum(records), 0)::bigint AS records, coalesce(sum(applied), 0)::bigint AS applied,
       coalesce(sum(unchanged), 0)::bigint AS unchanged, coalesce(sum(superseded), 0)::bigint AS superseded,
       coalesce(sum(texts_embedded), 0)::bigint AS texts_embedded,
       coalesce(sum(chunks_reused), 0)::bigint AS chunks_reused,
       coalesce(sum(dead_lettered), 0)::bigint AS dead_lettered
FROM freshet.batch WHERE published_at >= %(since)s AND (%(source)s::text IS NULL OR source = %(source)s::text);

-- name: clock
-- The database's clock.
SELECT clock_timestamp() AS now;
