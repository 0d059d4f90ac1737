-- 0029 backfills: ranges of a source's log that are read again beside the live stream.
-- Why: a changed mapping or preparation takes effect with the next event of a document only, and to move the
-- position back holds up what is new until everything after is read again.
-- Locks: a short one on batch (its check is replaced without a scan); the other tables are new. Phase: pre. Old code
-- makes no backfill, and drops what is staged for one as applied already.

ALTER TABLE freshet.batch DROP CONSTRAINT batch_kind_check,
    ADD CONSTRAINT batch_kind_check
        CHECK (kind IN ('ingest', 'expiry', 'erasure', 'reembed', 'correction', 'backfill')) NOT VALID;

CREATE TABLE freshet.backfill (
    backfill   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source     text NOT NULL REFERENCES freshet.source,
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'done', 'cancelled', 'failed')),
    ranges     jsonb NOT NULL,                                -- [{topic, topic_id, partition, first_offset, next_offset}, ...]
    wanted     bigint NOT NULL,                               -- offsets in the ranges, or records that are named
    by_record  boolean NOT NULL DEFAULT false,                -- only the records in backfill_record
    rate       integer NOT NULL DEFAULT 0,                    -- records per second; 0: no limit
    passed     bigint NOT NULL DEFAULT 0,                     -- of `wanted`, that were read, or are gone
    gone       bigint NOT NULL DEFAULT 0,                     -- of these, that Kafka no longer had
    waits_for  text NOT NULL DEFAULT '',                      -- why the part in progress is not published yet
    error      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    moved_at   timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE UNIQUE INDEX backfill_runs ON freshet.backfill (source) WHERE state IN ('running', 'paused');

CREATE TABLE freshet.backfill_record (
    backfill      bigint NOT NULL REFERENCES freshet.backfill,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint NOT NULL,
    PRIMARY KEY (backfill, topic, partition, record_offset)
);

-- What was published; a part that is handed over twice is recognised here.
CREATE TABLE freshet.backfill_part (
    backfill     bigint NOT NULL REFERENCES freshet.backfill,
    topic        text NOT NULL,
    partition    integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,
    source       text NOT NULL,
    batch        bigint NOT NULL,
    PRIMARY KEY (backfill, topic, partition, first_offset, next_offset)
);
