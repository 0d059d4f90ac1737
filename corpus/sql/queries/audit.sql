-- name: begin_audit
-- A new audit of a source, or the one that this run has begun; null: there is no such source.
INSERT INTO freshet.audit (source, workflow_id, run_id, scope, sample, has_inventory)
SELECT source, %(workflow_id)s::text, %(run_id)s::text, %(scope)s::text, %(sample)s::bigint, %(has_inventory)s::boolean
  FROM freshet.source WHERE source = %(source)s::text
ON CONFLICT (run_id) DO UPDATE SET state = 'running' RETURNING audit;

-- name: end_stale_audits
-- Audits of a source that no workflow continues: one runs at a time.
UPDATE freshet.audit SET state = 'failed', error = 'its workflow ended before it', finished_at = now()
 WHERE source = %(source)s::text AND state = 'running' AND audit <> %(audit)s::bigint;

-- name: audit_source
-- What an audit begins with: the source, its newest batch, and how many documents readers see.
SELECT s.spec, s.state, s.last_batch, s.last_published_at, s.prepare_again,
       (SELECT count(*) FROM freshet.document d WHERE d.source = s.source AND d.visible_to IS NULL) AS documents
  FROM freshet.source s WHERE s.source = %(source)s::text;

-- name: audit_positions
-- How far each partition of a source is published: its position, or the end of the ledger where the position was moved
-- back.
SELECT p.topic, p.partition, p.topic_id, p.next_offset AS position,
       greatest(p.next_offset, coalesce(l.next_offset, 0)) AS next_offset
  FROM freshet.source_position p
  LEFT JOIN LATERAL (
       SELECT max(r.next_offset) AS next_offset FROM freshet.batch_range r
        WHERE r.source = p.source AND r.topic = p.topic AND r.partition = p.partition
          AND coalesce(r.topic_id, p.topic_id) = p.topic_id
  ) l ON true
 WHERE p.source = %(source)s::text ORDER BY p.topic, p.partition;

-- name: describe_audit
-- What an audit covers.
UPDATE freshet.audit
   SET positions = %(positions)s::jsonb, last_batch = %(last_batch)s::bigint,
       published_at = %(published_at)s::timestamptz, workflow_id = %(workflow_id)s::text
 WHERE audit = %(audit)s::bigint;

-- name: audit_positions_are
-- What is known of the logs by now.
UPDATE freshet.audit SET positions = %(positions)s::jsonb WHERE audit = %(audit)s::bigint;

-- name: audit_row
-- An audit with what it covers.
SELECT a.audit, a.source, a.scope, a.sample, a.state, a.phase, a.positions, a.last_batch, a.has_inventory, a.counts,
       s.spec, s.prepare_again
  FROM freshet.audit a JOIN freshet.source s USING (source) WHERE a.audit = %(audit)s::bigint;

-- name: audit_moves
-- The last step of an audit has ended.
UPDATE freshet.audit SET phase = %(phase)s::text, counts = %(counts)s::jsonb, moved_at = now()
 WHERE audit = %(audit)s::bigint AND state = 'running';

-- name: staged_times
-- When the records of a partition were read, by the batches that published them: a record's time is judged by it.
SELECT r.first_offset, r.next_offset, (extract(epoch FROM b.staged_at) * 1000)::bigint AS staged_at_ms
  FROM freshet.batch_range r JOIN freshet.batch b ON b.source = r.source AND b.batch = r.batch
 WHERE r.source = %(source)s::text AND r.topic = %(topic)s::text AND r.partition = %(partition)s::integer
   AND coalesce(r.topic_id, %(topic_id)s::text) = %(topic_id)s::text
   AND r.next_offset > %(first_offset)s::bigint AND r.first_offset < %(next_offset)s::bigint
 ORDER BY r.batch;

-- name: forget_audit_records
-- Remove the records of a page, which an earlier attempt of the step may have written.
DELETE FROM freshet.audit_record
 WHERE audit = %(audit)s::bigint AND topic = %(topic)s::text AND partition = %(partition)s::integer
   AND record_offset = ANY(%(offsets)s::bigint[]);

-- name: create_incoming_audit_record
-- Receives the records of a page: PostgreSQL copies nothing into a table with row-level security.
CREATE TEMP TABLE IF NOT EXISTS incoming_audit_record (
    audit bigint, topic text, partition integer, topic_id text, record_offset bigint, outcome text, op text,
    document_id text, version bigint, record_version bigint, is_redriven boolean, content_sha256 bytea,
    description text, expires_at_ms bigint
) ON COMMIT DELETE ROWS;

-- name: insert_audit_records
-- Keep the records that were copied in.
INSERT INTO freshet.audit_record (audit, topic, partition, topic_id, record_offset, outcome, op, document_id, version,
    record_version, is_redriven, content_sha256, description, expires_at_ms)
