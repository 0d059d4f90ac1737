-- 0014 versions and deletes: the highest version of a source, versions that a person has corrected, and holes that may
-- have held deletes.
-- Why: one event with an absurd version outranked every later one of its document; a producer that began to send versions
-- was superseded for ever, since the versions made of its records are greater. And a compacted topic drops its tombstones
-- after a time: a source that did not read for longer than that showed documents for ever that were deleted.
-- Locks: ACCESS EXCLUSIVE on source, source_position and batch for a moment (columns without a default; a check that is
-- not validated, since it only allows more). Phase: pre. Old code leaves the columns empty.

ALTER TABLE freshet.source
    ADD COLUMN highest_version bigint;                        -- that an event named and that was accepted; -1: none; null: not kept yet

-- What was deleted and written before the newest of begun_at, newest_at and reconciled_at, the corpus knows.
ALTER TABLE freshet.source_position
    ADD COLUMN begun_at timestamptz,                          -- when the source began to read the log; null: before this
    ADD COLUMN reconciled_at timestamptz,                     -- when the corpus was last compared with the whole log
    ADD COLUMN hole_at timestamptz,                           -- when a hole was published that may have held deletes
    ADD COLUMN hole_since timestamptz,                        -- since when such deletes may have been written
    ADD COLUMN hole_seconds double precision;                 -- how long after hole_since the hole was read; the longest

-- A version that was a mistake; an event that names it is a dead letter from then on.
CREATE TABLE freshet.document_correction (
    source       text NOT NULL REFERENCES freshet.source,
    document_id  text NOT NULL,
    old_version  bigint NOT NULL,
    new_version  bigint NOT NULL,
    batch        bigint NOT NULL,                             -- that carried it out
    reason       text NOT NULL,
    requested_by text NOT NULL,                               -- user and machine of the command
    corrected_at timestamptz NOT NULL,
    PRIMARY KEY (source, document_id, old_version),
    CHECK (new_version < old_version)
);

ALTER TABLE freshet.batch DROP CONSTRAINT batch_kind_check,
    ADD CONSTRAINT batch_kind_check
        CHECK (kind IN ('ingest', 'expiry', 'erasure', 'reembed', 'correction')) NOT VALID;

-- Whether an event named a version; else it is made of the record (corpus/versions/scale.py, `is_of_record`).
CREATE FUNCTION freshet.is_own(p_version bigint, p_written jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_version >= 0 AND NOT EXISTS (
        SELECT FROM jsonb_each(p_written) w
        WHERE (w.value ->> 1)::bigint = p_version
           OR ((w.value ->> 1)::bigint >= 1099511627776 AND (w.value ->> 1)::bigint >> 20 = p_version >> 20)
    )
$$;

-- For how long the corpus may not know what was deleted in a log, in seconds; null: it began to read before this was kept.
CREATE FUNCTION freshet.unknown_for(p_position freshet.source_position, p_at timestamptz) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT extract(
        epoch FROM p_at - greatest((p_position).begun_at, (p_position).newest_at, (p_position).reconciled_at)
    )::double precision
$$;
