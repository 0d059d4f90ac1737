-- name: upkeep_tables
-- Every table of Freshet, its size, and what the server has counted since its newest VACUUM and ANALYZE. The counts are
-- lost with a crash; then there is no time of an ANALYZE either.
SELECT c.relname::text AS name, pg_table_size(c.oid) AS bytes,
       CASE WHEN s.last_analyze IS NULL AND s.last_autoanalyze IS NULL
            THEN greatest(c.reltuples, s.n_live_tup, 0)::bigint ELSE s.n_live_tup END AS "rows",
       s.n_dead_tup AS dead, s.n_mod_since_analyze AS modified,
       greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum,
       greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'freshet'::regnamespace AND c.relkind = 'r'
ORDER BY c.relname;

-- name: upkeep_indexes
-- Every index of Freshet; of a vector index, what its entries are made of. `is_left_over`: a rebuild that was
-- interrupted left it, and no session works on it.
SELECT x.relname::text AS name, t.relname::text AS "table", m.amname::text AS method,
       pg_relation_size(x.oid) AS bytes, greatest(x.reltuples, 0)::bigint AS "rows", i.indisvalid AS is_valid,
       p.pid IS NOT NULL AS is_built,
       NOT i.indisvalid AND x.relname ~ '_cc(new|old)[0-9]*$' AND p.pid IS NULL AS is_left_over,
       v.dimensions, coalesce(v.of_closed, false) AS is_of_closed, coalesce(v.is_half, false) AS is_half
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_am m ON m.oid = x.relam
LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.relid = i.indrelid AND p.datname = current_database()
LEFT JOIN (
    SELECT w.index_id, k.of_closed, w.is_half, s.dimensions
    FROM (VALUES (false), (true)) AS k (of_closed)
    CROSS JOIN LATERAL freshet.vector_indexes(k.of_closed) w
    JOIN freshet.embedding_space s ON s.space_id = w.space_id
) v ON v.index_id = i.indexrelid
WHERE t.relnamespace = 'freshet'::regnamespace AND t.relkind = 'r'
ORDER BY t.relname, x.relname;

-- name: upkeep_holders
-- What keeps rows that are gone: transactions, prepared transactions and replication slots that may still see them,
-- since so many seconds. What sessions of other users do is hidden from users without pg_read_all_stats.
SELECT format('%%s (server process %%s)', coalesce(nullif(a.application_name, ''), 'a session without a name'), a.pid)
           AS who, a.xact_start AS since
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
  AND a.backend_type = 'client backend'
  AND a.xact_start <= clock_timestamp() - make_interval(secs => %(seconds)s::double precision)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid)
UNION ALL
SELECT format('prepared transaction %%s', t.gid), t.prepared FROM pg_catalog.pg_prepared_xacts t
WHERE t.database = current_database()
  AND t.prepared <= clock_timestamp() - make_interval(secs => %(seconds)s::double precision)
UNION ALL
SELECT format('replication slot %%s', r.slot_name), NULL FROM pg_catalog.pg_replication_slots r
WHERE r.xmin IS NOT NULL AND NOT r.active
ORDER BY since NULLS LAST LIMIT 1;

-- name: autovacuum_settings
-- Whether the server vacuums and analyses by itself, and counts what it does that by.
SELECT current_setting('autovacuum')::boolean AS is_on, current_setting('track_counts')::boolean AS counts;

-- name: limit_lost_client
-- How long a statement of this session goes on for a client that is gone.
SELECT set_config('client_connection_check_interval', %(seconds)s || 's', false) AS interval;

-- name: upkeep_statement
-- A statement of upkeep. `verb`: what comes before the name.
SELECT format(%(verb)s || ' freshet.%%I', %(name)s::text) AS statement;

-- name: upkeep_progress
-- How far the builds and vacuums of this process are: its sessions are named `freshet-...@host:pid`.
WITH own AS (
    SELECT a.pid FROM pg_catalog.pg_stat_activity a
    WHERE split_part(a.application_name, '@', 2) = split_part(current_setting('application_name'), '@', 2)
)
SELECT x.relname::text AS name, p.phase,
       (100 * CASE WHEN p.tuples_total > 0 THEN p.tuples_done::numeric / p.tuples_total
                   WHEN p.blocks_total > 0 THEN p.blocks_done::numeric / p.blocks_total END)::integer AS percent
FROM pg_catalog.pg_stat_progress_create_index p JOIN own USING (pid)
JOIN pg_catalog.pg_class x ON x.oid = coalesce(nullif(p.index_relid, 0), p.relid)
WHERE p.datname = current_database()
UNION ALL
SELECT t.relname, p.phase,
       (100 * p.heap_blks_vacuumed::numeric / nullif(p.heap_blks_total, 0))::integer
FROM pg_catalog.pg_stat_progress_vacuum p JOIN own USING (pid)
JOIN pg_catalog.pg_class t ON t.oid = p.relid
WHERE p.datname = current_database();

-- name: cancel_upkeep
-- Cancel what the other sessions of this process do.
SELECT count(*) FILTER (WHERE pg_cancel_backend(a.pid)) AS cancelled FROM pg_catalog.pg_stat_activity a
WHERE split_part(a.application_name, '@', 2) = split_part(current_setting('application_name'), '@', 2)
  AND a.pid <> pg_backend_pid() AND a.state = 'active';
