-- name: migration_table_exists
-- Whether any migration was ever applied to this database.
SELECT to_regclass('freshet.migration') IS NOT NULL AS "exists";

-- name: migrations_applied
-- The migrations that the database has.
SELECT name, sha256 FROM freshet.migration ORDER BY name;

-- name: create_migration_table
-- The table of applied migrations.
CREATE SCHEMA IF NOT EXISTS freshet;
CREATE TABLE IF NOT EXISTS freshet.migration (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: record_migration
-- Record that a migration was applied.
INSERT INTO freshet.migration (name, sha256) VALUES (%(name)s, %(sha256)s);
