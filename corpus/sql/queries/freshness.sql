-- name: freshness_measure
-- Ages and counts of a source, by the database's clock.
SELECT (extract(epoch FROM now()) * 1000)::bigint AS snapshotted_at_ms, s.spec, s.last_batch,
       (extract(epoch FROM freshet.newest_event(s.source)) * 1000)::bigint AS newest_ms,
       o.documents, (extract(epoch FROM oldest.seen_at) * 1000)::bigint AS oldest_ms,
       o.aged + o.ended AS overdue, o.ended, o.withdrawn, o.arrived, o.gone, o.unaskable,
       o.kept, o.late, s.state, coalesce(t.empty, 0) AS empty, coalesce(t.lossy, 0) AS lossy,
       coalesce(t.unknown, 0) AS unknown,
       t.unknown_characters / nullif(t.kept_characters, 0)::double precision AS unknown_ratio
  FROM freshet.source s
  LEFT JOIN freshet.visible_texts t ON t.source = s.source
 CROSS JOIN LATERAL (
       SELECT min(first.seen_at) AS seen_at
         FROM unnest('{true, false}'::boolean[]) AS own (has_no_end)
        CROSS JOIN LATERAL (  -- one step each in the index of ages
              SELECT greatest(d.observed_at, d.verified_at) AS seen_at FROM freshet.document d
               WHERE d.source = s.source AND d.visible_to IS NULL AND (d.expires_at IS NULL) = own.has_no_end
               ORDER BY 1 LIMIT 1
              ) first
       ) oldest
 CROSS JOIN LATERAL freshet.overdue(
       s.source, now(), (s.spec -> 'freshness' ->> 'expire_after_seconds')::double precision
       ) o
 WHERE s.source = %(source)s::text;

-- name: freshness_expired
-- Expiry batches of a source after a batch.
SELECT count(*) AS batches, coalesce(sum(documents_expired), 0)::bigint AS documents FROM freshet.batch
 WHERE source = %(source)s::text AND kind = 'expiry' AND batch > %(after)s::bigint AND state = 'published';

-- name: record_freshness
-- Keep the result of a check, once per run. A check that could not ask the database for the time is dated by now().
INSERT INTO freshet.freshness_report (source, snapshotted_at, status, max_loaded_at, oldest_verified_at, documents,
       overdue, expired, error, criteria, duration_seconds, workflow_id, run_id, empty, lossy, unknown,
       unknown_ratio, revalidation)
SELECT source, coalesce(to_timestamp(%(snapshotted_at_ms)s::double precision / 1000), now()), %(status)s::text,
       to_timestamp(%(newest_ms)s::double precision / 1000), to_timestamp(%(oldest_ms)s::double precision / 1000),
       %(documents)s::bigint, %(overdue)s::bigint, %(expired)s::bigint, %(error)s::text, %(criteria)s::jsonb,
       %(duration_seconds)s::double precision, %(workflow_id)s::text, %(run_id)s::text, %(empty)s::bigint,
       %(lossy)s::bigint, %(unknown)s::bigint, %(unknown_ratio)s::double precision,
       %(revalidation)s::jsonb
  FROM freshet.source WHERE source = %(source)s::text
   AND NOT EXISTS (
       SELECT 1 FROM freshet.freshness_report r WHERE r.source = %(source)s::text AND r.run_id = %(run_id)s::text
   )
ON CONFLICT DO NOTHING;

-- name: latest_freshness
-- The newest check of every configured source, and its age.
SELECT s.source, s.spec, (extract(epoch FROM now()) * 1000)::bigint AS now_ms,
       extract(epoch FROM now() - r.snapshotted_at)::double precision AS checked_seconds_ago,
       (extract(epoch FROM r.snapshotted_at) * 1000)::bigint AS snapshotted_at_ms, r.status,
       (extract(epoch FROM r.max_loaded_at) * 1000)::bigint AS newest_ms,
       (extract(epoch FROM r.oldest_verified_at) * 1000)::bigint AS oldest_ms,
       r.documents, r.overdue, r.empty, r.lossy, r.unknown, r.unknown_ratio, r.expired, r.error, r.criteria,
       r.revalidation, r.duration_seconds, r.workflow_id, r.run_id
  FROM freshet.source s
  LEFT JOIN LATERAL (
      SELECT * FROM freshet.freshness_report f WHERE f.source = s.source ORDER BY f.snapshotted_at DESC LIMIT 1
  ) r ON true
 WHERE s.state <> 'retired' AND (%(source)s::text IS NULL OR s.source = %(source)s::text)
 ORDER BY s.source;

