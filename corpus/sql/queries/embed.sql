-- name: claim_texts
-- Claim texts until this transaction ends; false: another worker holds the claim.
-- A text that another worker holds is skipped, so that no worker waits for another.
SELECT hash,
       pg_try_advisory_xact_lock(
           %(space_id)s::integer, ('x' || encode(substring(hash FROM 1 FOR 4), 'hex'))::bit(32)::integer
       ) AS claimed
FROM unnest(%(hashes)s::bytea[]) AS hash;

-- name: create_incoming_embedding
-- Receives the vectors of a shard: PostgreSQL copies nothing into a table with row-level security.
CREATE TEMP TABLE IF NOT EXISTS incoming_embedding (
    space_id smallint, text_sha256 bytea, dimensions integer, embedding vector, source text, batch bigint
) ON COMMIT DELETE ROWS;

-- name: copy_embeddings
-- The vectors of a shard.
COPY incoming_embedding (space_id, text_sha256, dimensions, embedding, source, batch) FROM STDIN (FORMAT BINARY);

-- name: insert_embeddings
-- Keep the vectors that were copied in, but those of an attempt that was left behind: no batch needs them any more, and
-- their texts may be erased.
INSERT INTO freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch)
SELECT i.space_id, i.text_sha256, i.dimensions, i.embedding, i.source, i.batch FROM incoming_embedding i
WHERE NOT EXISTS (SELECT FROM freshet.source s WHERE s.source = i.source AND i.batch <= s.last_batch);

-- name: refused_texts
-- Texts that have no vector in a space, since the model makes none that can be stored.
SELECT text_sha256 FROM freshet.refused_text WHERE space_fingerprint = %(space_fingerprint)s;

-- name: remember_refused_texts
-- Keep texts that a model refused.
INSERT INTO freshet.refused_text (space_fingerprint, text_sha256)
SELECT %(space_fingerprint)s, hash FROM unnest(%(hashes)s::bytea[]) AS hash
ON CONFLICT DO NOTHING;

-- name: begun_texts
-- Those of the texts that were begun and got no vector, with the number of tries.
SELECT text_sha256, tries FROM freshet.begun_text b
WHERE space_fingerprint = %(space_fingerprint)s AND text_sha256 = ANY(%(hashes)s::bytea[])
  AND NOT EXISTS (
      SELECT FROM freshet.embedding e JOIN freshet.embedding_space s ON s.space_id = e.space_id
      WHERE s.fingerprint = b.space_fingerprint AND e.text_sha256 = b.text_sha256
  );

-- name: begin_texts
-- Count a try of texts before it is made: its process may not live to count it afterwards.
INSERT INTO freshet.begun_text (space_fingerprint, text_sha256)
SELECT %(space_fingerprint)s, hash FROM unnest(%(hashes)s::bytea[]) AS hash ORDER BY hash
ON CONFLICT (space_fingerprint, text_sha256)
DO UPDATE SET tries = freshet.begun_text.tries + 1, begun_at = now();

-- name: end_texts
-- A try of texts ended well, or is the last.
DELETE FROM freshet.begun_text
WHERE space_fingerprint = %(space_fingerprint)s AND text_sha256 = ANY(%(hashes)s::bytea[]);

-- name: space_indexes
-- Every registered space with the state of its vector index, and the progress of a build, or of narrowing vectors.
SELECT s.space_id, s.model, s.prefix, s.fingerprint, freshet.vectors_of_space(s.vectors, s.dimensions) AS vectors,
       CASE WHEN p.pid IS NOT NULL THEN 'building'
            WHEN w.name IS NULL THEN 'impossible'
            WHEN o.name IS NOT NULL THEN 'changing'
            WHEN w.index_id IS NULL THEN 'missing'
            WHEN NOT w.is_valid THEN 'interrupted'
            WHEN s.next_to_narrow IS NOT NULL THEN 'narrowing'
            ELSE 'built' END AS state,
       p.phase,
       CASE WHEN p.pid IS NOT NULL THEN 100 * p.tuples_done / nullif(p.tuples_total, 0)
            ELSE 100 * s.next_to_narrow / nullif((SELECT max(c.chunk_id) FROM freshet.chunk c), 0)
            END::integer AS percent,
       p.pid AS builder
