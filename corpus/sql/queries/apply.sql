-- name: lock_configuration
-- One `freshet apply` at a time changes rows; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(%(key)s::bigint);

-- name: registered_spaces
-- Fingerprints of the embedding spaces that the database knows.
SELECT fingerprint FROM freshet.embedding_space;