SELECT i.audit, i.topic, i.partition, i.topic_id, i.record_offset, i.outcome, i.op, i.document_id, i.version,
       i.record_version, i.is_redriven, i.content_sha256, i.description, i.expires_at_ms
  FROM incoming_audit_record i;

-- name: copy_audit_records
-- The records of a page.
COPY incoming_audit_record (audit, topic, partition, topic_id, record_offset, outcome, op, document_id, version,
    record_version, is_redriven, content_sha256, description, expires_at_ms) FROM STDIN (FORMAT BINARY);

-- name: forget_erased_records
-- The records of documents that are erased count as ignored, and say nothing.
UPDATE freshet.audit_record r
   SET outcome = 'ignored', op = NULL, document_id = NULL, version = NULL, content_sha256 = NULL, description = NULL,
       expires_at_ms = NULL
  FROM freshet.audit a
 WHERE a.audit = %(audit)s::bigint AND r.audit = a.audit AND r.topic = %(topic)s::text
   AND r.partition = %(partition)s::integer
   AND (%(offsets)s::bigint[] IS NULL OR r.record_offset = ANY(%(offsets)s::bigint[]))
   AND EXISTS (
       SELECT FROM freshet.erased_document x
        WHERE x.source = a.source AND x.lifted_at IS NULL
          AND x.document_hash = freshet.erased_hash(a.source, convert_to(r.document_id, 'UTF8'))
   );

-- name: audit_has_records
-- Whether the records of an audit are there; they are not after a crash of the server.
SELECT EXISTS (SELECT FROM freshet.audit_record WHERE audit = %(audit)s::bigint) AS has_records;

-- name: end_audit_records
-- Remove the records of audits that have ended.
DELETE FROM freshet.audit_record r
 WHERE r.audit = %(audit)s::bigint
    OR NOT EXISTS (SELECT FROM freshet.audit a WHERE a.audit = r.audit AND a.state = 'running');

-- name: sample_records
-- The records that visible documents of a sample name.
SELECT d.topic, d.partition, d.record_offset FROM freshet.document d
 WHERE d.source = %(source)s::text AND d.visible_to IS NULL AND d.record_offset IS NOT NULL
   AND freshet.audit_sampled(d.document_id, %(audit)s::bigint, %(fraction)s::double precision)
 ORDER BY d.topic, d.partition, d.record_offset;

-- name: audit_page
-- The next documents, by id, that a record or a row of the corpus names.
SELECT ids.document_id FROM (
    (SELECT DISTINCT r.document_id FROM freshet.audit_record r
      WHERE r.audit = %(audit)s::bigint AND r.document_id > %(after)s::text ORDER BY 1 LIMIT %(limit)s::bigint)
    UNION
    (SELECT d.document_id FROM freshet.document d
      WHERE d.source = %(source)s::text AND d.is_head AND d.document_id > %(after)s::text
        AND freshet.audit_sampled(d.document_id, %(audit)s::bigint, %(fraction)s::double precision)
      ORDER BY d.document_id LIMIT %(limit)s::bigint)
    UNION
    (SELECT d.document_id FROM freshet.document d
      WHERE d.source = %(source)s::text AND d.visible_to IS NULL AND d.document_id > %(after)s::text
        AND freshet.audit_sampled(d.document_id, %(audit)s::bigint, %(fraction)s::double precision)
      ORDER BY d.document_id LIMIT %(limit)s::bigint)
    UNION
    (SELECT DISTINCT c.document_id FROM freshet.chunk c
      WHERE c.source = %(source)s::text AND c.visible_to IS NULL AND c.document_id > %(after)s::text
        AND freshet.audit_sampled(c.document_id, %(audit)s::bigint, %(fraction)s::double precision)
      ORDER BY c.document_id LIMIT %(limit)s::bigint)
) ids ORDER BY ids.document_id LIMIT %(limit)s::bigint;

-- name: audit_records_of
-- The records of some documents that decide: of the greatest version that is certain, or of a greater one, and deletes
-- without a version. A record that became a dead letter may have been used, or not. A version that a person has
-- corrected counts no more.
SELECT w.document_id, w.topic, w.partition, w.topic_id, w.record_offset, w.op, w.version, w.record_version,
       w.is_redriven, w.content_sha256, w.description, w.expires_at_ms, w.was_dead_letter
  FROM (
      SELECT r.*, max(r.version) FILTER (WHERE NOT r.was_dead_letter) OVER (PARTITION BY r.document_id) AS newest
        FROM (
            SELECT a.*, EXISTS (
                       SELECT FROM freshet.dead_letter l
                        WHERE l.source = %(source)s::text AND l.topic = a.topic AND l.partition = a.partition
                          AND l.record_offset = a.record_offset AND coalesce(l.topic_id, a.topic_id) = a.topic_id
                   ) AS was_dead_letter
              FROM freshet.audit_record a
             WHERE a.audit = %(audit)s::bigint AND a.document_id = ANY(%(document_ids)s::text[]) AND a.outcome = 'event'
               AND NOT EXISTS (
                   SELECT FROM freshet.document_correction k
                    WHERE k.source = %(source)s::text AND k.document_id = a.document_id AND k.old_version = a.version
               )
        ) r
  ) w
 WHERE w.topic = '' OR w.version IS NULL OR w.newest IS NULL OR w.version >= w.newest
 ORDER BY w.document_id, w.topic, w.partition, w.record_offset;

