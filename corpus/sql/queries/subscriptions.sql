-- name: upsert_subscription
-- Add or change a subscription; returns whether it is new. `from_batch` below 0 starts after the newest batch.
INSERT INTO freshet.subscription (subscriber, source, endpoint, from_batch)
SELECT %(subscriber)s::text, source, %(endpoint)s::text,
       CASE WHEN %(from_batch)s::bigint < 0 THEN last_batch ELSE %(from_batch)s::bigint END
  FROM freshet.source WHERE source = %(source)s::text
ON CONFLICT (subscriber, source) DO UPDATE SET endpoint = excluded.endpoint, state = 'active'
RETURNING (xmax = 0) AS added;

-- name: ensure_delivery
-- Create the cursor of a subscription; a cursor that exists is not moved.
INSERT INTO freshet.delivery (subscriber, source, cursor_batch)
SELECT subscriber, source, from_batch FROM freshet.subscription
 WHERE subscriber = %(subscriber)s::text AND source = %(source)s::text
ON CONFLICT (subscriber, source) DO NOTHING;

-- name: end_subscription
-- End a subscription. The cursor stays, so that a subscriber that returns misses nothing.
UPDATE freshet.subscription SET state = 'ended'
 WHERE subscriber = %(subscriber)s::text AND source = %(source)s::text;

-- name: subscriptions
-- Every subscription with its delivery, for display and for reconciling. A delivery that calls a team moves its row
-- every two minutes at least; the error of one that does not says so: its endpoint may have been deleted just before
-- the call, and the workflow task then fails until it exists again.
SELECT s.subscriber, s.source, s.endpoint, s.from_batch, s.state, coalesce(d.state, 'idle') AS delivery,
       coalesce(d.cursor_batch, s.from_batch) AS cursor_batch, c.last_batch, coalesce(d.delivered, 0) AS delivered,
       CASE WHEN d.state = 'delivering' AND s.state = 'active' AND d.updated_at < now() - interval '5 minutes'
            THEN concat_ws('; ', 'no progress since ' || to_char(d.updated_at, 'YYYY-MM-DD HH24:MI:SS') || ' UTC: see '
                 || 'whether an orchestrator runs and Nexus endpoint ' || s.endpoint || ' exists; `freshet apply` '
                 || 'creates it', d.last_error)
            ELSE d.last_error END AS last_error,
       d.updated_at, d.woken_at, coalesce(d.wake_ups, 0) AS wake_ups
  FROM freshet.subscription s
  JOIN freshet.source c USING (source)
  LEFT JOIN freshet.delivery d USING (subscriber, source)
 WHERE (%(source)s::text IS NULL OR s.source = %(source)s::text)
 ORDER BY s.subscriber, s.source;

-- name: delivery_cursor
-- The cursor of a delivery, and whether its subscription is active.
SELECT s.state, s.endpoint, coalesce(d.cursor_batch, s.from_batch) AS cursor_batch
  FROM freshet.subscription s LEFT JOIN freshet.delivery d USING (subscriber, source)
 WHERE s.subscriber = %(subscriber)s::text AND s.source = %(source)s::text;

-- name: delivery_reads
-- The delivery reads the ledger now: it sees every batch up to the newest, so a wake-up for one of them is used up.
UPDATE freshet.delivery d SET read_batch = c.last_batch
  FROM freshet.source c
 WHERE c.source = d.source AND d.subscriber = %(subscriber)s::text AND d.source = %(source)s::text
   AND d.read_batch <> c.last_batch;

-- name: deliveries_to_wake
-- The deliveries of a source that have a batch to read and were not woken for it. One with a wake-up outstanding reads
-- that batch as well; a wake-up that was not used for so many seconds is lost. With `every`, all that have a batch to
-- deliver, whatever they were woken for.
SELECT s.subscriber, c.last_batch AS batch
  FROM freshet.subscription s
  JOIN freshet.source c USING (source)
  LEFT JOIN freshet.delivery d USING (subscriber, source)
 WHERE s.source = %(source)s::text AND s.state = 'active'
   AND coalesce(d.cursor_batch, s.from_batch) < c.last_batch
   AND (%(every)s::boolean OR d.subscriber IS NULL
        OR (d.read_batch < c.last_batch
            AND (d.woken_batch <= d.read_batch
                 OR d.woken_at < now() - make_interval(secs => %(lost_after)s::double precision))))
 ORDER BY s.subscriber;

