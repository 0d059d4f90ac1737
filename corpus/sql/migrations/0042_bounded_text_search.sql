-- 0042 bounded text search: a text search reads a bounded number of chunks, whichever terms it has.
-- Why: each term was counted by reading up to 20,000 of its chunks, and the chunks of common terms were scored in no
--   order up to a bound: at 100,000 chunks 0.1 to 2 s, and of the ten best by BM25 five were found where all terms were
--   common.
-- Locks: SHARE on chunk while an index of the texts of history is built, where that is small. Where it is large, a
--   storer builds it beside all publishing.
-- Phase: pre. Old code uses all of it.

SET LOCAL lock_timeout = '10s';

-- A search as of an instant reads what was closed after it. Where there is much history, a storer builds it.
DO $$
BEGIN
    IF pg_relation_size('freshet.chunk') < 200 * 1024 * 1024 THEN
        CREATE INDEX chunk_ended_text ON freshet.chunk USING gin (search_text) WHERE visible_to IS NOT NULL;
    END IF;
END $$;

-- A term as a query of its own.
CREATE FUNCTION freshet.term_query(p_term text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '''' || replace(replace(p_term, '\', '\\'), '''', '''''') || ''''
$$;

-- How many chunks the planner expects to meet each condition: by the statistics that ANALYZE keeps, in a fraction of a
-- millisecond. VOLATILE, since a plan is shown to no other function.
CREATE FUNCTION freshet.planned_chunks(VARIADIC p_conditions text[]) RETURNS double precision[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET max_parallel_workers_per_gather = 0 AS $$
DECLARE v_plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) SELECT WHERE false' || (
        SELECT string_agg(' UNION ALL SELECT FROM freshet.chunk c WHERE ' || c.condition, '' ORDER BY c.place)
        FROM unnest(p_conditions) WITH ORDINALITY AS c (condition, place)) INTO v_plan;
    RETURN ARRAY(
        SELECT (p.plan ->> 'Plan Rows')::double precision
        FROM json_array_elements(v_plan -> 0 -> 'Plan' -> 'Plans') WITH ORDINALITY AS p (plan, place)
        WHERE p.place > 1 ORDER BY p.place);                  -- the first is that of nothing
END $$;

-- ── which chunks are worth a score ─────────────────────────────────────────────────────────────────────────────────
-- A chunk's terms weigh what they tell (idf, in whole units). A search scores the chunks whose terms weigh at least a
-- threshold, which is chosen so that few do: those with a rare term, or with several common ones. That is the idea of
-- MaxScore (Turtle and Flood, 1995) and WAND (Broder et al., 2003), by a tsquery that a GIN index evaluates.

-- The shares of chunks whose terms weigh at least 0, 1, 2, ... units, if terms occur independently.
CREATE FUNCTION freshet.shares_reaching(p_units integer[], p_shares double precision[]) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sum integer := 0;
    v_shares double precision[] := ARRAY[1];
BEGIN
    FOR v_term IN 1 .. cardinality(p_units) LOOP
        v_shares := v_shares || array_fill(0::double precision, ARRAY[p_units[v_term]]);
        FOR v_units IN REVERSE v_sum .. 0 LOOP
            v_shares[v_units + p_units[v_term] + 1] :=
                v_shares[v_units + p_units[v_term] + 1] + v_shares[v_units + 1] * p_shares[v_term];
            v_shares[v_units + 1] := v_shares[v_units + 1] * (1 - p_shares[v_term]);
        END LOOP;
        v_sum := v_sum + p_units[v_term];
    END LOOP;
    FOR v_units IN REVERSE v_sum - 1 .. 0 LOOP
        v_shares[v_units + 1] := v_shares[v_units + 1] + v_shares[v_units + 2];
    END LOOP;
    RETURN v_shares;
END $$;