-- name: audit_versions_of
-- The heads and the visible versions of some documents, with the records that they name.
SELECT d.document_id, d.document_key, d.version, d.kind, d.is_head, d.visible_to IS NULL AS is_visible,
       coalesce(d.batch > %(last_batch)s::bigint OR d.end_batch > %(last_batch)s::bigint, false) AS is_moved,
       CASE WHEN d.end_reason IS DISTINCT FROM 'expired' THEN true
            WHEN d.end_batch IS NULL THEN d.visible_from = d.visible_to
            ELSE EXISTS (
                SELECT FROM freshet.batch b WHERE b.source = d.source AND b.batch = d.end_batch AND b.kind = 'expiry'
            ) END AS is_ended,
       d.end_reason, d.content_sha256, d.uri, d.title, d.content_type, d.metadata, d.acl,
       d.language_from IS NOT NULL AS knows_language, d.stated_language,
       coalesce(d.expires_at <= now(), false) AS is_past_end,
       EXISTS (
           SELECT FROM freshet.document_correction k
            WHERE k.source = d.source AND k.document_id = d.document_id AND k.new_version = d.version
       ) AS is_corrected,
       d.topic, d.partition, g.topic_id, d.record_offset,
       n.document_id AS named_document, n.outcome AS named_outcome
  FROM freshet.document d
  LEFT JOIN freshet.batch_range g
    ON g.source = d.source AND g.batch = d.batch AND g.topic = d.topic AND g.partition = d.partition
  LEFT JOIN freshet.audit_record n
    ON n.audit = %(audit)s::bigint AND n.topic = d.topic AND n.partition = d.partition
   AND n.record_offset = d.record_offset AND coalesce(g.topic_id, n.topic_id) = n.topic_id
 WHERE d.source = %(source)s::text AND d.document_id = ANY(%(document_ids)s::text[])
   AND (d.is_head OR d.visible_to IS NULL)
 ORDER BY d.document_id, d.document_key;

-- name: audit_chunks_of
-- What is wrong with the visible chunks of some documents, one row per chunk, or per document that lacks chunks. A
-- vector that was made again, with another precision, differs a little.
WITH shown_document AS MATERIALIZED (
    SELECT d.document_key, d.document_id, d.space_id, d.chunk_ids, d.kept_characters, freshet.language_of(d) AS language
      FROM freshet.document d
     WHERE d.source = %(source)s::text AND d.document_id = ANY(%(document_ids)s::text[]) AND d.visible_to IS NULL
), listed AS MATERIALIZED (
    SELECT DISTINCT s.document_key, s.document_id, s.space_id, s.language, place.chunk_id
      FROM shown_document s CROSS JOIN LATERAL unnest(s.chunk_ids) AS place (chunk_id)
), shown AS MATERIALIZED (
    SELECT c.chunk_id, c.document_id, l.document_key, c.text_sha256, c.space_id,
           CASE WHEN l.chunk_id IS NULL THEN 'chunk_without_document'
                WHEN p.context = 'none' AND NOT c.truncated AND c.text_sha256 <> sha256(convert_to(c.text, 'UTF8'))
                THEN 'text_hash_differs'
                WHEN c.space_id IS DISTINCT FROM l.space_id THEN 'wrong_space'
                WHEN c.vector_hash <> coalesce(
                         freshet.hash_of_vector(c.embedding), freshet.hash_of_vector(c.embedding_half))
                THEN 'vector_of_other_text'
                WHEN e.embedding <> freshet.vector_of(c.embedding, c.embedding_half)
                     AND (e.embedding <=> freshet.vector_of(c.embedding, c.embedding_half))
                         > %(max_distance)s::double precision
                THEN 'vector_of_other_text'
                WHEN coalesce(c.language, %(language)s::text) <> l.language THEN 'search_text_differs'
                WHEN c.headings IS NOT NULL AND c.search_text <> freshet.search_text(
                         l.language::regconfig, c.text, c.headings)
                THEN 'search_text_differs' END AS kind
      FROM freshet.chunk c
      JOIN freshet.embedding_space p ON p.space_id = c.space_id
      LEFT JOIN listed l ON l.chunk_id = c.chunk_id AND l.document_id = c.document_id
      LEFT JOIN freshet.embedding e ON e.space_id = c.space_id AND e.text_sha256 = c.text_sha256
     WHERE c.source = %(source)s::text AND c.document_id = ANY(%(document_ids)s::text[]) AND c.visible_to IS NULL
)
SELECT s.kind, s.document_id, s.document_key, s.chunk_id, encode(s.text_sha256, 'hex') AS detail FROM shown s
 WHERE s.kind IS NOT NULL
