-- 0019 tries and skips: what a worker began and did not end, so that it is not begun for ever; records that an operator passes.
-- Why: a document or a text that ends the process that works on it (out of memory, a crash in native code) was tried again and
-- again, and held up its source; so did a record that Kafka has and no consumer can read. Locks: none (new tables). Phase: pre.
-- Old code writes and reads nothing here.

-- Events whose document was begun to be cleaned or split. A row goes when that ends, and when the position moves over it.
CREATE TABLE freshet.begun_event (
    source        text NOT NULL REFERENCES freshet.source,
    topic         text NOT NULL,
    topic_id      text NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint NOT NULL,
    tries         integer NOT NULL DEFAULT 1,                 -- that did not end well
    detail        text NOT NULL DEFAULT '',                   -- of the last that raised an error: its class and place
    begun_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, topic, topic_id, partition, record_offset)
);

-- Texts that were begun to be embedded, per space. A row goes when its text has a vector, or is refused.
CREATE TABLE freshet.begun_text (
    space_fingerprint text NOT NULL,
    text_sha256       bytea NOT NULL,
    tries             integer NOT NULL DEFAULT 1,
    begun_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_fingerprint, text_sha256)
);

-- Records that an operator has a source pass, since they cannot be read. The consumer makes a dead letter of each offset, so that
-- the counts of its batch add up; the rows stay, as a record of who passed what.
CREATE TABLE freshet.skipped_records (
    source       text NOT NULL REFERENCES freshet.source,
    topic        text NOT NULL,
    topic_id     text NOT NULL,
    partition    integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL CHECK (next_offset > first_offset),   -- exclusive
    reason       text NOT NULL,
    skipped_by   text NOT NULL DEFAULT session_user,
    skipped_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, topic, topic_id, partition, first_offset)
);
