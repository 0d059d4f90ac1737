-- name: await_source
-- The state of a source.
SELECT state, state_reason, last_batch FROM freshet.source WHERE source = %(source)s::text;

-- name: await_batch
-- A batch in the ledger.
SELECT batch, state, reason, (extract(epoch FROM published_at) * 1000)::bigint AS published_at_ms,
       unchanged, superseded, ignored, applied, dead_lettered
  FROM freshet.batch WHERE source = %(source)s::text AND batch = %(batch)s::bigint;

-- name: await_offset
-- The batch that accounts for a record, if the position has passed it.
SELECT p.next_offset, r.batch
  FROM freshet.source_position p
  LEFT JOIN freshet.batch_range r ON r.source = p.source AND r.topic = p.topic AND r.partition = p.partition
       AND r.first_offset <= %(offset)s::bigint AND r.next_offset > %(offset)s::bigint
 WHERE p.source = %(source)s::text AND p.topic = %(topic)s::text AND p.partition = %(partition)s::int
 ORDER BY r.batch DESC NULLS LAST LIMIT 1;

-- name: await_offset_document
-- The document version that a record became, if it became one.
SELECT document_id, version, kind, visible_to IS NULL AS visible, end_reason, end_detail, batch
  FROM freshet.document
 WHERE source = %(source)s::text AND batch = %(batch)s::bigint AND topic = %(topic)s::text
   AND partition = %(partition)s::int AND record_offset = %(offset)s::bigint LIMIT 1;

-- name: await_offset_dead_letter
-- Why a record could not be used.
SELECT reason, detail, batch FROM freshet.dead_letter
 WHERE source = %(source)s::text AND topic = %(topic)s::text AND partition = %(partition)s::int
   AND record_offset = %(offset)s::bigint AND batch = %(batch)s::bigint
 ORDER BY dead_letter DESC LIMIT 1;

-- name: await_document_version
-- The newest row of a document at one version.
SELECT version, kind, visible_to IS NULL AS visible, end_reason, end_detail, batch, end_batch FROM freshet.document
 WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND version = %(version)s::bigint
 ORDER BY document_key DESC LIMIT 1;

-- name: await_document_head
-- The newest version of a document.
SELECT version, kind, batch FROM freshet.document
 WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND is_head;

-- name: await_document_dead_letters
-- The newest unusable events of a document. Their version, if they have one, can only be read from their value.
SELECT reason, detail, batch, value FROM freshet.dead_letter
 WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND state = 'open'
   AND octet_length(value) <= 1000000 ORDER BY dead_letter DESC LIMIT 20;

-- name: await_newest_event
-- Record time of the newest event in the corpus.
SELECT (extract(epoch FROM max(observed_at)) * 1000)::bigint AS newest_ms
  FROM freshet.document WHERE source = %(source)s::text;