UNION ALL
SELECT 'document_without_chunks', d.document_id, d.document_key, NULL,
       lacks.chunks || ' of ' || cardinality(d.chunk_ids)
  FROM shown_document d
 CROSS JOIN LATERAL (
       SELECT count(*) AS chunks FROM listed l
        WHERE l.document_key = d.document_key
          AND NOT EXISTS (SELECT FROM shown s WHERE s.chunk_id = l.chunk_id AND s.document_id = l.document_id)
       ) lacks
 WHERE lacks.chunks > 0 OR (cardinality(d.chunk_ids) = 0 AND d.kept_characters > 0)
UNION ALL
SELECT 'wrong_space', d.document_id, d.document_key, NULL, 'space ' || d.space_id FROM shown_document d
 WHERE d.space_id <> %(space_id)s::smallint;

-- name: audit_chunk_count
-- How many chunks of some documents readers see.
SELECT count(*) AS chunks FROM freshet.chunk
 WHERE source = %(source)s::text AND document_id = ANY(%(document_ids)s::text[]) AND visible_to IS NULL;

-- name: write_finding
-- A difference; one that an earlier attempt of the step has written stays.
INSERT INTO freshet.audit_finding (audit, kind, document_id, subject, chunk_id, document_key, expected, actual, records,
    floor)
VALUES (%(audit)s::bigint, %(kind)s::text, %(document_id)s::text, %(subject)s::text, %(chunk_id)s::bigint,
    %(document_key)s::bigint, %(expected)s::text, %(actual)s::text, %(records)s::jsonb, %(floor)s::jsonb)
ON CONFLICT DO NOTHING;

-- name: audit_ledger
-- Where the ledger of a source does not add up: one row per batch, or per partition.
SELECT 'batch ' || b.batch AS subject, 'outcomes and ranges that add up to its records' AS expected,
       b.records || ' records; outcomes ' || (b.applied + b.unchanged + b.superseded + b.dead_lettered + b.ignored)
       || ', ranges ' || coalesce(r.records, 0) AS actual
  FROM freshet.batch b
  LEFT JOIN (
      SELECT batch, sum(records) AS records FROM freshet.batch_range WHERE source = %(source)s::text GROUP BY batch
  ) r USING (batch)
 WHERE b.source = %(source)s::text AND b.state = 'published'
   AND (b.applied + b.unchanged + b.superseded + b.dead_lettered + b.ignored <> b.records
        OR (b.kind = 'ingest' AND coalesce(r.records, 0) <> b.records))
UNION ALL
SELECT concat_ws('/', c.topic, c.partition) || ' from ' || c.before,
       'ranges of one epoch that follow one another', 'none covers ' || c.before || ' to ' || (c.first_offset - 1)
  FROM (
      SELECT topic, partition, first_offset, max(next_offset) OVER (
                 PARTITION BY topic, partition, epoch ORDER BY first_offset
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM freshet.batch_range WHERE source = %(source)s::text
  ) c WHERE c.first_offset > c.before
UNION ALL
SELECT 'newest batch', 'batch ' || s.last_batch, 'the ledger ends with batch ' || coalesce(l.batch, 0)
  FROM freshet.source s
  LEFT JOIN LATERAL (SELECT max(batch) AS batch FROM freshet.batch b WHERE b.source = s.source) l ON true
 WHERE s.source = %(source)s::text AND s.last_batch <> coalesce(l.batch, 0);

-- name: audit_uncovered
-- Records of the log, up to the published position, that no batch of the ledger covers.
WITH range AS (
    SELECT r.topic, r.partition, r.first_offset, r.next_offset
      FROM freshet.batch_range r
      JOIN freshet.source_position p USING (source, topic, partition)
     WHERE r.source = %(source)s::text AND coalesce(r.topic_id, p.topic_id) = p.topic_id
), hole AS (
    SELECT topic, partition, first_offset AS next_offset, coalesce(max(next_offset) OVER (
               PARTITION BY topic, partition ORDER BY first_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ), 0) AS first_offset
      FROM range
    UNION ALL
    SELECT a.topic, a.partition, a.next_offset, coalesce(max(r.next_offset), 0)
      FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(next_offsets)s::bigint[])
           AS a (topic, partition, next_offset)
      LEFT JOIN range r USING (topic, partition)
     GROUP BY a.topic, a.partition, a.next_offset
)
SELECT concat_ws('/', h.topic, h.partition) || ' ' || min(r.record_offset) || '-' || max(r.record_offset) AS subject,
       'every record up to the position is in the ledger' AS expected, count(*) || ' records are in no batch' AS actual
  FROM hole h
  JOIN freshet.audit_record r
    ON r.audit = %(audit)s::bigint AND r.topic = h.topic AND r.partition = h.partition
   AND r.record_offset >= h.first_offset AND r.record_offset < h.next_offset
 WHERE h.first_offset < h.next_offset
 GROUP BY h.topic, h.partition, h.first_offset, h.next_offset;

