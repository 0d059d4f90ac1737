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
-- Keep the vectors that were copied in.
INSERT INTO freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch)
SELECT i.space_id, i.text_sha256, i.dimensions, i.embedding, i.source, i.batch FROM incoming_embedding i;

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
-- Every registered space with the state of its vector index, and the progress of a build. An index of pgvector holds
-- vectors of at most 2,000 dimensions.
SELECT s.space_id, s.model, s.prefix, s.fingerprint,
       CASE WHEN p.pid IS NOT NULL THEN 'building'
            WHEN i.indisvalid THEN 'built'
            WHEN s.dimensions > 2000 THEN 'impossible'
            WHEN i.indexrelid IS NOT NULL THEN 'interrupted'
            ELSE 'missing' END AS state,
       p.phase,
       (100 * p.tuples_done / nullif(p.tuples_total, 0))::integer AS percent,
       p.pid AS builder
FROM freshet.embedding_space s
LEFT JOIN pg_index i ON i.indexrelid = to_regclass('freshet.chunk_embedding_space_' || s.space_id)
LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.indexrelid AND p.datname = current_database()
ORDER BY s.space_id;

-- name: drop_space_index
-- The statement that drops a space's index, where an interrupted build left it.
SELECT 'DROP INDEX CONCURRENTLY IF EXISTS freshet.chunk_embedding_space_' || s.space_id AS statement
FROM freshet.embedding_space s WHERE s.space_id = %(space_id)s;

-- name: build_space_index
-- The statement that builds a space's index: its visible rows, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_embedding_space_' || s.space_id
       || ' ON freshet.chunk USING hnsw ((embedding::vector(' || s.dimensions || ')) vector_cosine_ops)'
       || ' WHERE visible_to IS NULL AND space_id = ' || s.space_id AS statement
FROM freshet.embedding_space s WHERE s.space_id = %(space_id)s;

-- name: limit_idle_session
-- Close this session if it does nothing for so long, also outside of a transaction.
SELECT set_config('idle_session_timeout', %(seconds)s || 's', false) AS idle_session_timeout;

-- name: space_by_fingerprint
-- The id of a registered space. Looked up where it is used: after a restore, a space may have another id.
SELECT space_id FROM freshet.embedding_space WHERE fingerprint = %(fingerprint)s;
