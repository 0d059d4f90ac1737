-- name: begin_backfill
-- A backfill that is about to run. A source has one at a time.
INSERT INTO freshet.backfill (source, ranges, wanted, by_record, rate)
VALUES (%(source)s, %(ranges)s::jsonb, %(wanted)s, %(by_record)s, %(rate)s)
ON CONFLICT (source) WHERE state IN ('running', 'paused') DO NOTHING
RETURNING backfill;

-- name: add_backfill_records
-- The records that a backfill is to read.
INSERT INTO freshet.backfill_record (backfill, topic, partition, record_offset)
SELECT %(backfill)s, topic, partition, record_offset
FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(offsets)s::bigint[]) AS r (topic, partition, record_offset)
ON CONFLICT DO NOTHING;

-- name: records_of_documents
-- Where the records of some documents are: those of their newest versions, and those that are dead letters.
SELECT d.document_id, d.topic, d.partition, d.record_offset FROM freshet.document d
JOIN freshet.source_position p USING (source, topic, partition)
WHERE d.source = %(source)s AND d.is_head AND d.document_id = ANY(%(document_ids)s::text[])
  -- In a topic that was made anew, another record has the offset. A record that was redriven names no topic's id.
  AND coalesce(freshet.written_of(d), '{}') || coalesce(d.deletes, '{}')
      ?| ARRAY[concat_ws('/', d.topic, d.partition, p.topic_id), concat_ws('/', d.topic, d.partition, '')]
UNION
SELECT l.document_id, l.topic, l.partition, l.record_offset FROM freshet.dead_letter l
JOIN freshet.source_position p USING (source, topic, partition, topic_id)
WHERE l.source = %(source)s AND l.state = 'open' AND l.document_id = ANY(%(document_ids)s::text[]);

-- name: backfill_records_from
-- The next records of a backfill in a partition.
SELECT record_offset FROM freshet.backfill_record
WHERE backfill = %(backfill)s AND topic = %(topic)s AND partition = %(partition)s AND record_offset >= %(offset)s
ORDER BY record_offset LIMIT %(limit)s;

-- name: backfill_row
-- One backfill with what its source is.
SELECT b.backfill, b.source, b.state, b.ranges, b.by_record, b.rate, b.passed, b.gone, s.spec,
       s.state AS source_state
FROM freshet.backfill b JOIN freshet.source s USING (source) WHERE b.backfill = %(backfill)s;

-- name: backfill_moved
-- How far a backfill is. `moved_at` is when it last advanced, or a person ordered something: an attempt is no progress.
UPDATE freshet.backfill SET passed = %(passed)s::bigint, gone = %(gone)s, waits_for = '',
    moved_at = CASE WHEN passed <> %(passed)s::bigint AND state = 'running' THEN now() ELSE moved_at END
WHERE backfill = %(backfill)s;

-- name: backfill_waits
-- Why the part in progress is not published yet.
UPDATE freshet.backfill SET waits_for = %(waits_for)s WHERE backfill = %(backfill)s;

-- name: backfill_state
-- The state of a backfill, and whether a part of it is published.
SELECT b.state, EXISTS (
    SELECT FROM freshet.backfill_part p WHERE p.backfill = b.backfill AND p.topic = %(topic)s
       AND p.partition = %(partition)s AND p.first_offset = %(first_offset)s AND p.next_offset = %(next_offset)s
) AS is_published
FROM freshet.backfill b WHERE b.backfill = %(backfill)s;

-- name: end_backfill
-- A backfill has ended; what a person has ended stays cancelled.
UPDATE freshet.backfill SET state = CASE state WHEN 'cancelled' THEN state ELSE %(state)s END, error = %(error)s,
    waits_for = '', ended_at = coalesce(ended_at, now())
WHERE backfill = %(backfill)s AND ended_at IS NULL;

