-- name: try_lock_transaction
-- Take a lock until the transaction ends; false: another session has it.
SELECT pg_try_advisory_xact_lock(%(key)s::bigint) AS taken;

-- name: try_lock_session
-- Take a lock until this session ends; false: another session has it. Poolers that lend a session to one transaction
-- at a time would strand it; `connect` refuses them.
SELECT pg_try_advisory_lock(%(key)s::bigint) AS taken;

-- name: wait_to_lock_transaction
-- Take a lock until the transaction ends, after those that wait for it already.
SELECT pg_advisory_xact_lock(%(key)s::bigint);

-- name: wait_to_lock_session
-- Take a lock until this session ends, after those that wait for it already.
SELECT pg_advisory_lock(%(key)s::bigint);

-- name: lock_wait_limit
-- How long this session waits for a lock.
SELECT current_setting('lock_timeout') AS lock_timeout;

-- name: limit_lock_waits
-- Until the end of the transaction.
SELECT set_config('lock_timeout', %(limit)s::text, true) AS lock_timeout;

-- name: lock_holders
-- The sessions that hold an advisory lock of one number. What they do is hidden from users without pg_read_all_stats.
SELECT l.pid, coalesce(a.application_name, '') AS application, a.state, a.state_change AS since
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.locktype = 'advisory' AND l.objsubid = 1
  AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s::bigint
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.pid;

-- name: lock_waits
-- Who waits for a lock for at least so many seconds, for which one, since when, and which session holds it; one row per
-- pair of waiter and holder. `source`: whose publishing it is about, where the lock says so. The build of an index that
-- waits for older transactions (virtualxid) holds up none; see `space_indexes`.
WITH wanted AS (
    SELECT l.pid, l.locktype, l.relation, l.page, l.tuple, l.classid::bigint AS high, l.objid::bigint AS low,
           l.objsubid, coalesce(l.waitstart, a.state_change) AS since
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE NOT l.granted AND l.locktype <> 'virtualxid' AND a.datname = current_database()
      AND coalesce(l.waitstart, a.state_change)
          <= clock_timestamp() - make_interval(secs => %(seconds)s::double precision)
), place AS (
    -- Who waits for a row waits for a transaction, and holds the row's place in the queue.
    SELECT w.pid, coalesce(w.relation, t.relation) AS relation, coalesce(w.page, t.page) AS page,
           coalesce(w.tuple, t.tuple) AS tuple
    FROM wanted w
    LEFT JOIN pg_locks t ON t.pid = w.pid AND t.locktype = 'tuple' AND t.granted AND w.locktype = 'transactionid'
), named AS (
    SELECT w.pid, w.since,
           coalesce(published.source, written.source) AS source,
           CASE WHEN published.source IS NOT NULL THEN 'publishing of source ' || published.source
                WHEN written.source IS NOT NULL THEN 'row of source ' || written.source
                WHEN w.locktype = 'advisory' AND w.objsubid = 1 THEN CASE (w.high << 32) | w.low
                    WHEN 28836227677971828 THEN 'migrations'
                    WHEN 7382074285560524912 THEN 'configuration (`freshet apply`)'
                    WHEN 7382074285561046136 THEN 'index builds and upkeep'
                    ELSE 'advisory lock ' || w.high || '/' || w.low END
                WHEN w.locktype = 'advisory' THEN 'advisory lock ' || w.high || '/' || w.low
                WHEN p.relation IS NOT NULL AND p.tuple IS NOT NULL THEN 'row of ' || p.relation::regclass
                WHEN p.relation IS NOT NULL THEN 'table ' || p.relation::regclass
                ELSE w.locktype END AS wanted
    FROM wanted w
    JOIN place p ON p.pid = w.pid
    LEFT JOIN freshet.source published
        ON w.locktype = 'advisory' AND w.objsubid = 2 AND w.high = hashtext('freshet.publish')::bigint & 4294967295
        AND w.low = hashtext(published.source)::bigint & 4294967295
    LEFT JOIN freshet.source written
        ON p.relation = 'freshet.source'::regclass AND written.ctid = ('(' || p.page || ',' || p.tuple || ')')::tid
)
SELECT n.source, n.wanted, n.since, n.pid AS waiting_pid, w.application_name AS waiting,
       h.pid AS holding_pid, coalesce(h.application_name, '') AS holding, coalesce(h.state, '') AS holding_state,
       h.state_change AS holding_since
FROM named n
JOIN pg_stat_activity w ON w.pid = n.pid
LEFT JOIN LATERAL unnest(pg_blocking_pids(n.pid)) AS blocking (pid) ON true
LEFT JOIN pg_stat_activity h ON h.pid = blocking.pid
ORDER BY n.since, n.pid, h.pid;

-- name: still_sessions
-- Sessions that do nothing in an open transaction for at least so many seconds, and the sources whose publishing they
-- hold.
SELECT a.pid, a.application_name AS application, a.state_change AS since,
       coalesce(array_agg(s.source ORDER BY s.source) FILTER (WHERE s.source IS NOT NULL), '{}') AS sources
FROM pg_stat_activity a
LEFT JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.locktype = 'advisory' AND l.objsubid = 2
    AND l.classid::bigint = hashtext('freshet.publish')::bigint & 4294967295
LEFT JOIN freshet.source s ON hashtext(s.source)::bigint & 4294967295 = l.objid::bigint
WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%%'
  AND a.application_name NOT LIKE 'freshet-apply-lock%%'  -- it waits for a whole `freshet apply`, and holds up no other
  AND a.state_change <= clock_timestamp() - make_interval(secs => %(seconds)s::double precision)
GROUP BY a.pid, a.application_name, a.state_change
ORDER BY a.state_change;

-- name: publishing_sessions
-- The sessions that hold the lock of a source's publishing.
SELECT l.pid, coalesce(a.application_name, '') AS application, a.state, a.state_change AS since
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.locktype = 'advisory' AND l.objsubid = 2
  AND l.classid::bigint = hashtext('freshet.publish')::bigint & 4294967295
  AND l.objid::bigint = hashtext(%(source)s::text)::bigint & 4294967295
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.pid;

-- name: waiting_copies
-- Sessions of this user that have waited in a COPY for rows of their client, and how much came so far.
SELECT a.pid, a.application_name AS application, a.query_start AS since, p.bytes_processed AS received
FROM pg_stat_progress_copy p JOIN pg_stat_activity a ON a.pid = p.pid
WHERE a.datname = current_database() AND a.usename = current_user AND a.application_name LIKE 'freshet%%'
  AND a.wait_event = 'ClientRead'
  AND a.query_start <= clock_timestamp() - make_interval(secs => %(seconds)s::double precision)
ORDER BY a.pid;

-- name: end_session
-- Close another session of this user; its transaction is rolled back.
SELECT pg_terminate_backend(%(pid)s::integer) AS ended;