-- name: deliveries_woken
-- A wake-up was sent to these deliveries. Where one has read the ledger since, the row shows none outstanding.
INSERT INTO freshet.delivery AS d (subscriber, source, cursor_batch, woken_batch, woken_at, wake_ups)
SELECT subscriber, source, from_batch, %(batch)s::bigint, now(), 1 FROM freshet.subscription
 WHERE source = %(source)s::text AND subscriber = ANY(%(subscribers)s::text[])
ON CONFLICT (subscriber, source) DO UPDATE
   SET woken_batch = greatest(d.woken_batch, excluded.woken_batch), woken_at = excluded.woken_at,
       wake_ups = d.wake_ups + 1;

-- name: next_batch
-- The first published batch after a cursor. Its time in milliseconds is rounded up, so that a search as of then shows
-- the batch.
SELECT b.batch, b.kind, ceil(extract(epoch FROM b.published_at) * 1000)::bigint AS published_at_ms,
       (extract(epoch FROM b.published_at) * 1000000)::bigint AS published_at_us, b.reason,
       n.documents_written, n.documents_deleted, n.documents_expired, n.chunks_opened, n.chunks_closed,
       coalesce(b.traceparent, '') AS traceparent,
       coalesce((SELECT max(p.batch) FROM freshet.batch p
                  WHERE p.source = b.source AND p.batch < b.batch AND p.state = 'published'), 0) AS previous_batch
  FROM (
      SELECT source, batch, kind, published_at, reason, traceparent FROM freshet.batch
       WHERE source = %(source)s::text AND batch > %(cursor)s::bigint AND state = 'published'
       ORDER BY batch LIMIT 1
  ) b
 CROSS JOIN LATERAL freshet.batch_counts(b.source, b.batch) n;

-- name: batch_ranges
-- Offsets of a batch.
SELECT topic, partition, first_offset, next_offset FROM freshet.batch_range
 WHERE source = %(source)s::text AND batch = %(batch)s::bigint
 ORDER BY topic, partition, first_offset LIMIT %(most)s::int;

-- name: batch_changes
-- Documents that a batch wrote or deleted. A delete of what was never there (version -1) changed nothing, and a row
-- that was never visible keeps the end of a withdrawn version.
SELECT document_id, version, CASE kind WHEN 'tombstone' THEN 'deleted' ELSE 'written' END AS change
  FROM freshet.document WHERE source = %(source)s::text AND batch = %(batch)s::bigint AND version >= 0
   AND (kind = 'tombstone' OR visible_to IS DISTINCT FROM visible_from)
 ORDER BY document_key LIMIT %(most)s::int;

-- name: batch_expiries
-- Documents that a batch withdrew as stale.
SELECT document_id, version, 'expired' AS change FROM freshet.document
 WHERE source = %(source)s::text AND end_batch = %(batch)s::bigint AND end_reason = 'expired'
 ORDER BY document_key LIMIT %(most)s::int;

-- name: delivery_begins
-- A notice is being sent; the last error stays readable until the notice is acknowledged.
UPDATE freshet.delivery SET state = 'delivering', updated_at = now()
 WHERE subscriber = %(subscriber)s::text AND source = %(source)s::text AND state = 'idle';

-- name: delivery_idle
-- Every batch has been delivered.
UPDATE freshet.delivery SET state = 'idle', last_error = NULL, updated_at = now()
 WHERE subscriber = %(subscriber)s::text AND source = %(source)s::text AND state <> 'idle';

-- name: park_delivery
-- Record why a delivery is parked, or why it takes long.
UPDATE freshet.delivery
   SET state = CASE WHEN %(parked)s::boolean THEN 'parked' ELSE 'delivering' END, last_error = %(error)s::text,
       updated_at = now()
 WHERE subscriber = %(subscriber)s::text AND source = %(source)s::text;

-- name: acknowledge_notice
-- Move the cursor and remember that the subscriber was notified; a repeat changes nothing.
WITH acknowledged AS (
    INSERT INTO freshet.delivered_notice (subscriber, source, batch)
    VALUES (%(subscriber)s::text, %(source)s::text, %(batch)s::bigint) ON CONFLICT DO NOTHING RETURNING batch
)
UPDATE freshet.delivery
   SET cursor_batch = %(batch)s::bigint, delivered = delivered + (SELECT count(*) FROM acknowledged),
       state = 'delivering', last_error = NULL, updated_at = now()
 WHERE subscriber = %(subscriber)s::text AND source = %(source)s::text AND cursor_batch < %(batch)s::bigint;
