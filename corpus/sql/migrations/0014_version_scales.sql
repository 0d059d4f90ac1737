-- 0014 version scales: the highest version of a source, and the versions of documents that a person has corrected.
-- Why: one event with an absurd version outranked every later one of its document; a producer that began to send versions
-- was superseded for ever, since the versions made of its records are greater.
-- Locks: ACCESS EXCLUSIVE on source and batch for a moment (a column without a default; a check that is not validated,
-- since it only allows more). Phase: pre. Old code leaves the column empty; the first batch of new code fills it in.

ALTER TABLE freshet.source
    ADD COLUMN highest_version bigint;                        -- that an event named and that was accepted; -1: none; null: not kept yet

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