-- name: audit_miscounted
-- Batches that have counted less records than the log has in their range.
SELECT 'batch ' || b.batch || ' ' || concat_ws('/', b.topic, b.partition) AS subject,
       found.records || ' records in the log' AS expected, b.records || ' in the ledger' AS actual
  FROM freshet.batch_range b
  JOIN freshet.source_position p USING (source, topic, partition)
 CROSS JOIN LATERAL (
       SELECT count(*) AS records FROM freshet.audit_record r
        WHERE r.audit = %(audit)s::bigint AND r.topic = b.topic AND r.partition = b.partition
          AND r.record_offset >= b.first_offset AND r.record_offset < b.next_offset
       ) found
 WHERE b.source = %(source)s::text AND b.batch <= %(last_batch)s::bigint
   AND coalesce(b.topic_id, p.topic_id) = p.topic_id AND found.records > b.records;

-- name: audit_figures
-- Figures of a source that are kept and are not what its rows come to; nothing for a figure that is 0.
WITH figure AS (
    SELECT 'visible documents' AS subject, 'counted' AS side, to_jsonb(c) - 'source' AS figures
      FROM freshet.count_visible_documents(%(source)s::text) c
    UNION ALL
    SELECT 'visible documents', 'kept', to_jsonb(k) - 'source'
      FROM freshet.visible_documents k WHERE k.source = %(source)s::text AND k.documents <> 0
    UNION ALL
    SELECT 'visible texts', 'counted', to_jsonb(c) - 'source' FROM freshet.count_visible_texts(%(source)s::text) c
    UNION ALL
    SELECT 'visible texts', 'kept', to_jsonb(k) - 'source' FROM freshet.visible_texts k
     WHERE k.source = %(source)s::text
       AND EXISTS (SELECT FROM jsonb_each_text(to_jsonb(k) - 'source') AS one (name, n) WHERE one.n <> '0')
    UNION ALL
    SELECT 'sums of the ledger', 'counted', to_jsonb(c) - 'source'
      FROM freshet.count_ledger_totals(%(source)s::text) c
    UNION ALL
    SELECT 'sums of the ledger', 'kept', to_jsonb(k) - 'source'
      FROM freshet.ledger_totals k WHERE k.source = %(source)s::text
), differing AS (
    SELECT subject, figures, min(side) AS side FROM figure GROUP BY subject, figures HAVING count(*) = 1
)
SELECT 'figures: ' || subject AS subject,
       coalesce(min(figures::text) FILTER (WHERE side = 'counted'), 'none') || ' by the rows' AS expected,
       coalesce(min(figures::text) FILTER (WHERE side = 'kept'), 'none') || ' kept; `SELECT freshet.count_again('
       || quote_literal(%(source)s::text) || ')` counts them again' AS actual
  FROM differing GROUP BY subject ORDER BY subject;

-- name: audit_notices
-- Notices that were not sent: of a batch behind the cursor that was never acknowledged, or ahead of it for long while
-- the delivery is idle, or has no cursor. Of what is behind the cursor, a purge may have removed the oldest.
SELECT u.subscriber AS subject, 'a notice of batch ' || min(b.batch) AS expected,
       count(*) || ' batches without a notice; its delivery is ' || coalesce(max(d.state), 'gone') AS actual
  FROM freshet.subscription u
  JOIN freshet.batch b ON b.source = u.source AND b.batch > u.from_batch AND b.state = 'published'
  LEFT JOIN freshet.delivery d ON d.subscriber = u.subscriber AND d.source = u.source
  LEFT JOIN freshet.delivered_notice n
    ON n.subscriber = u.subscriber AND n.source = u.source AND n.batch = b.batch
 WHERE u.source = %(source)s::text AND u.state = 'active' AND n.batch IS NULL
   AND (b.batch <= d.cursor_batch AND b.batch > coalesce(
            (SELECT r.notices_upto FROM freshet.retention r WHERE r.source = u.source), 0)
        OR (b.batch > coalesce(d.cursor_batch, u.from_batch) AND coalesce(d.state, 'idle') = 'idle'
            AND b.published_at < now() - interval '10 minutes'))
 GROUP BY u.subscriber;

