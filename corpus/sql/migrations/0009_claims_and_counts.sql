-- 0009 claims and counts: claims of dead letters, texts that no batch of the ledger has counted yet, sweeps of staged files.
-- Why: two consumers (a rebalance, a frozen one) sent each dead letter twice; texts that were embedded for a batch that
-- failed were in no row of the ledger, so its counts did not add up to the vectors.
-- Locks: ACCESS EXCLUSIVE on dead_letter for the two columns (no rewrite), SHARE ROW EXCLUSIVE on embedding for the
-- trigger and one scan of the index embedding_batch: shards that are being written are waited for, new ones wait.
-- Phase: pre. Restart the storers soon: one of the version before counts by batch, and a newer one counts the same texts
-- once more with its next batch.

ALTER TABLE freshet.dead_letter
    ADD COLUMN claimed_by    uuid,                            -- the round of an outbox that sends it
    ADD COLUMN claimed_until timestamptz;                     -- afterwards any outbox may send it

-- One row per shard that was embedded; the next batch of the source that is published counts it and removes it.
CREATE TABLE freshet.uncounted_texts (
    source     text NOT NULL,
    batch      bigint NOT NULL,                               -- for which it was embedded, whether or not it was published
    texts      bigint NOT NULL CHECK (texts > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX uncounted_texts_source ON freshet.uncounted_texts (source);

CREATE FUNCTION freshet.note_embedded() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO freshet.uncounted_texts (source, batch, texts)
    SELECT source, batch, count(*) FROM added GROUP BY source, batch;
    RETURN NULL;
END $$;
CREATE TRIGGER embedding_noted AFTER INSERT ON freshet.embedding
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION freshet.note_embedded();

-- One row per sweep of the staging store: what was removed since no batch needed it, and what was kept.
CREATE TABLE freshet.staging_sweep (
    sweep         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    swept_at      timestamptz NOT NULL DEFAULT now(),
    removed       bigint NOT NULL,                            -- files
    removed_bytes bigint NOT NULL,
    needed        bigint NOT NULL,                            -- old files that a batch holds, or may hold
    unknown       bigint NOT NULL                             -- old files whose names are not Freshet's
);

INSERT INTO freshet.uncounted_texts (source, batch, texts)
SELECT e.source, e.batch, count(*) FROM freshet.embedding e
WHERE NOT EXISTS (SELECT FROM freshet.batch b WHERE b.source = e.source AND b.batch = e.batch)
GROUP BY e.source, e.batch;
