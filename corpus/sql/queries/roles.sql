-- name: roles_missing
-- Those of the roles that the server does not have, and whether this user may make them.
SELECT ARRAY(
           SELECT wanted.name FROM unnest(%(roles)s::text[]) AS wanted (name)
           WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = wanted.name)
       ) AS roles,
       u.rolcreaterole OR u.rolsuper AS may_create, u.rolname AS "user"
FROM pg_catalog.pg_roles u WHERE u.rolname = current_user;

-- name: create_roles
-- Those of the roles that are missing; `freshet migrate` of another database may make them at the same time.
DO $$
DECLARE v_role text;
BEGIN
    FOREACH v_role IN ARRAY '{freshet_owner, freshet_writer, freshet_gateway, freshet_reader, freshet_auditor}'::text[]
    LOOP
        BEGIN
            IF to_regrole(v_role) IS NULL THEN EXECUTE format('CREATE ROLE %I NOLOGIN', v_role); END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;

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

-- name: keep_teams_from_writer
-- Who publishes reads what teams are granted, and changes none of it: `freshet apply` does, with another user.
REVOKE INSERT, UPDATE, DELETE ON freshet.team FROM freshet_writer;

-- name: can_be_secured
-- Whether the schema has what row-level security is made with.
SELECT to_regprocedure('freshet.secure_table(name)') IS NOT NULL AS "can";

-- name: secure_schema
-- See freshet.secure_schema in the schema.
SELECT freshet.secure_schema();

-- name: sessions_with_excess
-- Sessions of Freshet's roles whose user has more than it needs. Who is not allowed to see other users' sessions misses
-- those.
SELECT DISTINCT s.session || ' connects as ' || u.rolname || ', which ' || CASE
           WHEN u.rolsuper THEN 'is a superuser'
           WHEN u.rolbypassrls THEN 'passes over row-level security'
           WHEN pg_has_role(u.oid, c.relowner, 'USAGE') THEN 'owns the tables'
           WHEN u.rolcreaterole THEN 'may make roles'
           WHEN u.rolreplication THEN 'may copy the whole server'
           ELSE 'may publish' END AS line
FROM pg_catalog.pg_stat_activity a
CROSS JOIN LATERAL (SELECT split_part(a.application_name, '@', 1) AS session) s
CROSS JOIN LATERAL (SELECT split_part(s.session, '-', 2) AS role) r
JOIN pg_catalog.pg_roles u ON u.oid = a.usesysid
JOIN pg_catalog.pg_class c ON c.oid = to_regclass('freshet.chunk')
WHERE a.datname = current_database()
  AND r.role = ANY('{consumer, orchestrator, preparer, embedder, storer, gateway}')
  AND (u.rolsuper OR u.rolbypassrls OR u.rolcreaterole OR u.rolreplication OR pg_has_role(u.oid, c.relowner, 'USAGE')
       OR r.role = 'gateway' AND EXISTS (
              SELECT FROM pg_catalog.pg_roles w
               WHERE w.rolname = 'freshet_writer' AND pg_has_role(u.oid, w.oid, 'MEMBER')))
ORDER BY line;

-- name: owns_tables
-- Whether this user may build and drop indexes.
SELECT pg_has_role(c.relowner, 'USAGE') AS owns
FROM pg_catalog.pg_class c WHERE c.oid = to_regclass('freshet.chunk');

-- name: build_small_index
-- See freshet.build_small_index in the schema.
SELECT freshet.build_small_index(%(space_id)s::smallint) AS built;

-- name: advisory_locks_are_kept
-- Whether only Freshet's roles can take advisory locks in this database.
SELECT NOT has_function_privilege('public', 'pg_catalog.pg_advisory_lock(bigint)', 'EXECUTE') AS kept;

-- name: disown_superusers
-- See freshet.disown_superusers in the schema.
SELECT freshet.disown_superusers();

-- name: keep_advisory_locks
-- See freshet.keep_advisory_locks in the schema.
SELECT freshet.keep_advisory_locks();

-- name: let_read_for_others
-- See freshet.let_read_for_others in the schema.
SELECT freshet.let_read_for_others();

-- name: ensure_login
-- See freshet.ensure_login in the schema.
SELECT freshet.ensure_login(%(login)s, %(verifier)s, %(roles)s::text[]);
