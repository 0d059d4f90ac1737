-- name: lock_configuration
-- One `freshet apply` at a time changes rows; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(%(key)s::bigint);

-- name: registered_spaces
-- The embedding spaces that the database knows, with the precision of their vectors.
SELECT fingerprint, freshet.vectors_of_space(vectors, dimensions) AS vectors, has_half FROM freshet.embedding_space;