-- name: freshness_waiting
-- For how long each configured source has not been checked; before its first check, since it was made.
SELECT s.source, s.spec,
       extract(epoch FROM now() - coalesce(r.snapshotted_at, s.created_at))::double precision AS seconds
  FROM freshet.source s
  LEFT JOIN LATERAL (
      SELECT f.snapshotted_at FROM freshet.freshness_report f
       WHERE f.source = s.source ORDER BY f.snapshotted_at DESC LIMIT 1
  ) r ON true
 WHERE s.state <> 'retired';

-- name: describe_source
-- The state of a source, for other teams.
SELECT s.source, s.state, s.state_reason, s.last_batch,
       ceil(extract(epoch FROM s.last_published_at) * 1000)::bigint AS last_published_at_ms,
       (
           -- Of the access lists that this reader may read.
           SELECT coalesce(sum(v.documents), 0)::bigint FROM freshet.visible_documents v WHERE v.source = s.source
       ) AS documents,
       (extract(epoch FROM freshet.newest_event(s.source)) * 1000)::bigint AS newest_event_at_ms,
       r.status AS freshness, (extract(epoch FROM r.snapshotted_at) * 1000)::bigint AS checked_at_ms
  FROM freshet.source s
  LEFT JOIN LATERAL (
      SELECT status, snapshotted_at FROM freshet.freshness_report f
       WHERE f.source = s.source ORDER BY f.snapshotted_at DESC LIMIT 1
  ) r ON true
 WHERE s.source = %(source)s::text;

-- name: documents_to_ask
-- Documents that age would withdraw and whose origin is asked first, the one that was asked longest ago first. One that
-- has changed waits for the backfill that reads its record again; one that is gone or lost was asked a moment ago.
SELECT o.document_key, o.url, o.content_sha256, o.etag, o.last_modified,
       (extract(epoch FROM now()) * 1000)::bigint AS asked_at_ms
FROM freshet.source s,
     freshet.due_at_origin(
         s.source, now(), (s.spec -> 'freshness' ->> 'expire_after_seconds')::double precision
     ) o
LEFT JOIN freshet.backfill b ON b.backfill = o.backfill
WHERE s.source = %(source)s::text AND s.state = 'active'
  AND NOT coalesce(o.answer IN ('gone', 'lost') AND o.asked_at > now() - interval '30 minutes', false)
  AND NOT (o.answer IS NOT DISTINCT FROM 'changed' AND coalesce(b.state IN ('running', 'paused'), false))
ORDER BY o.asked_at NULLS FIRST, o.due_at LIMIT %(limit)s::bigint;

-- name: pages_of_others
-- Of documents whose origin gave other bytes, those whose new bytes the corpus has from another address of their host,
-- for a document that never had the same content as they: a page that the origin gives for everything.
SELECT d.document_key
FROM unnest(%(document_keys)s::bigint[], %(contents)s::bytea[]) AS a (document_key, content_sha256)
JOIN freshet.document d ON d.document_key = a.document_key
JOIN freshet.fetched own ON own.source = d.source AND own.document_id = d.document_id
WHERE EXISTS (
    SELECT FROM freshet.fetched f
    JOIN freshet.document other ON other.source = f.source AND other.document_id = f.document_id
        AND other.visible_to IS NULL AND other.content_sha256 = f.content_sha256
    WHERE f.source = d.source AND f.content_sha256 = a.content_sha256 AND f.host = own.host
      AND f.url_sha256 <> own.url_sha256
      AND NOT EXISTS (
          SELECT FROM freshet.document earlier
          WHERE earlier.source = f.source AND earlier.document_id = f.document_id
            AND earlier.content_sha256 = d.content_sha256
      )
);