-- How many terms the query of `terms_reaching` has.
CREATE FUNCTION freshet.size_of_reaching(p_units integer[], p_threshold integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sizes integer[] := array_fill(0, ARRAY[p_threshold]);   -- of what is left to reach, by the terms looked at
    v_rest integer := 0;
BEGIN
    FOR v_term IN REVERSE cardinality(p_units) .. 1 LOOP
        v_rest := v_rest + p_units[v_term];
        FOR v_left IN REVERSE p_threshold .. 1 LOOP
            v_sizes[v_left] := CASE
                WHEN v_rest < v_left THEN 0
                WHEN p_units[v_term] >= v_left THEN 1 + v_sizes[v_left]
                ELSE 1 + v_sizes[v_left] + v_sizes[v_left - p_units[v_term]] END;
        END LOOP;
    END LOOP;
    RETURN v_sizes[p_threshold];
END $$;

-- The chunks whose terms weigh at least the threshold, as a tsquery; null: there can be none.
CREATE FUNCTION freshet.terms_reaching(
    p_queries text[], p_units integer[], p_threshold integer, p_first integer DEFAULT 1
) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_with text := p_queries[p_first];
    v_without text;
BEGIN
    IF coalesce((SELECT sum(u) FROM unnest(p_units[p_first:]) AS t (u)), 0) < p_threshold THEN RETURN NULL; END IF;
    IF p_units[p_first] < p_threshold THEN
        v_with := v_with || '&('
            || freshet.terms_reaching(p_queries, p_units, p_threshold - p_units[p_first], p_first + 1) || ')';
    END IF;
    v_without := freshet.terms_reaching(p_queries, p_units, p_threshold, p_first + 1);
    RETURN coalesce(v_with || '|' || v_without, v_with, v_without);
END $$;

-- The lowest threshold below `threshold` that no more chunks are expected to reach than are wanted; where there is
-- none, the next lower one. It is about as many of the rarest terms as let the index do bounded work.
CREATE FUNCTION freshet.next_threshold(
    p_units integer[], p_shares double precision[], p_chunks double precision, p_wanted double precision,
    INOUT terms integer, INOUT threshold integer, OUT expected double precision
) LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_most_looks constant double precision := 400000;         -- of the index at a term: some 20 ms
    v_shares double precision[];
    v_below integer;
BEGIN
    LOOP
        v_shares := freshet.shares_reaching(p_units[:terms], p_shares[:terms]);
        v_below := least(threshold, cardinality(v_shares));
        threshold := coalesce(
            (SELECT min(u) FROM generate_series(1, v_below - 1) AS u WHERE v_shares[u + 1] * p_chunks <= p_wanted),
            v_below - 1);
        expected := v_shares[threshold + 1] * p_chunks;
        EXIT WHEN terms <= 5 OR freshet.size_of_reaching(p_units[:terms], threshold) * p_chunks * (
            -- Of the rarest terms without which the others do not reach it, the index reads all there is.
            SELECT sum(t.share) FROM (
                SELECT u.share, sum(u.units) OVER (ORDER BY u.place DESC) AS rest
                FROM unnest(p_shares[:terms], p_units[:terms]) WITH ORDINALITY AS u (share, units, place)) t
            WHERE t.rest >= threshold) <= v_most_looks;
        terms := terms - 1;
        threshold := v_below;
    END LOOP;
END $$;

-- ── how often terms occur ──────────────────────────────────────────────────────────────────────────────────────────
-- In the chunks that are visible now and that the reader may read: how many these are, their mean length in tokens, and
-- in how many of them each term occurs. Of up to 3,000 chunks all is counted. Beyond that, a rare term is counted up to
-- 1,000; a common one is estimated: for who sees everything by the planner, for others from a sample of what they may
-- read, since a score must not depend on anything else.
CREATE FUNCTION freshet.term_statistics(
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
    v_rare double precision;                                  -- what the planner expects of a term it does not know
    v_found bigint;
BEGIN
    v_planned := freshet.planned_chunks(VARIADIC ARRAY[v_planned_scope] || CASE WHEN p_sees_all THEN ARRAY(
        SELECT format('%s AND c.search_text @@ %L::tsquery', v_planned_scope, q.term)
        FROM unnest('{''.''}'::text[] || p_queries) WITH ORDINALITY AS q (term, place) ORDER BY q.place) END);
    chunks := v_planned[1];
    IF chunks < 6000 THEN
        v_sample := format('SELECT c.search_text, c.token_count FROM freshet.chunk c WHERE %s LIMIT 3001', v_scope);
        EXECUTE v_counted || '(' || v_sample || ') s' INTO v_found, tokens, counts USING p_open, p_lists;
        IF v_found <= 3000 THEN
            chunks := v_found;
            RETURN;
        END IF;
        chunks := greatest(chunks, v_found);
    END IF;
    IF p_sees_all THEN
        v_rare := v_planned[2];
        counts := ARRAY(SELECT CASE WHEN n > v_rare THEN n END
                        FROM unnest(v_planned[3:]) WITH ORDINALITY AS p (n, place) ORDER BY p.place);
        EXECUTE format(
            'SELECT greatest(avg(c.token_count), 1)::double precision FROM freshet.chunk c'
            ' TABLESAMPLE SYSTEM (%s) REPEATABLE (1) WHERE c.visible_to IS NULL', least(100, 100 * 1000 / chunks))
        INTO tokens;
    ELSE
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
    END IF;
    EXECUTE 'SELECT ARRAY[' || (
        SELECT string_agg(CASE WHEN q.n IS NOT NULL THEN q.n::text ELSE format(
            '(SELECT count(*) FROM (SELECT FROM freshet.chunk c WHERE %s AND'
            ' c.search_text @@ %L::tsquery LIMIT 1000) s)',
            v_scope, q.term) END, ', ' ORDER BY q.place)
        FROM unnest(p_queries, counts) WITH ORDINALITY AS q (term, n, place)) || ']::double precision[]'
    INTO counts USING p_open, p_lists;
    counts := ARRAY(SELECT CASE WHEN n = 1000 THEN greatest(n, v_rare) ELSE n END
                    FROM unnest(counts) WITH ORDINALITY AS s (n, place) ORDER BY s.place);
END $$;

-- How often a text has a term: ts_rank of one term, all weights alike, is sum(1 / n^2) up to its frequency, divided by
-- pi^2 / 6. It is asked for since it reads a tsvector some ten times as fast as `unnest`.
CREATE FUNCTION freshet.term_frequency(p_query text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT format(
        'round(1::float8 / (1.6449342::float8 - 1.6449341::float8 * ts_rank(''{1,1,1,1}'', h.search_text, %L::tsquery))'
        ' - 0.5::float8)', p_query)
$$;

-- ── search by text ─────────────────────────────────────────────────────────────────────────────────────────────────
-- The chunks that a text search scores: $7 is the tsquery they meet, $8 one that they do not meet, or null, $9 how many
-- at most. The others: $1 metadata, $2 sources, $3 and $4 what the reader may read, $5 the instant, $6 chunks.
CREATE FUNCTION freshet.scored_chunks(
    p_space smallint, p_has_sources boolean, p_readable text, p_narrowed text, p_is_now boolean
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(
        'SELECT c.chunk_id, c.source, c.language, c.search_text, c.token_count FROM freshet.chunk c WHERE '
        || v.visible || ' AND c.space_id = ' || p_space
        || CASE WHEN p_has_sources THEN ' AND c.source = ANY($2)' ELSE '' END || p_readable || p_narrowed
        || ' AND c.search_text @@ $7 AND ($8 IS NULL OR NOT c.search_text @@ $8)', ' UNION ALL ')
    FROM (VALUES
        (true, 'c.visible_to IS NULL'),
        -- Apart, since each part has an index of its own.
        (false, 'c.visible_to IS NULL AND c.visible_from <= $5'),
        (false, 'c.visible_to IS NOT NULL AND c.visible_to > $5 AND c.visible_from <= $5')
    ) AS v (is_now, visible)
    WHERE v.is_now = p_is_now
$$;

-- BM25 (k1 = 1.2, b = 0.75; Robertson and Zaragoza, 2009) by the statistics of what the reader may read, whatever the
-- search is narrowed to. It scores chunks above a threshold, and lowers it until what is left out can hardly be among
-- the best, or as many were scored as a search may cost. Of a text with more than 200 terms, or 32 that occur, those
-- that tell least are left out.
CREATE OR REPLACE FUNCTION freshet.text_candidates_in(
    p_text text, p_languages text[], p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb,
    p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_most_scores constant integer := 32000;                  -- of one term in one chunk: some 20 ms
    v_reading record;
    v_statistics record;
    v_queries text[];                                         -- one per term, the rarest first
    v_languages text[];                                       -- in which it is a term, as a literal; null: in all
    v_idf double precision[];
    v_shares double precision[];
    v_units integer[];
    v_unit double precision;
    v_terms integer;                                          -- the threshold is about so many of the rarest
    v_threshold integer := 1000000;                           -- in units
    v_cut integer;                                            -- one that too many reach
    v_goal double precision;                                  -- chunks per round
    v_wanted double precision;                                -- chunks to be expected, so that the goal is met
    v_expected double precision;
    v_left integer;                                           -- chunks that may be scored
    v_narrowed text := '';
    v_few bigint[];                                           -- the chunks that the metadata leave
    v_score text;
    v_query tsquery;
    v_before tsquery;
    v_is_last boolean := false;
    v_found integer;
    v_ids bigint[];
    v_scores double precision[];
    v_new_ids bigint[];
    v_new_scores double precision[];
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    SELECT array_agg(t.query ORDER BY t.query), array_agg(t.languages ORDER BY t.query) INTO v_queries, v_languages
    FROM (
        SELECT freshet.term_query(t.term) AS query,
               CASE WHEN count(*) < cardinality(p_languages) THEN array_agg(l.language)::text END AS languages
        FROM unnest(p_languages) AS l (language)
        CROSS JOIN LATERAL unnest(freshet.search_terms(freshet.text_config(l.language), p_text)) AS t (term)
        GROUP BY t.term ORDER BY octet_length(t.term) DESC, t.term LIMIT 200) t;
    IF v_queries IS NULL THEN RETURN; END IF;
    SELECT * INTO v_statistics
    FROM freshet.term_statistics(v_queries, v_reading.sees_all, v_reading.defaults, v_reading.lists);
    SELECT array_agg(t.query ORDER BY t.n, t.query), array_agg(t.languages ORDER BY t.n, t.query),
           array_agg(ln(1 + (t.total - t.n + 0.5) / (t.n + 0.5)) ORDER BY t.n, t.query),
           array_agg(t.n / t.total ORDER BY t.n, t.query)
    INTO v_queries, v_languages, v_idf, v_shares
    FROM (
        SELECT q.query, q.languages, q.n, greatest(v_statistics.chunks, q.n, 1) AS total
        FROM unnest(v_queries, v_languages, v_statistics.counts) AS q (query, languages, n)
        WHERE q.n > 0 OR p_as_of IS NOT NULL ORDER BY q.n, q.query LIMIT 32) t;
    IF v_queries IS NULL THEN RETURN; END IF;
    v_unit := v_idf[1] / 16;
    v_units := ARRAY(SELECT greatest(1, round(i.idf / v_unit))::integer
                     FROM unnest(v_idf) WITH ORDINALITY AS i (idf, place) ORDER BY i.place);
    v_left := greatest(v_most_scores / cardinality(v_queries), 2 * p_limit);
    v_goal := greatest(v_left / 2, 4 * p_limit);
    v_wanted := v_goal;

    IF p_metadata IS NOT NULL THEN
        EXECUTE format(
            'SELECT array_agg(few.id) FROM (SELECT unnest(d.chunk_ids) AS id FROM freshet.document d'
            ' WHERE d.metadata @> $1 AND ($2 IS NULL OR d.source = ANY($2)) AND %s LIMIT 3001) few',
            CASE WHEN p_as_of IS NULL THEN 'd.visible_to IS NULL'
                 ELSE 'd.visible_from <= $3 AND (d.visible_to IS NULL OR d.visible_to > $3)' END)
        INTO v_few USING p_metadata, p_sources, p_as_of;
        IF v_few IS NULL THEN RETURN; END IF;
        v_narrowed := CASE WHEN cardinality(v_few) <= 3000 THEN ' AND c.chunk_id = ANY($6)' ELSE
            ' AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source AND d.document_id = c.document_id'
            ' AND d.metadata @> $1' || CASE
                WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL)'
                ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5))' END END;
    END IF;
    SELECT format(
        'WITH holding AS MATERIALIZED (SELECT * FROM (%s) r LIMIT $9), scored AS (SELECT h.chunk_id, %s AS score'
        ' FROM holding h %s CROSS JOIN LATERAL (SELECT 0.3::float8 + %s::float8 * h.token_count AS norm,'
        ' %s AS language) k'
        ' CROSS JOIN LATERAL (SELECT %s OFFSET 0) f), best AS ('
        'SELECT s.chunk_id, s.score FROM scored s WHERE s.score > 0 ORDER BY s.score DESC, s.chunk_id LIMIT %s) '
        'SELECT (SELECT count(*) FROM holding), array_agg(b.chunk_id), array_agg(b.score) FROM best b',
        freshet.scored_chunks(
            p_space, p_sources IS NOT NULL,
            freshet.readable_chunks(v_reading.sees_all, v_reading.defaults, p_as_of IS NULL, '$3', '$4'),
            v_narrowed, p_as_of IS NULL),
        string_agg(format(
            CASE WHEN t.languages IS NULL THEN '%1$s::float8 * n%2$s / (n%2$s + k.norm)'
                 ELSE 'CASE WHEN k.language = ANY(%3$L) THEN %1$s::float8 * n%2$s / (n%2$s + k.norm) ELSE 0 END' END,
            2.2 * t.idf, t.place, t.languages), ' + '),
        CASE WHEN cardinality(p_languages) = 1 THEN '' ELSE 'JOIN freshet.source own ON own.source = h.source' END,
        1.2 * 0.75 / v_statistics.tokens,
        CASE WHEN cardinality(p_languages) = 1 THEN 'NULL'
             ELSE 'coalesce(h.language, own.spec ->> ''text_search_language'', ''english'')' END,
        string_agg(freshet.term_frequency(t.query) || ' AS n' || t.place, ', '), p_limit)
    INTO v_score
    FROM unnest(v_queries, v_languages, v_idf) WITH ORDINALITY AS t (query, languages, idf, place);

    v_terms := least(12, cardinality(v_queries));
    FOR v_round IN 1 .. 8 LOOP
        SELECT n.terms, n.threshold, n.expected INTO v_terms, v_threshold, v_expected
        FROM freshet.next_threshold(v_units, v_shares, v_statistics.chunks, v_wanted, v_terms, v_threshold) n;
        v_query := CASE
            WHEN v_is_last THEN array_to_string(v_queries, '|')
            ELSE freshet.terms_reaching(v_queries[:v_terms], v_units[:v_terms], v_threshold) END;
        EXECUTE v_score INTO v_found, v_new_ids, v_new_scores
            USING p_metadata, p_sources, v_reading.defaults, v_reading.lists, p_as_of, v_few, v_query, v_before, v_left;
        IF v_found >= v_left AND v_before IS NULL AND v_cut IS NULL AND NOT v_is_last THEN
            -- They occur together more often than by chance, and chance would say which of them are scored.
            v_cut := v_threshold;
            v_wanted := v_wanted / 8;
            v_threshold := 1000000;
            CONTINUE;
        END IF;
        v_left := v_left - v_found;
        SELECT array_agg(n.id ORDER BY n.score DESC, n.id), array_agg(n.score ORDER BY n.score DESC, n.id)
        INTO v_ids, v_scores
        FROM (SELECT * FROM unnest(v_ids || v_new_ids, v_scores || v_new_scores) AS a (id, score)
              ORDER BY a.score DESC, a.id LIMIT p_limit) n;
        EXIT WHEN v_is_last OR v_left <= 0 OR v_scores[p_limit] >= v_threshold * v_unit * 1.5;
        -- All of them: a threshold about fewer terms may leave out what one before did not.
        v_before := coalesce(v_before || v_query, v_query);
        -- At last whatever else has a term, where there are fewer than asked for.
        v_is_last := v_threshold <= 1 OR v_round = 7;
        EXIT WHEN v_is_last
            AND (v_scores[p_limit] IS NOT NULL OR v_terms = cardinality(v_queries) AND v_threshold <= 1);
        -- By how many there were of those that were expected, under the filter and since terms do occur together.
        v_goal := 2 * v_goal;
        v_wanted := v_goal * least(64, greatest(0.1, v_expected / greatest(v_found, 1)));
        v_threshold := greatest(v_threshold, 2);
    END LOOP;
    RETURN QUERY SELECT n.id, n.score FROM unnest(v_ids, v_scores) AS n (id, score);
END $$;
