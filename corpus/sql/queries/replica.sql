-- name: primary_position
-- Up to where the primary's log is on its disk: what Freshet's sessions committed lies before it. What was written and
-- not flushed does not count, since an idle primary sends it up to 15 s later, and it holds no such commit.
SELECT (SELECT c.system_identifier FROM pg_control_system() c) AS system_identifier,
       ('x' || left(pg_walfile_name(p.flushed), 8))::bit(32)::integer AS timeline,
       (p.flushed - '0/0'::pg_lsn)::bigint AS position
FROM (SELECT pg_current_wal_flush_lsn() AS flushed) p;

-- name: replica_standing
-- What a server is as a replica: which one it copies, and how far it has replayed that one's log. Times of commits are
-- of the primary's clock.
SELECT pg_is_in_recovery() AS is_standby, (SELECT c.system_identifier FROM pg_control_system() c) AS system_identifier,
       greatest((SELECT c.timeline_id FROM pg_control_checkpoint() c),
                (SELECT r.min_recovery_end_timeline FROM pg_control_recovery() r)) AS timeline,
       coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0) AS position,
       pg_last_xact_replay_timestamp() AS newest_commit_at;

-- name: primary_seconds_since
-- How long ago a commit was, by the clock of the primary.
SELECT greatest(0, extract(epoch FROM clock_timestamp() - %(commit_at)s::timestamptz))::double precision AS seconds;

-- name: replica_settings
-- How a standby settles the conflict between its queries and what it has to replay, and which server answers.
SELECT current_setting('hot_standby_feedback')::boolean AS has_feedback,
       (SELECT s.setting::bigint FROM pg_catalog.pg_settings s
         WHERE s.name = 'max_standby_streaming_delay') AS delay_ms,
       pg_postmaster_start_time() AS started_at, inet_server_addr()::text AS address, inet_server_port() AS port;
