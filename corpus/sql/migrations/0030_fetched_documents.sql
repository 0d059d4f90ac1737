-- 0030 fetched documents: how documents were fetched that events point to, and which dead letters are tried again.
-- Why: an origin can say that nothing has changed only if it is asked with what it sent before; and a document that
-- cannot be fetched now must not hold up others, nor be forgotten.
-- Locks: SHARE ROW EXCLUSIVE on dead_letter for a moment (a foreign key from an empty table). Phase: pre. Old code
-- fills neither table: documents that it writes are fetched once more, and it makes no dead letter that waits.

CREATE TABLE freshet.fetched (
    source        text NOT NULL,
    document_id   text NOT NULL,
    host          text NOT NULL,                              -- with its port; or a bucket
    url_sha256    bytea NOT NULL,
    url           text,                                       -- null: its query may hold a signature
    content_sha256 bytea NOT NULL,                            -- of what came
    etag          text,
    last_modified text,                                       -- as the origin wrote it
    fetched_at    timestamptz NOT NULL DEFAULT now(),         -- when it came, or its origin said that it is the same
    PRIMARY KEY (source, document_id)
);

-- Rows stay when their dead letter is redriven (then without `retry_at`): the next one has waited since the same time.
CREATE TABLE freshet.waiting_fetch (
    dead_letter bigint PRIMARY KEY REFERENCES freshet.dead_letter ON DELETE CASCADE,
    source      text NOT NULL,
    host        text NOT NULL,
    waits_since timestamptz NOT NULL,
    retry_at    timestamptz
);

CREATE INDEX waiting_fetch_due ON freshet.waiting_fetch (retry_at) WHERE retry_at IS NOT NULL;

-- Of what waits, an auditor sees how much and since when.
ALTER TABLE freshet.waiting_fetch ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY audits ON freshet.waiting_fetch FOR SELECT TO freshet_auditor USING (true);
GRANT SELECT ON freshet.waiting_fetch TO freshet_auditor;
