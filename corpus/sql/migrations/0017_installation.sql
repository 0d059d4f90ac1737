-- 0017 installation: a database knows which installation of Freshet it belongs to, and which servers that one uses.
-- Why: two installations that met in one consumer group, Temporal namespace or staging store took each other's records, schedules
-- and files without a sign of it.
-- Locks: none but those of new tables. Phase: pre. Old code knows nothing of it, and carries no mark.

-- What PostgreSQL calls this server: a clone of its files has the same, a server that is initialised anew has another. '' where a
-- managed server does not show it.
CREATE FUNCTION freshet.server_identity() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT system_identifier::text FROM pg_control_system());
EXCEPTION WHEN OTHERS THEN
    RETURN '';
END $$;

CREATE TABLE freshet.installation (
    is_only_row        boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    installation_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    name               text NOT NULL,               -- for people; the database's at first
    created_at         timestamptz NOT NULL DEFAULT now(),
    server             text NOT NULL,               -- server_identity() of the database that this row was made in
    database_oid       bigint NOT NULL,             -- of that database
    kafka_cluster      text,                        -- what it uses; null: no process has used any yet
    kafka_group        text,
    temporal_namespace text,
    staging_url        text
);

-- Moves, separations and restores: why, and the row as it was before.
CREATE TABLE freshet.installation_change (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT session_user,
    change     text NOT NULL,
    reason     text NOT NULL,
    before     jsonb NOT NULL
);

INSERT INTO freshet.installation (name, server, database_oid)
SELECT d.datname, freshet.server_identity(), d.oid::bigint FROM pg_database d WHERE d.datname = current_database();