-- name: audit_sample_texts
-- The next documents of a sample, for cleaning and splitting them again: where their record is, and their chunks.
SELECT d.document_id, d.document_key, d.pipeline, d.topic, d.partition, d.record_offset, d.content_type, d.title,
       d.content_sha256, d.chunk_starts, d.chunk_headings,
       (SELECT array_agg(c.text_sha256 ORDER BY place.n) FROM unnest(d.chunk_ids) WITH ORDINALITY AS place (chunk_id, n)
          JOIN freshet.chunk c ON c.chunk_id = place.chunk_id) AS hashes,
       coalesce(d.batch > %(last_batch)s::bigint, false) AS is_moved, g.topic_id
  FROM freshet.document d
  LEFT JOIN freshet.batch_range g
    ON g.source = d.source AND g.batch = d.batch AND g.topic = d.topic AND g.partition = d.partition
 WHERE d.source = %(source)s::text AND d.visible_to IS NULL AND d.document_id > %(after)s::text
   AND freshet.audit_sampled(d.document_id, %(audit)s::bigint, %(fraction)s::double precision)
   AND NOT EXISTS (
       SELECT FROM freshet.audit_finding f WHERE f.audit = %(audit)s::bigint AND f.document_id = d.document_id
   )
 ORDER BY d.document_id LIMIT %(limit)s::bigint;

-- name: audit_sample_chunks
-- The next visible chunks of a sample of documents: documents in their order, and of each one chunk by its number.
SELECT c.chunk_id, c.document_id, d.document_key, c.text, c.headings, c.truncated, c.space_id, p.context,
       freshet.vector_of(c.embedding, c.embedding_half) AS embedding, d.topic, d.partition, d.record_offset,
       (
           SELECT g.topic_id FROM freshet.batch_range g
            WHERE g.source = d.source AND g.batch = d.batch AND g.topic = d.topic AND g.partition = d.partition
       ) AS topic_id,
       coalesce(c.language, %(language)s::text) AS language
  FROM freshet.document d
  CROSS JOIN LATERAL (
      SELECT c.* FROM freshet.chunk c
       WHERE c.chunk_id = d.chunk_ids[
               1 + mod(abs(hashtext(d.document_id)::bigint), greatest(cardinality(d.chunk_ids), 1))::integer]
         AND c.source = d.source AND c.document_id = d.document_id AND c.visible_to IS NULL
      OFFSET 0  -- joined in another order, all chunks would be read
  ) c
  JOIN freshet.embedding_space p ON p.space_id = c.space_id
 WHERE d.source = %(source)s::text AND d.visible_to IS NULL AND d.document_id > %(after)s::text
   AND (d.expires_at IS NULL OR d.expires_at > now())
   AND freshet.audit_sampled(d.document_id, %(audit)s::bigint, %(fraction)s::double precision)
   AND NOT EXISTS (
       SELECT FROM freshet.audit_finding f WHERE f.audit = %(audit)s::bigint AND f.document_id = d.document_id
   )
 ORDER BY d.document_id LIMIT %(limit)s::bigint;

-- name: visible_chunks_among
-- Those of some chunks that readers see still.
SELECT chunk_id FROM freshet.chunk WHERE chunk_id = ANY(%(chunk_ids)s::bigint[]) AND visible_to IS NULL;

-- name: search_terms_of
-- The terms by which text search would look for a text.
SELECT cardinality(freshet.search_terms(%(language)s::text::regconfig, %(text)s::text)) AS terms;

-- name: finish_audit
-- The result of an audit.
UPDATE freshet.audit a
   SET state = 'done', phase = 'done', finished_at = now(), moved_at = now(), counts = %(counts)s::jsonb,
       findings = coalesce((
           SELECT jsonb_object_agg(f.kind, f.found) FROM (
               SELECT kind, count(*) AS found FROM freshet.audit_finding WHERE audit = a.audit GROUP BY kind
           ) f), '{}')
 WHERE a.audit = %(audit)s::bigint RETURNING a.findings, a.counts;

-- name: fail_audit
-- An audit ended without a result.
UPDATE freshet.audit SET state = 'failed', error = %(error)s::text, finished_at = now()
 WHERE (audit = %(audit)s::bigint OR run_id = %(run_id)s::text) AND state = 'running';

-- name: forget_old_audits
-- Keep the newest audits of a source.
DELETE FROM freshet.audit a
 WHERE a.source = %(source)s::text AND a.state <> 'running' AND a.audit NOT IN (
     SELECT n.audit FROM freshet.audit n WHERE n.source = %(source)s::text ORDER BY n.audit DESC LIMIT %(kept)s::bigint
 );

-- name: list_audits
-- Newest audits, of one source or of all.
SELECT audit, source, scope, sample, state, phase, started_at, finished_at,
       extract(epoch FROM coalesce(finished_at, now()) - started_at)::double precision AS seconds, last_batch,
       positions, counts, findings, has_inventory, error, repaired_at, repair
  FROM freshet.audit WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
   AND (%(audit)s::bigint IS NULL OR audit = %(audit)s::bigint)
 ORDER BY audit DESC LIMIT %(limit)s::bigint;

