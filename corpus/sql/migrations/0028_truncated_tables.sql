-- 0028 truncated tables: what a person decided about each, and what the batch with the record deleted.
-- Why: a truncated table halted its source, and could be passed only; its documents could not be deleted by one
-- command.
-- Locks: none (a new table). Phase: pre. Old code does not know it: its consumers halt at the record again, its
-- storers ignore it.

CREATE TABLE freshet.truncation (
    source         text NOT NULL REFERENCES freshet.source,
    topic          text NOT NULL,
    topic_id       text NOT NULL,
    partition      integer NOT NULL,
    record_offset  bigint NOT NULL,
    decision       text NOT NULL CHECK (decision IN ('delete', 'keep')),
    own_version    bigint,                                    -- by the database's log; null: it says none
    record_version bigint NOT NULL,                           -- of the record's time and offset
    reason         text NOT NULL,
    decided_by     text NOT NULL,                             -- user and machine of the command
    decided_at     timestamptz NOT NULL DEFAULT now(),
    documents      bigint,                                    -- that were deleted; null: not carried out yet
    batch          bigint,
    applied_at     timestamptz,
    PRIMARY KEY (source, topic, topic_id, partition, record_offset)
);
