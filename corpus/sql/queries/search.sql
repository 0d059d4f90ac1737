-- name: search
-- Retrieve chunks; see freshet.search in the schema. Of a text that no answer can hold, its beginning.
SELECT f.score, f.source, f.document_id, f.version, f.ordinal, f.start, f.heading,
       left(f.text, %(max_characters)s::integer) AS text, f.title, f.uri, f.metadata::text, f.chunk_id, f.batch,
       f.topic, f.partition, f.record_offset, f.event_at, f.observed_at, f.verified_at, f.expires_at, f.part,
       (
           SELECT coalesce(c.language, s.spec ->> 'text_search_language', 'english')
           FROM freshet.chunk c JOIN freshet.source s USING (source) WHERE c.chunk_id = f.chunk_id
       ) AS language
FROM freshet.search(%(query)s::vector, %(text)s::text, %(k)s::integer, %(mode)s::text, %(space_id)s::smallint,
    %(sources)s::text[], %(metadata)s::jsonb, %(as_of)s::timestamptz) f;

-- name: settle
-- Wait for batches that are being committed; see freshet.settle in the schema.
SELECT freshet.settle(%(as_of)s::timestamptz, %(sources)s::text[]);

-- name: searched_sources
-- The sources that a search covers, with the digests of their specifications.
SELECT s.source, s.digest FROM freshet.source s
WHERE (%(sources)s::text[] IS NULL OR s.source = ANY(%(sources)s::text[])) ORDER BY s.source;

-- name: search_spaces
-- Specifications of the sources that a search covers; they name the embedding spaces.
SELECT s.source, s.digest, s.spec FROM freshet.source s
WHERE (%(sources)s::text[] IS NULL OR s.source = ANY(%(sources)s::text[])) ORDER BY s.source;

-- name: batch_published_at
-- The instant at which a batch became visible; a search as of a batch is a search as of that instant.
SELECT published_at FROM freshet.batch
 WHERE source = %(source)s AND batch = %(batch)s AND state = 'published';

-- name: limit_waiting
-- Bounds of the statements until the transaction ends: each wait for a lock, and each statement, in milliseconds.
SELECT set_config('lock_timeout', %(lock_ms)s::text, true) AS lock_timeout,
       set_config('statement_timeout', %(statement_ms)s::text, true) AS statement_timeout;