-- name: findings_of
-- Differences that an audit found.
SELECT kind, document_id, subject, chunk_id, document_key, expected, actual, state, records, floor
  FROM freshet.audit_finding WHERE audit = %(audit)s::bigint AND (%(state)s::text IS NULL OR state = %(state)s::text)
 ORDER BY kind, document_id, subject LIMIT %(limit)s::bigint;


-- name: audit_lossy_partitions
-- Partitions of which the log has less records now than batches of the ledger have counted there.
SELECT DISTINCT b.topic, b.partition
  FROM freshet.batch_range b
  JOIN freshet.source_position p USING (source, topic, partition)
 CROSS JOIN LATERAL (
       SELECT count(*) AS records FROM freshet.audit_record r
        WHERE r.audit = %(audit)s::bigint AND r.topic = b.topic AND r.partition = b.partition
          AND r.record_offset >= b.first_offset AND r.record_offset < b.next_offset
       ) found
 WHERE b.source = %(source)s::text AND b.batch <= %(last_batch)s::bigint
   AND coalesce(b.topic_id, p.topic_id) = p.topic_id AND found.records < b.records;

-- name: choose_findings
-- The findings that a repair is about, in their transaction: those of documents that were published since the audit
-- began are left out, since they may be right by now.
UPDATE freshet.audit_finding f SET state = 'repaired'
  FROM unnest(%(kinds)s::text[], %(document_ids)s::text[], %(subjects)s::text[]) AS w (kind, document_id, subject)
 CROSS JOIN freshet.audit a
 WHERE a.audit = %(audit)s::bigint AND f.audit = a.audit AND f.state = 'open'
   AND (f.kind, f.document_id, f.subject) = (w.kind, w.document_id, w.subject)
   AND NOT EXISTS (
       SELECT FROM freshet.document d
        WHERE d.source = a.source AND d.document_id = f.document_id AND f.document_id <> ''
          AND (d.batch > a.last_batch OR d.end_batch > a.last_batch)
   )
RETURNING f.kind, f.document_id, f.subject, f.chunk_id, f.document_key, f.expected, f.actual, f.state, f.records,
          f.floor;

-- name: end_duplicates
-- Of several visible versions of a document the newest stays until its records are read again.
UPDATE freshet.document d
   SET visible_to = %(published_at)s::timestamptz, end_reason = 'replaced', end_detail = %(detail)s::text,
       is_head = false
 WHERE d.source = %(source)s::text AND d.document_id = ANY(%(document_ids)s::text[]) AND d.visible_to IS NULL
   AND EXISTS (
       SELECT FROM freshet.document n
        WHERE n.source = d.source AND n.document_id = d.document_id AND n.visible_to IS NULL
          AND (n.version, n.document_key) > (d.version, d.document_key)
   );

-- name: forget_hidden_heads
-- What is visible is the head.
UPDATE freshet.document h SET is_head = false
 WHERE h.source = %(source)s::text AND h.document_id = ANY(%(document_ids)s::text[]) AND h.is_head
   AND h.visible_to IS NOT NULL
   AND EXISTS (
       SELECT FROM freshet.document v
        WHERE v.source = h.source AND v.document_id = h.document_id AND v.visible_to IS NULL
   );

-- name: yield_heads
-- A head stays until its records are read again, and yields to any record of its version: whatever is written first
-- replaces what it says (`freshet.yields`). Nothing below shows meanwhile. `floors`: what the records come to, by
-- document; a head of a greater version yields to that version, too, and whom its access list keeps out stays out until
-- the record is read that says who may read.
UPDATE freshet.document d
   SET is_head = true, version = least(d.version, f.version), pipeline = '', first_record = freshet.last_place(),
       written = CASE WHEN d.version <= coalesce(f.version, d.version) THEN d.written END,
       grants = CASE WHEN f.grants <> '{}' THEN freshet.grants_from(f.grants, d.acl) ELSE freshet.grants_of(d) END,
       deletes = CASE WHEN d.visible_to IS NULL THEN d.deletes END,
       end_detail = CASE WHEN d.visible_to IS NULL THEN %(detail)s::text ELSE d.end_detail END
  FROM (
      SELECT w.document_id, (k.value ->> 'version')::bigint AS version, k.value -> 'grants' AS grants
        FROM unnest(%(document_ids)s::text[]) AS w (document_id)
        LEFT JOIN jsonb_each(%(floors)s::jsonb) k ON k.key = w.document_id
  ) f
 WHERE d.source = %(source)s::text AND d.document_id = f.document_id AND (d.visible_to IS NULL OR d.is_head);

-- name: close_damaged_chunks
-- Chunks that readers must not see: of no document, or with another text, space or vector than they say. The vectors of
-- those that are `damaged` are taken for no text again.
UPDATE freshet.chunk
   SET visible_to = %(published_at)s::timestamptz,
       has_wrong_vector = CASE WHEN chunk_id = ANY(%(damaged)s::bigint[]) THEN true ELSE has_wrong_vector END
 WHERE source = %(source)s::text AND chunk_id = ANY(%(chunk_ids)s::bigint[]) AND visible_to IS NULL;

