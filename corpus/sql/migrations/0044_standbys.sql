-- 0044 standbys: a search as of an instant is refused by a standby that may not have all batches of before it.
-- Why: whether a batch is being published is known from locks of the primary, and a standby has none of them. Its
--   `freshet.settle` returned at once, and `freshet.search` left out what the standby had not replayed: a question as of
--   an instant had two answers, and nothing said so. What a standby can know is kept: instants of one source only rise,
--   so up to the newest batch that it has of a source, it has all of them.
-- Locks: none on tables.
-- Phase: pre. Old code uses both functions on a primary, where they do what they did.

-- Refuse an instant that a batch may precede which this standby does not have.
CREATE FUNCTION freshet.require_replayed(p_as_of timestamptz, p_sources text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_behind record;
BEGIN
    SELECT s.source, s.last_published_at INTO v_behind FROM freshet.source s, freshet.reading() r
    WHERE (p_sources IS NULL OR s.source = ANY(p_sources)) AND (r.sees_all OR s.source = ANY(r.sources))
      AND (s.last_published_at IS NULL OR s.last_published_at < p_as_of)
    ORDER BY s.source LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'this server is a standby and does not know whether source % has all batches up to %: its newest '
            'one here is of %; ask the primary', v_behind.source, p_as_of, coalesce(v_behind.last_published_at::text, 'never')
            USING ERRCODE = 'FR005';
    END IF;
END $$;

-- The functions of 0021 and 0033 with that question; the rest of them is left as it is.
DO $$
DECLARE
    v_edit record;
    v_before text;
    v_after text;
BEGIN
    FOR v_edit IN SELECT * FROM (VALUES
        ('freshet.settle(timestamptz, text[])',
         '    -- Batches that begin from now on get later instants.',
$new$    IF pg_is_in_recovery() THEN
        PERFORM freshet.require_replayed(p_as_of, p_sources);
        RETURN;
    END IF;
    -- Batches that begin from now on get later instants.$new$),
        ('freshet.search(vector, text, integer, text, smallint, text[], jsonb, timestamptz, regconfig)',
         '    SELECT * INTO v_reading FROM freshet.reading();',
$new$    IF p_as_of IS NOT NULL AND pg_is_in_recovery() THEN
        PERFORM freshet.require_replayed(p_as_of, p_sources);
    END IF;
    SELECT * INTO v_reading FROM freshet.reading();$new$)
    ) AS e (function_name, was, is_now)
    LOOP
        v_before := pg_get_functiondef(v_edit.function_name::regprocedure);
        v_after := replace(v_before, v_edit.was, v_edit.is_now);
        IF v_after = v_before THEN
            RAISE EXCEPTION '% is not as expected near: %', v_edit.function_name, v_edit.was;
        END IF;
        EXECUTE v_after;
    END LOOP;
END $$;
