-- name: metrics_ledger
-- Sums over the published batches that are newer than those already counted, one row per source with such batches.
SELECT b.source, max(b.batch) AS batch, count(*) AS batches,
       coalesce(sum(b.applied) FILTER (WHERE b.kind = 'ingest'), 0)::bigint AS applied,
       coalesce(sum(b.unchanged) FILTER (WHERE b.kind = 'ingest'), 0)::bigint AS unchanged,
       coalesce(sum(b.superseded) FILTER (WHERE b.kind = 'ingest'), 0)::bigint AS superseded,
       coalesce(sum(b.dead_lettered) FILTER (WHERE b.kind = 'ingest'), 0)::bigint AS dead_lettered,
       coalesce(sum(b.ignored) FILTER (WHERE b.kind = 'ingest'), 0)::bigint AS ignored,
       sum(b.documents_written)::bigint AS documents_written, sum(b.documents_deleted)::bigint AS documents_deleted,
       sum(b.documents_expired)::bigint AS documents_expired, sum(b.documents_empty)::bigint AS documents_empty,
       sum(b.documents_lossy)::bigint AS documents_lossy, sum(b.chunks_opened)::bigint AS chunks_opened,
       sum(b.chunks_closed)::bigint AS chunks_closed, sum(b.chunks_reused)::bigint AS chunks_reused,
       sum(b.texts_embedded)::bigint AS texts_embedded, sum(b.received_characters)::bigint AS received_characters,
       sum(b.kept_characters)::bigint AS kept_characters, sum(b.tokens)::bigint AS tokens,
       sum(b.unknown_tokens)::bigint AS unknown_tokens,
       sum(b.deletes_without_document)::bigint AS deletes_without_document,
       sum(b.languages_unknown)::bigint AS languages_unknown, sum(b.languages_unsure)::bigint AS languages_unsure
  FROM freshet.source s
  LEFT JOIN unnest(%(sources)s::text[], %(batches)s::bigint[]) AS counted (source, batch) USING (source)
 CROSS JOIN LATERAL (  -- one step per source in the index
       SELECT * FROM freshet.batch n
        WHERE n.source = s.source AND n.batch > coalesce(counted.batch, 0) AND n.state = 'published' OFFSET 0
       ) b
 GROUP BY b.source;

-- name: metrics_dropped
-- Characters that cleaning dropped, per rule, over the published batches of a range per source.
SELECT b.source, rule.key AS rule, sum(rule.value::bigint)::bigint AS characters
  FROM unnest(%(sources)s::text[], %(after)s::bigint[], %(upto)s::bigint[]) AS wanted (source, after, upto)
  JOIN freshet.batch b ON b.source = wanted.source AND b.batch > wanted.after AND b.batch <= wanted.upto
                      AND b.state = 'published'
 CROSS JOIN LATERAL jsonb_each_text(b.dropped) AS rule (key, value)
 GROUP BY b.source, rule.key;

-- name: metrics_notes
-- Where texts are from that are not as they were stated, per note, over the published batches of a range per source.
SELECT b.source, note.key AS note, sum(note.value::bigint)::bigint AS amount
  FROM unnest(%(sources)s::text[], %(after)s::bigint[], %(upto)s::bigint[]) AS wanted (source, after, upto)
  JOIN freshet.batch b ON b.source = wanted.source AND b.batch > wanted.after AND b.batch <= wanted.upto
                      AND b.state = 'published'
 CROSS JOIN LATERAL jsonb_each_text(b.notes) AS note (key, value)
 GROUP BY b.source, note.key;

-- name: metrics_sources
-- Every source as it is now: its state, its newest batch, what the newest freshness check found, and
-- the documents that wait for their origin.
SELECT s.source, s.state, s.last_batch,
       coalesce(extract(epoch FROM s.last_published_at), 0)::float8 AS last_published_at,
       (SELECT count(*) FROM freshet.dead_letter l WHERE l.source = s.source AND l.state = 'open') AS dead_letters,
       r.status AS freshness, coalesce(extract(epoch FROM r.snapshotted_at), 0)::float8 AS checked_at,
       coalesce(extract(epoch FROM now() - (
           SELECT min(e.requested_at) FROM freshet.erasure e WHERE e.source = s.source AND e.receipt IS NULL
       )), 0)::float8 AS erasure_seconds,
       w.documents AS documents_waiting, w.seconds AS waiting_seconds
  FROM freshet.source s
 CROSS JOIN LATERAL (
       SELECT count(*) AS documents,
              coalesce(extract(epoch FROM now() - min(f.waits_since)), 0)::float8 AS seconds
         FROM freshet.waiting_fetch f JOIN freshet.dead_letter l USING (dead_letter)
        WHERE f.source = s.source AND f.retry_at IS NOT NULL AND l.state = 'open'
       ) w
  LEFT JOIN LATERAL (
       SELECT f.status, f.snapshotted_at FROM freshet.freshness_report f
        WHERE f.source = s.source ORDER BY f.snapshotted_at DESC LIMIT 1) r ON true;

-- name: metrics_deliveries
-- Every active subscription: how many batches its subscriber has not acknowledged, and whether its delivery is parked.
SELECT s.subscriber, s.source, c.last_batch - coalesce(d.cursor_batch, s.from_batch) AS behind,
       coalesce(d.state, 'idle') = 'parked' AS parked
  FROM freshet.subscription s
  JOIN freshet.source c USING (source)
  LEFT JOIN freshet.delivery d USING (subscriber, source)
 WHERE s.state = 'active';
