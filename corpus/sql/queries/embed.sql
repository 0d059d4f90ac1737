-- name: claim_texts
-- Claim texts until this transaction ends; false: another worker holds the claim.
-- A text that another worker holds is skipped, so that no worker waits for another.
SELECT hash,
       pg_try_advisory_xact_lock(
           %(space_id)s::integer, ('x' || encode(substring(hash FROM 1 FOR 4), 'hex'))::bit(32)::integer
       ) AS claimed
FROM unnest(%(hashes)s::bytea[]) AS hash;

-- name: copy_embeddings
-- The vectors of a shard.
COPY freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch) FROM STDIN (FORMAT BINARY);
