-- 0048 recall at a million: searches of a large corpus look further, and compare more of what a filter leaves.
-- Why: at 1,000,000 chunks a search by vector found 0.86 of the ten nearest, and 0.45 to 0.54 under metadata that
--   follow the topics of 3 and 10 % of the documents, where comparing with each chunk takes as long as the index that
--   misses half. By text, the planner, to which all metadata are rare, began with the documents: a search for what half
--   of them have read 600,000 pages and took 2 s.
-- Locks: none on tables.
-- Phase: pre. Old code uses all of it.

SET LOCAL lock_timeout = '10s';

-- How many candidates a search of an index of chunks keeps: 200 of 50,000 visible ones, and with their square root up
-- to the 1,000 that pgvector takes.
CREATE FUNCTION freshet.search_width() RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT least(1000, greatest(200, 200 * sqrt(greatest(c.reltuples, 0) / 50000)))::integer
    FROM pg_class c WHERE c.oid = 'freshet.chunk_visible'::regclass
$$;

DO $$
DECLARE
    v_change record;
    v_text text;
BEGIN
    FOR v_change IN SELECT * FROM (VALUES
        (1, 'nearest_chunks',
         'CASE WHEN p_where_by_index = '''' THEN ''200'' ELSE ''400'' END',
         'least(1000, freshet.search_width() * CASE WHEN p_where_by_index = '''' THEN 1 ELSE 2 END)::text'),
        (2, 'is_among_few',
         'least(10000, greatest(3000, c.reltuples * 0.05))',
         'least(25000, greatest(3000, c.reltuples * 0.12))'),
        (3, 'is_among_few',
         '10,000 some times as long. Of more than a twentieth of all, the
    -- index finds enough in one step.',
         '25,000 some ten times as long. Of more than an eighth of all, the
    -- index finds enough in one step.'),
        (4, 'text_candidates_in',
         ''' AND d.visible_to IS NULL)''',
         ''' AND d.visible_to IS NULL OFFSET 0)'''),
        (5, 'text_candidates_in',
         '(d.visible_to IS NULL OR d.visible_to > $5))''',
         '(d.visible_to IS NULL OR d.visible_to > $5) OFFSET 0)'''),
        -- Where metadata are rare, most chunks with a term would be asked in vain.
        (6, 'text_candidates_in', 'LIMIT 3001) few;', 'LIMIT 30001) few;'),
        (7, 'text_candidates_in',
         'WHEN cardinality(v_few) <= 3000 THEN',
         'WHEN cardinality(v_few) <= CASE WHEN p_as_of IS NULL THEN 30000 ELSE 3000 END THEN')
    ) AS c (place, function, before, after) ORDER BY c.place
    LOOP
        v_text := pg_get_functiondef(('freshet.' || v_change.function)::regproc);
        IF strpos(v_text, v_change.before) = 0 THEN
            RAISE EXCEPTION '% has no %', v_change.function, v_change.before;
        END IF;
        EXECUTE replace(v_text, v_change.before, v_change.after);
    END LOOP;
END $$;