-- name: note_answers
-- What origins said, of versions that are still the newest. An unchanged document is renewed: it was seen when its
-- origin was asked. One that a publishing transaction works on is left to the next check. A document that is still the
-- old one after its record was read again `most_read` times is lost: its change cannot be read. The last backfill is
-- not in `read_again` yet (`note_read_again`), and counts if it was done.
WITH said AS (
    SELECT * FROM unnest(
        %(document_keys)s::bigint[], %(answers)s::text[], %(etags)s::text[], %(last_modified)s::text[]
    ) AS a (document_key, answer, etag, last_modified)
), locked AS (
    SELECT d.document_key, d.source, d.document_id, d.content_sha256 FROM freshet.document d
    WHERE d.document_key = ANY(%(document_keys)s::bigint[]) AND d.is_head AND d.visible_to IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
), renewed AS (
    UPDATE freshet.document d
    SET verified_at = greatest(d.verified_at, to_timestamp(%(asked_at_ms)s::double precision / 1000))
    FROM locked l JOIN said USING (document_key)
    WHERE d.document_key = l.document_key AND said.answer = 'unchanged'
), noted AS (
    UPDATE freshet.fetched f
    SET asked_at = to_timestamp(%(asked_at_ms)s::double precision / 1000),
        answer = CASE WHEN said.answer = 'changed' AND f.read_again + (
                          SELECT count(*) FROM freshet.backfill b WHERE b.backfill = f.backfill AND b.state = 'done'
                      ) >= %(most_read)s THEN 'lost' ELSE said.answer END,
        etag = CASE WHEN said.answer = 'unchanged' THEN said.etag ELSE f.etag END,
        last_modified = CASE WHEN said.answer = 'unchanged' THEN said.last_modified ELSE f.last_modified END,
        fetched_at = CASE WHEN said.answer = 'unchanged' THEN now() ELSE f.fetched_at END,
        read_again = CASE WHEN said.answer = 'unchanged' THEN 0 ELSE f.read_again END,
        -- One that runs stays known: its workflow may not have been started.
        backfill = CASE WHEN said.answer <> 'unchanged' OR EXISTS (
                            SELECT FROM freshet.backfill b
                            WHERE b.backfill = f.backfill AND b.state IN ('running', 'paused')
                        ) THEN f.backfill END
    FROM locked l JOIN said USING (document_key)
    WHERE f.source = l.source AND f.document_id = l.document_id AND f.content_sha256 = l.content_sha256
    RETURNING f.answer
)
SELECT answer, count(*) AS documents FROM noted GROUP BY answer;

-- name: changed_at_origin
-- Documents that have changed at their origin. Left out are those whose record a backfill reads now, or waits for its
-- origin.
SELECT o.document_id
FROM freshet.source s,
     freshet.due_at_origin(
         s.source, now(), (s.spec -> 'freshness' ->> 'expire_after_seconds')::double precision
     ) o
LEFT JOIN freshet.backfill b ON b.backfill = o.backfill
WHERE s.source = %(source)s::text AND s.state = 'active' AND o.answer = 'changed'
  AND coalesce(b.state NOT IN ('running', 'paused'), true)
  AND NOT EXISTS (
      SELECT FROM freshet.dead_letter l
      WHERE l.source = s.source AND l.document_id = o.document_id AND l.state = 'open' AND l.reason = 'fetch_waits'
  )
ORDER BY o.due_at LIMIT %(limit)s::bigint;

-- name: count_changed_at_origin
-- How many documents have changed at their origin and are still the old ones here.
SELECT count(*) AS documents
FROM freshet.source s,
     freshet.due_at_origin(
         s.source, now(), (s.spec -> 'freshness' ->> 'expire_after_seconds')::double precision
     ) o
WHERE s.source = %(source)s::text AND o.answer = 'changed';

-- name: reading_again
-- Backfills that checks have ordered and that have not ended: their workflow may not have been started.
SELECT DISTINCT b.backfill FROM freshet.fetched f JOIN freshet.backfill b ON b.backfill = f.backfill
WHERE f.source = %(source)s::text AND b.source = f.source AND b.state IN ('running', 'paused');

-- name: note_read_again
-- The records of these documents are read again by a backfill. Those in `lost` have none that is found, and count as
-- lost after as many checks. What is counted is what has been done: one that was cancelled or failed did not read.
WITH counted AS (
    SELECT f.document_id, missing.is_lost,
           f.read_again + coalesce(b.state = 'done', false)::integer + missing.is_lost::integer AS read_again
    FROM freshet.fetched f
    CROSS JOIN LATERAL (SELECT f.document_id = ANY(%(lost)s::text[]) AS is_lost) missing
    LEFT JOIN freshet.backfill b ON b.backfill = f.backfill
    WHERE f.source = %(source)s::text AND f.document_id = ANY(%(document_ids)s::text[]) AND f.answer = 'changed'
)
UPDATE freshet.fetched f
SET backfill = CASE WHEN NOT c.is_lost THEN %(backfill)s::bigint END,
    read_again = c.read_again,
    answer = CASE WHEN c.is_lost AND c.read_again >= %(most_read)s THEN 'lost' ELSE f.answer END
FROM counted c
WHERE f.source = %(source)s::text AND f.document_id = c.document_id AND f.answer = 'changed';