FROM freshet.embedding_space s
LEFT JOIN freshet.space_vector_indexes() w ON w.space_id = s.space_id AND w.is_wanted
LEFT JOIN freshet.space_vector_indexes() o ON o.space_id = s.space_id AND NOT o.is_wanted AND o.index_id IS NOT NULL
LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = w.index_id AND p.datname = current_database()
ORDER BY s.space_id;

-- name: wanted_index
-- The index that a space should have, and whether it can be used.
SELECT i.name, i.is_valid FROM freshet.space_vector_indexes() i WHERE i.space_id = %(space_id)s AND i.is_wanted;

-- name: drop_space_index
-- The statement that drops the index that a space should have, where an interrupted build left it.
SELECT 'DROP INDEX CONCURRENTLY IF EXISTS freshet.' || i.name AS statement
FROM freshet.space_vector_indexes() i WHERE i.space_id = %(space_id)s AND i.is_wanted;

-- name: build_space_index
-- The statement that builds the index that a space should have: its visible rows, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY ' || i.definition AS statement
FROM freshet.space_vector_indexes() i WHERE i.space_id = %(space_id)s AND i.is_wanted;

-- name: graph_to_build
-- What a vector index will hold, of visible chunks or of closed ones, and the megabytes that this server gives to a
-- build where nobody asks for more.
SELECT CASE WHEN k.of_closed
            THEN (SELECT count(*) FROM freshet.chunk c WHERE c.visible_to IS NOT NULL AND c.space_id = s.space_id)
            ELSE (SELECT count(*) FROM freshet.chunk c WHERE c.visible_to IS NULL AND c.space_id = s.space_id)
            END AS "rows",
       s.dimensions, w.is_half,
       (pg_size_bytes(current_setting('maintenance_work_mem')) / 1048576)::integer AS own_megabytes
FROM (VALUES (false), (true)) AS k (of_closed)
CROSS JOIN LATERAL freshet.vector_indexes(k.of_closed) w
JOIN freshet.embedding_space s ON s.space_id = w.space_id
WHERE w.name = %(name)s;

-- name: set_build_memory
-- What the next build of an index in this session gets.
SELECT set_config('maintenance_work_mem', %(megabytes)s || 'MB', false) AS memory,
       set_config('max_parallel_maintenance_workers', %(workers)s::text, false) AS workers;

-- name: drop_other_space_index
-- The statement that drops a space's index of another choice; searches have left it when the wanted one is there.
SELECT 'DROP INDEX CONCURRENTLY IF EXISTS freshet.' || i.name AS statement
FROM freshet.space_vector_indexes() i WHERE i.space_id = %(space_id)s AND NOT i.is_wanted;

-- name: narrow_vectors
-- Bring the vectors of the next chunks into half precision; whoever works on a chunk at this moment keeps it as it is.
WITH page AS MATERIALIZED (
    SELECT c.chunk_id FROM freshet.chunk c
    WHERE c.chunk_id >= (SELECT s.next_to_narrow FROM freshet.embedding_space s WHERE s.space_id = %(space_id)s)
    ORDER BY c.chunk_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), narrowed AS (
    UPDATE freshet.chunk c
    SET embedding = NULL, embedding_half = c.embedding::halfvec,
        vector_hash = freshet.narrowed_hash(c.vector_hash, c.embedding)
    FROM page WHERE c.chunk_id = page.chunk_id AND c.space_id = %(space_id)s AND c.embedding IS NOT NULL
    RETURNING c.chunk_id
), moved AS (
    UPDATE freshet.embedding_space s SET next_to_narrow = (SELECT max(page.chunk_id) + 1 FROM page)
    WHERE s.space_id = %(space_id)s AND s.next_to_narrow IS NOT NULL
)
SELECT (SELECT count(*) FROM page) AS looked_at, (SELECT count(*) FROM narrowed) AS narrowed;

