-- name: installation
-- The installation, and the database that it is read from: `original` is the name of the database of this server in
-- which its row was made, null where that one is gone.
SELECT i.installation_id, i.name, i.created_at, i.server, i.database_oid,
       i.kafka_cluster, i.kafka_group, i.temporal_namespace, i.staging_url,
       freshet.server_identity() AS current_server, d.oid::bigint AS current_oid, d.datname::text AS current_name,
       o.datname::text AS original
FROM freshet.installation i
JOIN pg_database d ON d.datname = current_database()
LEFT JOIN pg_database o ON o.oid = i.database_oid;

-- name: bind_installation
-- Record what the installation uses where nothing is recorded yet.
UPDATE freshet.installation SET
    kafka_cluster = coalesce(kafka_cluster, %(kafka_cluster)s::text),
    kafka_group = coalesce(kafka_group, %(kafka_group)s::text),
    temporal_namespace = coalesce(temporal_namespace, %(temporal_namespace)s::text),
    staging_url = coalesce(staging_url, %(staging_url)s::text);

-- name: record_installation_change
-- Keep the row as it is before a change, with the reason.
INSERT INTO freshet.installation_change (change, reason, before)
SELECT %(change)s, %(reason)s, to_jsonb(i) - 'is_only_row' FROM freshet.installation i;

-- name: move_installation
-- It uses these from now on, and this database.
UPDATE freshet.installation SET
    name = coalesce(%(name)s::text, name), kafka_cluster = %(kafka_cluster)s, kafka_group = %(kafka_group)s,
    temporal_namespace = %(temporal_namespace)s, staging_url = %(staging_url)s,
    server = freshet.server_identity(), database_oid = d.oid::bigint
FROM pg_database d WHERE d.datname = current_database();

-- name: separate_installation
-- A copy becomes an installation of its own, which uses nothing yet.
UPDATE freshet.installation SET
    installation_id = gen_random_uuid(), name = coalesce(%(name)s::text, d.datname), created_at = now(),
    kafka_cluster = NULL, kafka_group = NULL, temporal_namespace = NULL, staging_url = NULL,
    server = freshet.server_identity(), database_oid = d.oid::bigint
FROM pg_database d WHERE d.datname = current_database();

-- name: adopt_database
-- The database in which the row was made is gone, and this one was restored in its place.
UPDATE freshet.installation SET server = freshet.server_identity(), database_oid = d.oid::bigint
FROM pg_database d WHERE d.datname = current_database();

-- name: installation_changes
-- What was changed, and why; the newest first.
SELECT changed_at, changed_by, change, reason, before FROM freshet.installation_change ORDER BY change_id DESC;
