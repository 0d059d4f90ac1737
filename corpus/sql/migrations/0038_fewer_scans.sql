-- 0038 fewer scans: a text search counts each term once, and what expired is found by an index.
-- Why: PostgreSQL inlines a WITH query of one reference, and its subquery then ran once for each use of its column, so
--   that every term was counted three times. The documents that a batch withdrew, and the expiries after a batch, were
--   looked for among all versions of the source and all of its batches.
-- Locks: SHARE on document and batch while two partial indexes are built, which hold what expired only.
-- Phase: pre. Old code uses all of it.

SET LOCAL lock_timeout = '10s';
CREATE INDEX document_expired_by ON freshet.document (source, end_batch) WHERE end_reason = 'expired';
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
