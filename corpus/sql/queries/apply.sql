-- name: lock_configuration
-- One `freshet apply` at a time changes rows; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(%(key)s::bigint);

-- name: registered_spaces
-- Fingerprints of the embedding spaces that the database knows.
SELECT fingerprint FROM freshet.embedding_space;

-- name: try_lock_apply
-- Whether this session is the one `freshet apply` that runs; the lock ends with the transaction.
SELECT pg_try_advisory_xact_lock(%(key)s::bigint) AS locked;

-- name: lock_holders
-- The sessions that hold an advisory lock, and since when they have run their transaction.
SELECT a.pid, a.application_name AS application, coalesce(a.state, '') AS state, a.xact_start AS since
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.locktype = 'advisory' AND l.objsubid = 1
  AND (l.classid::bigint << 32) | l.objid::bigint = %(key)s::bigint
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY a.pid;
