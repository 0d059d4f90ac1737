-- 0043 costs of text search: rare terms are counted in the index, and what a search may cost counts the chunks that it
-- reads, not only the terms in them.
-- Why: counting was two fifths of a search, since each of up to 1,000 chunks of a term was read (0.8 ms of processor
--   time per term at 100,000 chunks, 2.1 ms at 300,000; in the index 0.3 ms, and no bound). And the slowest searches
--   were of a few common words: a bound on terms times chunks let them read 8,000 chunks, and where the strictest query
--   already had more than the bound, it was asked again (300,000 chunks, the slowest of 120: 283 ms, now 104).
-- Locks: none on tables.
-- Phase: pre. Old code uses all of it.

SET LOCAL lock_timeout = '10s';

-- How many visible chunks the text index has for each term, those of rows that no VACUUM removed yet included; null:
-- not counted, since the term is null or there is no index. A scan of the index reads no chunk, and EXPLAIN ANALYZE
-- says how many it found; to fetch one, as the limit asks, it must find all.
CREATE FUNCTION freshet.indexed_chunks(p_queries text[]) RETURNS double precision[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET max_parallel_workers_per_gather = 0 SET enable_seqscan = off SET enable_indexscan = off
SET enable_indexonlyscan = off AS $$
DECLARE v_plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT WHERE false' || (
        SELECT string_agg(CASE WHEN q.term IS NULL THEN ' UNION ALL SELECT WHERE false' ELSE format(
            ' UNION ALL (SELECT FROM freshet.chunk c WHERE c.visible_to IS NULL'
            ' AND c.search_text @@ %L::tsquery LIMIT 1)', q.term) END, '' ORDER BY q.place)
        FROM unnest(p_queries) WITH ORDINALITY AS q (term, place)) INTO v_plan;
    RETURN ARRAY(
        SELECT jsonb_path_query_first(
            p.plan, 'strict $.** ? (@."Index Name" == "chunk_search_text")."Actual Rows"')::double precision
        FROM jsonb_array_elements(v_plan -> 0 -> 'Plan' -> 'Plans') WITH ORDINALITY AS p (plan, place)
        WHERE p.place > 1 ORDER BY p.place);                  -- the first is that of nothing
END $$;

