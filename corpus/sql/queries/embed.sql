-- name: claim_texts
-- Claim texts for the length of this transaction; false: another worker has it. One at a time, so nobody waits for anybody.
SELECT hash, pg_try_advisory_xact_lock(%(space_id)s::integer, ('x' || encode(substring(hash FROM 1 FOR 4), 'hex'))::bit(32)::integer)
FROM unnest(%(hashes)s::bytea[]) AS hash;

-- name: copy_embeddings
-- Vectors of a shard.
COPY freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch) FROM STDIN (FORMAT BINARY);
