-- name: roles_missing
-- Those of the roles that the server does not have, and whether this user may make them.
SELECT ARRAY(
           SELECT wanted.name FROM unnest(%(roles)s::text[]) AS wanted (name)
           WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = wanted.name)
       ) AS roles,
       u.rolcreaterole OR u.rolsuper AS may_create, u.rolname AS "user"
FROM pg_catalog.pg_roles u WHERE u.rolname = current_user;

-- name: roles_held
-- What this user is, beside its own rights: those of the roles that it is a member of, and more than a process needs.
SELECT u.rolname AS "user", u.rolsuper AS is_superuser, u.rolbypassrls AS bypasses_rls,
       coalesce((
           SELECT pg_has_role(u.oid, c.relowner, 'USAGE') FROM pg_catalog.pg_class c
           WHERE c.oid = to_regclass('freshet.chunk')
       ), false) AS is_owner,
       ARRAY(
           SELECT r.rolname::text FROM pg_catalog.pg_roles r
           WHERE r.rolname = ANY(%(roles)s::text[]) AND pg_has_role(u.oid, r.oid, 'MEMBER') ORDER BY r.rolname
       ) AS roles
FROM pg_catalog.pg_roles u WHERE u.rolname = current_user;

-- name: tables_to_secure
-- The tables of the schema, apart from that of the migrations.
SELECT c.relname::text FROM pg_catalog.pg_class c
WHERE c.relnamespace = 'freshet'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'migration'
ORDER BY c.relname;

-- name: secure_table
-- See freshet.secure_table in the schema.
SELECT freshet.secure_table(%(table)s::name);

-- name: objects_of_superusers
-- The statements that give what a superuser has made in the schema to freshet_owner: some functions run with the rights
-- of their owner.
SELECT format('ALTER SCHEMA freshet OWNER TO freshet_owner') AS statement, 0 AS place
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
WHERE n.nspname = 'freshet' AND r.rolsuper
UNION ALL
SELECT format('ALTER %s freshet.%I OWNER TO freshet_owner',
           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname), 1
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.relnamespace = to_regnamespace('freshet') AND c.relkind IN ('r', 'p', 'v', 'S') AND r.rolsuper
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S'
  )
UNION ALL
SELECT format('ALTER FUNCTION %s OWNER TO freshet_owner', p.oid::regprocedure), 2
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
WHERE p.pronamespace = to_regnamespace('freshet') AND r.rolsuper
ORDER BY place;

-- name: secure_schema
-- See freshet.secure_schema in the schema.
SELECT freshet.secure_schema();

-- name: may_become
-- Whether this user can take on a role for a transaction.
SELECT pg_has_role(to_regrole(%(role)s), 'MEMBER') AS may;

-- name: login_exists
-- Whether the server has a role of this name.
SELECT to_regrole(quote_ident(%(user)s)) IS NOT NULL AS "exists";

-- name: sessions_with_excess
-- Sessions of Freshet's roles whose user has more than it needs. Who is not allowed to see other users' sessions misses
-- those.
SELECT DISTINCT split_part(a.application_name, '@', 1) || ' connects as ' || u.rolname || ', which ' || CASE
           WHEN u.rolsuper THEN 'is a superuser'
           WHEN u.rolbypassrls THEN 'passes over row-level security'
           ELSE 'owns the tables' END AS line
FROM pg_catalog.pg_stat_activity a
JOIN pg_catalog.pg_roles u ON u.oid = a.usesysid
JOIN pg_catalog.pg_class c ON c.oid = to_regclass('freshet.chunk')
WHERE a.datname = current_database()
  AND split_part(split_part(a.application_name, '@', 1), '-', 2) = ANY(
      '{consumer, orchestrator, preparer, embedder, storer, gateway}')
  AND (u.rolsuper OR u.rolbypassrls OR pg_has_role(u.oid, c.relowner, 'USAGE'))
ORDER BY line;

-- name: owns_tables
-- Whether this user may build and drop indexes.
SELECT pg_has_role(c.relowner, 'USAGE') AS owns
FROM pg_catalog.pg_class c WHERE c.oid = to_regclass('freshet.chunk');

-- name: build_small_index
-- See freshet.build_small_index in the schema.
SELECT freshet.build_small_index(%(space_id)s::smallint) AS built;

-- name: advisory_locks_to_keep
-- The statements after which only Freshet's roles can take advisory locks in this database: any login could stop
-- publishing by taking the lock. Only a superuser can do so, and only where the database is Freshet's alone, since the
-- locks of other applications are taken with the same functions.
SELECT format('%s EXECUTE ON FUNCTION %s %s', change.verb, p.oid::regprocedure, change.whom) AS statement
FROM pg_catalog.pg_proc p
CROSS JOIN (VALUES
    (1, 'GRANT', 'TO freshet_owner, freshet_writer'), (2, 'REVOKE', 'FROM PUBLIC')
) AS change (place, verb, whom)
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^pg_(try_)?advisory_(xact_)?lock'
  AND has_function_privilege('public', p.oid, 'EXECUTE')
  AND (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'freshet', 'pg_toast')
        AND n.nspname NOT LIKE 'pg\_temp\_%'
  )
ORDER BY p.oid, change.place;

-- name: advisory_locks_are_kept
-- Whether only Freshet's roles can take advisory locks in this database.
SELECT NOT has_function_privilege('public', 'pg_catalog.pg_advisory_lock(bigint)', 'EXECUTE') AS kept;
