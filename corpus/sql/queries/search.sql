-- name: search
-- Retrieve chunks; see freshet.search in the schema. Of a text that no answer can hold, its beginning.
SELECT score, source, document_id, version, ordinal, start, heading, left(text, %(max_characters)s::integer) AS text,
       title, uri, metadata::text, chunk_id, batch, topic, partition, record_offset, event_at, observed_at, verified_at,
       expires_at
FROM freshet.search(%(query)s::vector, %(text)s::text, %(k)s::integer, %(mode)s::text, %(space_id)s::smallint,
    %(sources)s::text[], %(metadata)s::jsonb, %(as_of)s::timestamptz);

-- name: settle
-- Wait for batches that are being committed; see freshet.settle in the schema.
SELECT freshet.settle(%(as_of)s::timestamptz, %(sources)s::text[]);

-- name: search_spaces
-- Specifications of the sources that a search covers; they name the embedding spaces.
SELECT s.source, s.spec FROM freshet.source s
WHERE (%(sources)s::text[] IS NULL OR s.source = ANY(%(sources)s::text[])) ORDER BY s.source;

-- name: batch_published_at
-- The instant at which a batch became visible; a search as of a batch is a search as of that instant.
SELECT published_at FROM freshet.batch
 WHERE source = %(source)s AND batch = %(batch)s AND state = 'published';

-- name: limit_waiting
-- Bounds of the statements until the transaction ends: each wait for a lock, and each statement, in milliseconds.
SELECT set_config('lock_timeout', %(lock_ms)s::text, true) AS lock_timeout,
       set_config('statement_timeout', %(statement_ms)s::text, true) AS statement_timeout;