-- name: closed_vector_indexes
-- The vector indexes of closed chunks that are there or should be; those of another choice are no longer searched, and
-- one of few closed chunks is dropped.
SELECT i.name, CASE WHEN p.pid IS NOT NULL THEN 'building' WHEN NOT i.is_wanted THEN 'changing'
                    WHEN i.index_id IS NULL THEN 'missing' WHEN NOT i.is_valid THEN 'interrupted'
                    ELSE 'built' END AS state
FROM freshet.vector_indexes(true) i
LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.index_id AND p.datname = current_database()
WHERE i.is_wanted OR i.index_id IS NOT NULL ORDER BY i.name;

-- name: build_closed_vector_index
-- The statement that builds one of them, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY ' || i.definition AS statement
FROM freshet.vector_indexes(true) i WHERE i.name = %(name)s;

-- name: history_waits
-- Whether closed chunks are to be brought into a vector index.
SELECT EXISTS (SELECT FROM freshet.vector_indexes(true) i WHERE i.is_wanted)
       -- The first by the index of those that wait: EXISTS may read all chunks for it.
       AND (SELECT min(c.visible_to) FROM freshet.chunk c
            WHERE c.visible_to IS NOT NULL AND c.in_history IS NULL) IS NOT NULL AS waits;

-- name: closed_chunks_waiting
-- Closed chunks that wait for a storer to bring them into their vector index, where one is wanted, and since when the
-- first does; no more are counted than a limit says.
SELECT count(*) AS chunks, min(w.visible_to) AS since
FROM (SELECT c.visible_to FROM freshet.chunk c
      WHERE c.visible_to IS NOT NULL AND c.in_history IS NULL
        AND EXISTS (SELECT FROM freshet.vector_indexes(true) i WHERE i.is_wanted)
        AND EXISTS (SELECT FROM pg_catalog.pg_index x
                    WHERE x.indexrelid = to_regclass('freshet.chunk_closing') AND x.indisvalid)
      ORDER BY c.visible_to LIMIT %(limit)s) w;

-- name: bring_into_history
-- Bring the next closed chunks into the vector index of their space, where it is built; whoever works on a chunk at
-- this moment keeps it as it is.
WITH page AS MATERIALIZED (
    SELECT c.chunk_id FROM freshet.chunk c WHERE c.visible_to IS NOT NULL AND c.in_history IS NULL
    ORDER BY c.visible_to LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), brought AS (
    UPDATE freshet.chunk c SET in_history = true FROM page WHERE c.chunk_id = page.chunk_id RETURNING c.chunk_id
)
SELECT count(*) AS brought FROM brought;

-- name: choose_vectors
-- Choose the precision of a space's index and vectors; those that are there are narrowed afterwards.
UPDATE freshet.embedding_space
SET vectors = %(vectors)s, has_half = has_half OR %(vectors)s = 'half',
    next_to_narrow = CASE WHEN %(vectors)s = 'half' THEN 0 END
WHERE fingerprint = %(fingerprint)s AND vectors IS DISTINCT FROM %(vectors)s;

-- name: limit_idle_session
-- Close this session if it does nothing for so long, also outside of a transaction.
SELECT set_config('idle_session_timeout', %(seconds)s || 's', false) AS idle_session_timeout;

-- name: space_by_fingerprint
-- The id of a registered space. Looked up where it is used: after a restore, a space may have another id.
SELECT space_id FROM freshet.embedding_space WHERE fingerprint = %(fingerprint)s;

-- name: keep_brought_embeddings
-- Keep vectors that were made elsewhere; they are of no batch.
INSERT INTO freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch)
SELECT i.space_id, i.text_sha256, i.dimensions, i.embedding, i.source, i.batch FROM incoming_embedding i;

-- name: texts_of_hashes
-- The texts of some hashes, where a chunk of any space has one. The model reads no more than the text.
SELECT w.hash AS text_sha256, k.text FROM unnest(%(hashes)s::bytea[]) AS w (hash)
CROSS JOIN LATERAL (
    SELECT c.text FROM freshet.embedding_space s
    JOIN freshet.chunk c ON c.space_id = s.space_id AND c.text_sha256 = w.hash AND c.has_wrong_vector IS NULL
    WHERE s.context = 'none' AND NOT c.truncated LIMIT 1
) k;