-- name: order_backfill
-- A person pauses, resumes or cancels the backfill of a source; to cancel the newest one after it failed says that a
-- person has seen it.
UPDATE freshet.backfill b SET state = %(state)s::text, moved_at = now()
WHERE source = %(source)s AND (state IN ('running', 'paused') OR (
    state = 'failed' AND %(state)s::text = 'cancelled'
    AND NOT EXISTS (SELECT FROM freshet.backfill n WHERE n.source = b.source AND n.backfill > b.backfill)
))
RETURNING backfill;

-- name: backfills
-- Backfills, newest first, with what became of their records.
SELECT b.backfill, b.source, b.state, b.wanted, b.passed, b.gone, b.rate, b.waits_for, b.error, b.created_at,
       b.moved_at, b.ended_at, c.batches, c.records, c.applied, c.unchanged, c.superseded, c.dead_lettered, c.ignored,
       c.documents_written, c.texts_embedded
FROM freshet.backfill b CROSS JOIN LATERAL (
    SELECT count(*) AS batches, coalesce(sum(records), 0)::bigint AS records,
           coalesce(sum(applied), 0)::bigint AS applied, coalesce(sum(unchanged), 0)::bigint AS unchanged,
           coalesce(sum(superseded), 0)::bigint AS superseded,
           coalesce(sum(dead_lettered), 0)::bigint AS dead_lettered, coalesce(sum(ignored), 0)::bigint AS ignored,
           coalesce(sum(documents_written), 0)::bigint AS documents_written,
           coalesce(sum(texts_embedded), 0)::bigint AS texts_embedded
    FROM freshet.batch l WHERE (l.source, l.batch) IN (
        SELECT p.source, p.batch FROM freshet.backfill_part p WHERE p.backfill = b.backfill)
) c
WHERE %(source)s::text IS NULL OR b.source = %(source)s::text
ORDER BY b.backfill DESC LIMIT %(limit)s;

-- name: backfill_standing
-- The newest backfill of each source: how far it is, how fast, and for how long it has not advanced, beyond the time
-- that a part takes at its rate.
WITH newest AS (SELECT DISTINCT ON (source) * FROM freshet.backfill ORDER BY source, backfill DESC)
SELECT b.source, b.backfill, b.state, b.wanted, b.passed, b.gone, b.by_record, b.rate, b.waits_for, b.error,
       b.created_at, b.moved_at, b.ended_at, r.records_per_second,
       CASE WHEN b.state = 'running' THEN greatest(0, extract(epoch FROM now() - b.moved_at)
           - coalesce(%(part_records)s::float8 / nullif(b.rate, 0), 0))::float8 ELSE 0 END AS standing_seconds
FROM newest b CROSS JOIN LATERAL (
    SELECT (coalesce(sum(l.records), 0) / greatest(1, least(60, extract(epoch FROM now() - b.created_at))))::float8
               AS records_per_second
    FROM freshet.batch l
    WHERE l.source = b.source AND l.kind = 'backfill' AND l.published_at > now() - interval '1 minute'
      AND l.published_at >= b.created_at
) r
ORDER BY b.source;

-- name: backfill_published
-- A part of a backfill is published with this batch.
INSERT INTO freshet.backfill_part (backfill, topic, partition, first_offset, next_offset, source, batch)
VALUES (%(backfill)s, %(topic)s, %(partition)s, %(first_offset)s, %(next_offset)s, %(source)s, %(batch)s);

-- name: mended_dead_letters
-- Dead letters whose records are none any more.
UPDATE freshet.dead_letter l SET state = 'redriven', state_at = now()
FROM incoming_event e
JOIN freshet.source_position p ON p.source = %(source)s AND p.topic = e.topic AND p.partition = e.partition
WHERE l.source = %(source)s AND l.topic = e.topic AND l.partition = e.partition AND l.record_offset = e.record_offset
  AND l.topic_id = p.topic_id AND l.state = 'open' AND e.outcome <> 'dead_letter';

-- name: part_is_published
-- Whether a part of a backfill is published.
SELECT EXISTS (
    SELECT FROM freshet.backfill_part p WHERE p.backfill = %(backfill)s AND p.topic = %(topic)s
       AND p.partition = %(partition)s AND p.first_offset = %(first_offset)s AND p.next_offset = %(next_offset)s
) AS is_published;