-- name: forget_wrong_vectors
-- Vectors that belong to another text, in the embedding store and wherever a chunk has a copy; they are made again when
-- a batch needs them.
WITH copies AS (
    UPDATE freshet.chunk o SET has_wrong_vector = true FROM freshet.chunk c
     WHERE c.chunk_id = ANY(%(chunk_ids)s::bigint[]) AND o.space_id = c.space_id AND o.text_sha256 = c.text_sha256
       AND freshet.vector_of(o.embedding, o.embedding_half) = freshet.vector_of(c.embedding, c.embedding_half)
       AND o.chunk_id <> ALL(%(chunk_ids)s::bigint[]) AND o.has_wrong_vector IS NULL
)
DELETE FROM freshet.embedding e USING freshet.chunk c
 WHERE c.chunk_id = ANY(%(chunk_ids)s::bigint[]) AND e.space_id = c.space_id AND e.text_sha256 = c.text_sha256;

-- name: index_chunks_again
-- Give chunks the search terms of their texts, in the language of their documents.
UPDATE freshet.chunk c
   SET language = l.language, search_text = freshet.search_text(l.language::regconfig, c.text, c.headings)
  FROM (
      SELECT d.document_id, freshet.language_of(d) AS language FROM freshet.document d
       WHERE d.source = %(source)s::text AND d.visible_to IS NULL AND d.document_id = ANY(%(document_ids)s::text[])
  ) l
 WHERE c.source = %(source)s::text AND c.chunk_id = ANY(%(chunk_ids)s::bigint[]) AND c.document_id = l.document_id;

-- name: end_extra_documents
-- Documents that no record accounts for have an end now; the entity withdraws them as it does what is past its end.
UPDATE freshet.document SET expires_at = %(published_at)s::timestamptz
 WHERE source = %(source)s::text AND document_id = ANY(%(document_ids)s::text[]) AND visible_to IS NULL;

-- name: move_cursor_back
-- A subscriber is notified again from the first batch on that it was not notified of.
UPDATE freshet.delivery d
   SET cursor_batch = m.batch - 1, read_batch = least(d.read_batch, m.batch - 1), woken_batch = 0, updated_at = now()
  FROM (
      SELECT u.subscriber, min(b.batch) AS batch
        FROM freshet.subscription u
        JOIN freshet.batch b ON b.source = u.source AND b.batch > u.from_batch AND b.state = 'published'
        LEFT JOIN freshet.delivered_notice n
          ON n.subscriber = u.subscriber AND n.source = u.source AND n.batch = b.batch
        LEFT JOIN freshet.retention r ON r.source = u.source
       WHERE b.batch > coalesce(r.notices_upto, 0) AND u.source = %(source)s::text
         AND u.subscriber = ANY(%(subscribers)s::text[]) AND n.batch IS NULL
       GROUP BY u.subscriber
  ) m
 WHERE d.source = %(source)s::text AND d.subscriber = m.subscriber AND d.cursor_batch >= m.batch;

-- name: repaired_at
-- The rows of a source were repaired at an instant: every later batch has a later one. With `again`, consumers read
-- again from the positions.
UPDATE freshet.source
   SET last_published_at = CASE WHEN last_published_at IS NULL THEN NULL ELSE %(published_at)s::timestamptz END,
       epoch = epoch + CASE WHEN %(again)s::boolean THEN 1 ELSE 0 END, updated_at = now()
 WHERE source = %(source)s::text AND state <> 'retired';

-- name: record_repair
-- What a repair of an audit's findings did.
UPDATE freshet.audit SET repaired_at = now(), repair = %(repair)s::jsonb WHERE audit = %(audit)s::bigint;

-- name: audit_standing
-- The newest audit with a result of every source that is in use: what it found and nobody has repaired, and whether the
-- next one is overdue by the source's interval.
SELECT s.source, a.audit, coalesce(extract(epoch FROM a.finished_at), 0)::float8 AS finished_at,
       CASE WHEN a.repaired_at IS NULL THEN coalesce(a.findings, '{}') ELSE '{}' END AS findings,
       a.repaired_at IS NOT NULL AS is_repaired,
       coalesce(
           greatest(a.finished_at, s.updated_at)
               < now() - make_interval(secs => %(intervals)s::double precision
                   * (s.spec -> 'audit' ->> 'every_seconds')::double precision),
           false
       ) AS is_overdue
  FROM freshet.source s
  LEFT JOIN LATERAL (
       SELECT n.audit, n.finished_at, n.findings, n.repaired_at FROM freshet.audit n
        WHERE n.source = s.source AND n.state = 'done' ORDER BY n.audit DESC LIMIT 1
  ) a ON true
 WHERE s.state <> 'retired' AND (%(source)s::text IS NULL OR s.source = %(source)s::text)
 ORDER BY s.source;
