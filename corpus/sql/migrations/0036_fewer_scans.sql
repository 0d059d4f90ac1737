-- 0036 fewer scans: a text search counts each term once, what expired is found by an index, and a specification has a
-- digest.
-- Why: PostgreSQL inlines a WITH query of one reference, and its subquery then ran once for each use of its column, so
--   that every term was counted three times. The documents that a batch withdrew, and the expiries after a batch, were
--   looked for among all versions of the source and all of its batches, and settled dead letters of a document among all
--   of its source. The digests of all specifications were computed at each look, a second for 5,000 sources.
-- Locks: SHARE on document, batch and dead_letter while partial indexes are built, on what expired and on dead letters
--   that name a document; ACCESS EXCLUSIVE on source, whose rows are written anew.
-- Phase: pre. Old code uses all of it.

SET LOCAL lock_timeout = '10s';
CREATE INDEX document_expired_by ON freshet.document (source, end_batch) WHERE end_reason = 'expired';
CREATE INDEX dead_letter_named ON freshet.dead_letter (source, document_id) WHERE document_id IS NOT NULL;
CREATE INDEX batch_expiry ON freshet.batch (source, batch) WHERE kind = 'expiry';

DO $$
DECLARE
    v_name text := 'freshet.text_candidates_in(text, text[], integer, smallint, text[], jsonb, timestamptz)';
    v_before text := pg_get_functiondef(v_name::regprocedure);
    v_after text := replace(v_before, 'WITH counted AS (', 'WITH counted AS MATERIALIZED (');
BEGIN
    IF v_after = v_before THEN RAISE EXCEPTION '% counts no terms', v_name; END IF;
    EXECUTE v_after;
END $$;

-- Names a specification, so that only those are read that changed: a consumer asks every two seconds, a search each
-- time.
ALTER TABLE freshet.source ADD COLUMN digest text GENERATED ALWAYS AS (md5(spec::text)) STORED;

DO $$
DECLARE
    v_before text := pg_get_functiondef('freshet.secure_table(name)'::regprocedure);
    v_after text := replace(v_before, '''created_at, updated_at''', '''created_at, updated_at, digest''');
BEGIN
    IF v_after = v_before THEN RAISE EXCEPTION 'freshet.secure_table names no column updated_at'; END IF;
    EXECUTE v_after;
END $$;
