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
-- Every subscription with its delivery, for display and for reconciling.
SELECT s.subscriber, s.source, s.endpoint, s.from_batch, s.state, coalesce(d.state, 'idle') AS delivery,
       coalesce(d.cursor_batch, s.from_batch) AS cursor_batch, c.last_batch, coalesce(d.delivered, 0) AS delivered,
       d.last_error, d.updated_at
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

-- name: next_batch
-- The first published batch after a cursor. Its time in milliseconds is rounded up, so that a search as of then shows
-- the batch.
SELECT b.batch, b.kind, ceil(extract(epoch FROM b.published_at) * 1000)::bigint AS published_at_ms,
       (extract(epoch FROM b.published_at) * 1000000)::bigint AS published_at_us, b.reason,
       b.documents_written, b.documents_deleted, b.documents_expired, b.chunks_opened, b.chunks_closed,
       coalesce((SELECT max(p.batch) FROM freshet.batch p
                  WHERE p.source = b.source AND p.batch < b.batch AND p.state = 'published'), 0) AS previous_batch
  FROM freshet.batch b
 WHERE b.source = %(source)s::text AND b.batch > %(cursor)s::bigint AND b.state = 'published'
 ORDER BY b.batch LIMIT 1;

-- name: batch_ranges
-- Offsets of a batch.
SELECT topic, partition, first_offset, next_offset FROM freshet.batch_range
 WHERE source = %(source)s::text AND batch = %(batch)s::bigint
 ORDER BY topic, partition, first_offset LIMIT %(most)s::int;

-- name: batch_changes
-- Documents that a batch wrote or deleted.
SELECT document_id, version, CASE kind WHEN 'tombstone' THEN 'deleted' ELSE 'written' END AS change
  FROM freshet.document WHERE source = %(source)s::text AND batch = %(batch)s::bigint
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
