-- name: drain_state
-- The position of every partition of the sources that are not retired, and the newest batch of each source; where
-- `behind` is given, only of these sources and of those that are halted or paused.
SELECT s.source, s.spec, s.state, s.state_reason, s.last_batch,
       coalesce(
           (
               SELECT jsonb_object_agg(p.topic || '/' || p.partition, p.next_offset)
                 FROM freshet.source_position p WHERE p.source = s.source
           ),
           '{}'
       ) AS positions
FROM freshet.source s
WHERE s.state <> 'retired'
  AND (%(source)s::text IS NULL OR s.source = %(source)s::text)
  -- IN is hashed also where the plan is kept, = ANY is not: then each source would be compared with each.
  AND (%(behind)s::text[] IS NULL OR s.source IN (SELECT unnest(%(behind)s::text[])) OR s.state <> 'active')
ORDER BY s.source;

-- name: texts_embedded_after
-- Texts that were embedded for batches of a source that are not published yet.
SELECT batch, count(*) AS texts FROM freshet.embedding
WHERE source = %(source)s::text AND batch > %(batch)s::bigint GROUP BY batch;
