-- name: server_facts
-- What a server, its database and its user are; see `corpus/sessions/server.py`. The path of names is not pinned yet.
SELECT current_setting('server_version_num')::integer AS version, pg_backend_pid() AS backend_pid,
       quote_ident(current_database()) AS "database", quote_ident(current_user) AS "user",
       pg_is_in_recovery() AS is_standby,
       current_setting('default_transaction_read_only')::boolean AS is_read_only,
       CASE WHEN current_setting('default_transaction_read_only')::boolean THEN (
           SELECT g.source FROM pg_catalog.pg_settings g WHERE g.name = 'default_transaction_read_only'
       ) END AS read_only_by,
       pg_encoding_to_char(d.encoding)::text AS encoding, d.datctype::text AS character_type,
       to_regnamespace('freshet') IS NOT NULL AS has_schema,
       has_database_privilege(d.oid, 'CREATE') AS may_create,
       has_database_privilege(d.oid, 'TEMPORARY') AS may_use_temporary,
       quote_ident(n.nspname) AS vector_schema, e.extversion AS vector_version,
       coalesce(has_schema_privilege(n.oid, 'USAGE'), true) AS may_use_vector,
       pg_has_role('pg_read_all_stats', 'USAGE') AS sees_sessions,
       (SELECT quote_ident(o.nspname) FROM pg_catalog.pg_namespace o
         WHERE o.nspname IN ('freshet', 'public', n.nspname) AND has_schema_privilege('public', o.oid, 'CREATE')
         ORDER BY o.nspname LIMIT 1) AS schema_of_everybody
FROM pg_catalog.pg_database d
LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'vector'
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE d.datname = current_database();

-- name: knows_letters
-- Whether text search sees that quotes and dashes are none, and which small letters belong to capitals outside ASCII.
SELECT tsvector_to_array(to_tsvector('pg_catalog.simple', '“ÖL”—ШЛЮЗ')) = ARRAY['öl', 'шлюз'] AS "known";

-- name: pin_settings
-- Set what a session relies on, over whatever a server, a database, a user or a pooler has set.
SELECT pinned.name, set_config(pinned.name, pinned.value, false) AS value
FROM unnest(%(names)s::text[], %(values)s::text[], %(instead_of)s::text[], %(needs_right)s::boolean[])
     AS pinned (name, value, instead_of, needs_right)
WHERE pinned.instead_of IN ('', current_setting(pinned.name))
  AND (NOT pinned.needs_right OR has_parameter_privilege(pinned.name, 'SET'));

-- name: unpinned_settings
-- What a session relies on and could not set. Parameters of statements are only logged with statements.
SELECT wanted.name, current_setting(wanted.name) AS value, g.source
FROM unnest(%(names)s::text[], %(values)s::text[]) AS wanted (name, value)
JOIN pg_catalog.pg_settings g ON g.name = wanted.name
WHERE current_setting(wanted.name) <> wanted.value
  AND (wanted.name <> 'log_parameter_max_length' OR current_setting('log_statement') <> 'none'
       OR current_setting('log_min_duration_statement') <> '-1'
       OR current_setting('log_min_duration_sample') <> '-1')
ORDER BY wanted.name;

-- name: other_settings
-- Values of settings as the database, the user or the connection string has set them.
SELECT g.name, current_setting(g.name) AS value, g.source
FROM pg_catalog.pg_settings g WHERE lower(g.name) = ANY(%(names)s::text[])
  AND g.source IN ('database', 'user', 'database user', 'client') ORDER BY g.name;

-- name: backend_pid
-- The process that serves this session, or at a pooler this transaction.
SELECT pg_backend_pid() AS pid;

-- name: load_pgvector
-- Load pgvector's library: only then any user may define functions with settings of it.
SELECT '[1]'::vector IS NOT NULL AS is_loaded;

-- name: create_pgvector
-- The extension is installed in the schema public, where every client finds the type.
CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;