-- In the chunks that are visible now and that the reader may read: how many these are, their mean length in tokens, and
-- in how many of them each term occurs. Of up to 1,000 chunks all is counted. Beyond that, for who sees everything, the
-- planner knows common terms and the index counts the others. For others, common terms are estimated from a sample of
-- what they may read, since a score must not depend on anything else, and rare ones are counted up to 1,000.
CREATE OR REPLACE FUNCTION freshet.term_statistics(
    p_queries text[], p_sees_all boolean, p_open text[], p_lists integer[],
    OUT chunks double precision, OUT tokens double precision, OUT counts double precision[]
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_scope text := 'c.visible_to IS NULL' || freshet.readable_chunks(p_sees_all, p_open, true, '$1', '$2');
    v_planned_scope text := 'c.visible_to IS NULL' || freshet.readable_chunks(
        p_sees_all, p_open, true, quote_literal(p_open) || '::text[]', quote_literal(p_lists) || '::integer[]');
    v_counted text := (
        SELECT 'SELECT count(*), greatest(avg(s.token_count), 1)::double precision, ARRAY['
            || string_agg(format('count(*) FILTER (WHERE s.search_text @@ %L::tsquery)', q.term), ', ' ORDER BY q.place)
            || ']::double precision[] FROM '
        FROM unnest(p_queries) WITH ORDINALITY AS q (term, place));
    v_sample text;
    v_sampled double precision := 0;
    v_planned double precision[];
    v_found bigint;
BEGIN
    v_planned := freshet.planned_chunks(VARIADIC ARRAY[v_planned_scope] || CASE WHEN p_sees_all THEN ARRAY(
        SELECT format('%s AND c.search_text @@ %L::tsquery', v_planned_scope, q.term)
        FROM unnest('{''.''}'::text[] || p_queries) WITH ORDINALITY AS q (term, place) ORDER BY q.place) END);
    chunks := v_planned[1];
    IF chunks < 2000 THEN
        v_sample := format('SELECT c.search_text, c.token_count FROM freshet.chunk c WHERE %s LIMIT 1001', v_scope);
        EXECUTE v_counted || '(' || v_sample || ') s' INTO v_found, tokens, counts USING p_open, p_lists;
        IF v_found <= 1000 THEN
            chunks := v_found;
            RETURN;
        END IF;
        chunks := greatest(chunks, v_found);
    END IF;
    IF p_sees_all THEN
        -- The second is what the planner expects of a term that it does not know.
        counts := freshet.indexed_chunks(ARRAY(
            SELECT CASE WHEN q.n <= v_planned[2] OR chunks < 10000 THEN q.term END
            FROM unnest(p_queries, v_planned[3:]) WITH ORDINALITY AS q (term, n, place) ORDER BY q.place));
        counts := ARRAY(SELECT coalesce(q.counted, q.planned)
                        FROM unnest(counts, v_planned[3:]) WITH ORDINALITY AS q (counted, planned, place)
                        ORDER BY q.place);
        EXECUTE format(
            'SELECT greatest(avg(c.token_count), 1)::double precision FROM freshet.chunk c'
            ' TABLESAMPLE SYSTEM (%s) REPEATABLE (1) WHERE c.visible_to IS NULL', least(100, 100 * 300 / chunks))
        INTO tokens;
        RETURN;
    END IF;
    v_sample := format(
        'SELECT o.* FROM (SELECT u.source FROM unnest($1) AS u (source) ORDER BY md5(u.source) LIMIT 100) g'
        ' CROSS JOIN LATERAL (SELECT c.search_text, c.token_count FROM freshet.chunk c'
        ' WHERE c.source = g.source AND c.visible_to IS NULL AND c.access_id IS NULL LIMIT %s) o'
        ' UNION ALL (SELECT c.search_text, c.token_count FROM freshet.chunk c'
        ' WHERE c.visible_to IS NULL AND c.access_id = ANY($2) LIMIT 500)',
        greatest(10, 1000 / greatest(cardinality(p_open), 1)));
    EXECUTE v_counted || '(' || v_sample || ') s' INTO v_sampled, tokens, counts USING p_open, p_lists;
    counts := ARRAY(SELECT CASE WHEN n >= 10 THEN n * chunks / v_sampled END
                    FROM unnest(counts) WITH ORDINALITY AS s (n, place) ORDER BY s.place);
    EXECUTE 'SELECT ARRAY[' || (
        SELECT string_agg(CASE WHEN q.n IS NOT NULL THEN q.n::text ELSE format(
            '(SELECT count(*) FROM (SELECT FROM freshet.chunk c WHERE %s AND'
            ' c.search_text @@ %L::tsquery LIMIT 1000) s)',
            v_scope, q.term) END, ', ' ORDER BY q.place)
        FROM unnest(p_queries, counts) WITH ORDINALITY AS q (term, n, place)) || ']::double precision[]'
    INTO counts USING p_open, p_lists;
END $$;

-- ── what a search may cost ─────────────────────────────────────────────────────────────────────────────────────────
-- Beyond 100,000 chunks a search may cost more, up to three times as much at 900,000: what is worth a score grows with
-- the corpus, though slower.
CREATE FUNCTION freshet.allowed_cost(p_chunks double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(3, greatest(1, sqrt(p_chunks / 100000)))
$$;

DO $$
DECLARE
    v_change record;
    v_text text;
BEGIN
    FOR v_change IN SELECT * FROM (VALUES
        (1, 'next_threshold',
         ':= 400000;         -- of the index at a term: some 20 ms',
         ':= 250000;         -- of the index at a term: some 12 ms'),
        (2, 'next_threshold',
         '<= v_most_looks',
         '<= v_most_looks * freshet.allowed_cost(p_chunks)'),
        (3, 'text_candidates_in',
         '-- of one term in one chunk: some 20 ms',
         '-- of one term in one chunk, the chunk itself being as six'),
        (4, 'text_candidates_in',
         'v_most_scores / cardinality(v_queries)',
         'v_most_scores * freshet.allowed_cost(v_statistics.chunks) / (cardinality(v_queries) + 6)'),
        (5, 'text_candidates_in',
         'v_cut IS NULL AND NOT v_is_last THEN',
         'v_cut IS NULL AND NOT v_is_last
            -- The strictest one has all terms.
            AND v_threshold < (SELECT sum(u) FROM unnest(v_units[:v_terms]) AS t (u)) THEN')
    ) AS c (place, function, before, after) ORDER BY c.place
    LOOP
        v_text := pg_get_functiondef(('freshet.' || v_change.function)::regproc);
        IF strpos(v_text, v_change.before) = 0 THEN
            RAISE EXCEPTION '% has no %', v_change.function, v_change.before;
        END IF;
        EXECUTE replace(v_text, v_change.before, v_change.after);
    END LOOP;
END $$;
