-- 0018 audits: what audits of the corpus compared, how far they are, and what they found.
-- Why: nothing said whether the corpus equals its sources. Locks: none (new tables). Phase: pre (additive).

-- One row per audit. Its workflow carries a cursor; results of a step that is repeated are written once.
CREATE TABLE freshet.audit (
    audit         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source        text NOT NULL REFERENCES freshet.source,
    workflow_id   text NOT NULL,
    run_id        text NOT NULL UNIQUE,                       -- of the run that began it
    scope         text NOT NULL CHECK (scope IN ('full', 'sample')),
    sample        bigint NOT NULL DEFAULT 0,                  -- documents of a sample
    state         text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    phase         text NOT NULL DEFAULT 'begin',
    started_at    timestamptz NOT NULL DEFAULT now(),
    moved_at      timestamptz NOT NULL DEFAULT now(),         -- of its last step
    finished_at   timestamptz,
    last_batch    bigint NOT NULL DEFAULT 0,                  -- newest batch when it began
    published_at  timestamptz,                                -- instant of that batch
    -- What it audits of each partition, up to the published position: corpus.audit.audit.AuditedPartition
    positions     jsonb NOT NULL DEFAULT '[]',
    counts        jsonb NOT NULL DEFAULT '{}',                -- records, documents, chunks and what could not be judged
    findings      jsonb NOT NULL DEFAULT '{}',                -- kind -> how many; when it is done
    has_inventory boolean NOT NULL DEFAULT false,
    error         text,                                       -- why it failed
    repaired_at   timestamptz,
    repair        jsonb                                       -- what the repair did
);
CREATE INDEX audit_source ON freshet.audit (source, audit DESC);

-- One row per difference. No text of documents.
CREATE TABLE freshet.audit_finding (
    audit         bigint NOT NULL REFERENCES freshet.audit ON DELETE CASCADE,
    kind          text NOT NULL,                              -- a FindingKind
    document_id   text NOT NULL DEFAULT '',                   -- '': of no document
    subject       text NOT NULL DEFAULT '',                   -- which chunk, partition, batch, subscriber or file
    chunk_id      bigint,
    document_key  bigint,                                     -- the row that was judged
    expected      text NOT NULL DEFAULT '',
    actual        text NOT NULL DEFAULT '',
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'repaired')),
    -- [[topic, partition, topic id, offset]]: from where the document's records must be read again
    records       jsonb NOT NULL DEFAULT '[]',
    found_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (audit, kind, document_id, subject)
);

-- The records that an audit has read, or an inventory names. Unlogged: removed when the audit ends, and read again if the
-- server crashes before.
CREATE UNLOGGED TABLE freshet.audit_record (
    audit          bigint NOT NULL,
    topic          text NOT NULL,                             -- '': of an inventory
    partition      integer NOT NULL,
    topic_id       text NOT NULL,
    record_offset  bigint NOT NULL,
    outcome        text NOT NULL,                             -- event, dead_letter, ignored: what it is decoded to now
    op             text,
    document_id    text,
    version        bigint,                                    -- null: a delete without one; in an inventory: not named
    record_version bigint NOT NULL,
    is_redriven    boolean NOT NULL,
    content_sha256 bytea,
    description    text,                                      -- JSON: uri, title, content type, metadata, access list, language
    expires_at_ms  bigint,
    PRIMARY KEY (audit, topic, partition, record_offset)
);
CREATE INDEX audit_record_document ON freshet.audit_record (audit, document_id) WHERE document_id IS NOT NULL;

-- Whether a document is in a sample: the same for every look of one audit, and another sample in the next audit.
CREATE FUNCTION freshet.audit_sampled(p_document_id text, p_audit bigint, p_fraction double precision) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_fraction >= 1
        OR (hashtextextended(p_document_id, p_audit) & 1073741823)::double precision / 1073741824 < p_fraction
$$;
