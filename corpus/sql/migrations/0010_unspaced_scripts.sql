-- 0010 unspaced scripts: text search finds words in Chinese, Japanese, Thai, Lao, Khmer and Burmese.
-- Why: PostgreSQL's parser takes a whole sentence of these scripts for one word, so that only the sentence itself was found.
-- Locks: none (functions, a new table). Phase: pre. What old code publishes has the old terms: run `freshet migrate` again when
-- the last process of it has ended. It also rebuilds the terms of what is in the corpus, in small transactions.

-- The characters of these scripts, as the inside of a bracket expression; digits and punctuation are not among them.
CREATE FUNCTION freshet.unspaced_characters() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '\u2e80-\u2fd5\u3005-\u3007\u3021-\u3029\u3038-\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff'   -- Chinese
        || '\U00020000-\U0003ffff\u3105-\u312f\u31a0-\u31bf'
        || '\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f'    -- Japanese
        || '\u0e01-\u0e3a\u0e40-\u0e4e'                                                                    -- Thai
        || '\u0e81-\u0ec4\u0ec6\u0ec8-\u0ece\u0edc-\u0edf'                                                 -- Lao
        || '\u1000-\u103f\u1050-\u108f\u109a-\u109f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f'                -- Burmese
        || '\u1780-\u17d3\u17d7\u17dc\u17dd'                                                               -- Khmer
$$;

-- Characters that are nothing within a word: joiners, soft hyphens, places for a break, variation selectors.
CREATE FUNCTION freshet.joining_characters() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '\u00ad\u200b-\u200d\u2060\ufe00-\ufe0f\U000e0100-\U000e01ef'
$$;

-- What stands beside what: one character of Chinese or Japanese, or a letter of the others with the vowels, marks and subscripts
-- that belong to it; vowels of Thai and Lao that are written first included. A bar is a unit of its own.
CREATE FUNCTION freshet.unspaced_unit() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '[\u0e40-\u0e44\u0ec0-\u0ec4]{0,2}[^|\u0e40-\u0e44\u0ec0-\u0ec4\u17d2\u1039]'
        || '(?:[\u17d2\u1039][\u1000-\u102a\u103f\u1780-\u17b3]'
        || '|[\u0e30-\u0e3a\u0e45\u0e47-\u0e4e\u0eb0-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u105e-\u1060'
        || '\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d\ua9e5\uaa7b-\uaa7d'
        || '\u17b4-\u17d3\u17dd]){0,8}'
        || '|.'
$$;

-- The terms of what is written in these scripts: overlapping pairs of neighbours. A text has every unit by itself as a term, too;
-- a question only those that have no neighbour. Half-width kana and compatibility characters count as what they stand for.
CREATE FUNCTION freshet.unspaced_terms(p_text text, p_is_question boolean) RETURNS TABLE (term text, place bigint)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_other text := format('[^%s%s \t\n]+|\n[ \t]*\n', freshet.unspaced_characters(), freshet.joining_characters());
    v_nothing text := format('[%s \t\n]+', freshet.joining_characters());
    v_runs text;
    v_units text[];
BEGIN
    -- A bar for whatever is between two runs. A text's lines may be wrapped within a word; the spaces of a question are meant.
    v_runs := regexp_replace(p_text, CASE WHEN p_is_question THEN v_other || '|[ \t\n]+' ELSE v_other END, '|', 'g');
    v_runs := normalize(regexp_replace(v_runs, v_nothing, '', 'g'), NFKC);
    IF v_runs ~ '[\u0e00-\u17ff\ua9e0-\uaa7f]' THEN
        v_units := string_to_array(regexp_replace(v_runs, freshet.unspaced_unit(), '\& ', 'g'), ' ');
    ELSE  -- Chinese and Japanese alone: faster
        v_units := string_to_array(v_runs, NULL);
    END IF;
    RETURN QUERY SELECT u.unit || u.following, u.nth
    FROM unnest(v_units, v_units[2:]) WITH ORDINALITY AS u (unit, following, nth)
    WHERE u.unit <> '|' AND u.following NOT IN ('|', '');
    RETURN QUERY SELECT u.unit, u.nth
    FROM unnest(v_units, v_units[2:], '|'::text || v_units) WITH ORDINALITY AS u (unit, following, preceding, nth)
    WHERE u.unit NOT IN ('|', '') AND (NOT p_is_question OR (coalesce(u.following, '') IN ('|', '') AND u.preceding = '|'));
END $$;

-- The rest of a text, for PostgreSQL's parser; full-width letters and digits as what they stand for.
CREATE FUNCTION freshet.spaced_text(p_text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT translate(
        regexp_replace(
            p_text, format('[%1$s][%1$s%2$s]*', freshet.unspaced_characters(), freshet.joining_characters()), ' ', 'g'),
        '　０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ',
        ' 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz')
$$;

-- Whether a text has characters that the two functions above are for. The first condition is the cheap one.
CREATE FUNCTION freshet.is_unspaced(p_text text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT octet_length(p_text) <> char_length(p_text)
       AND p_text ~ ('[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a' || freshet.unspaced_characters() || ']')
$$;

-- The search text of a chunk. Without characters of these scripts it is what PostgreSQL makes of the text. A tsvector holds at
-- most 1 MB: of a longer chunk (`chunker = "whole"` only), text search knows the beginning.
CREATE FUNCTION freshet.search_text(p_language regconfig, p_text text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_beginning text := left(p_text, 40000);                  -- each character makes at most 20 bytes
    v_spaced tsvector;
    v_unspaced tsvector;
BEGIN
    IF NOT freshet.is_unspaced(p_text) THEN RETURN to_tsvector(p_language, left(p_text, 200000)); END IF;
    -- As a literal, for its positions: 16383 is the greatest that a tsvector knows.
    SELECT coalesce(string_agg('''' || t.term || ''':' || least(t.place, 16383), ' '), '')::tsvector INTO v_unspaced
    FROM freshet.unspaced_terms(v_beginning, false) t;
    v_spaced := to_tsvector(p_language, freshet.spaced_text(left(p_text, 200000)));
    IF pg_column_size(v_spaced) + pg_column_size(v_unspaced) > 1000000 THEN
        v_spaced := to_tsvector(p_language, freshet.spaced_text(v_beginning));
    END IF;
    RETURN v_spaced || v_unspaced;
END $$;

-- The terms of a question, in the form that search texts have them.
CREATE FUNCTION freshet.search_terms(p_language regconfig, p_text text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF NOT freshet.is_unspaced(p_text) THEN RETURN tsvector_to_array(to_tsvector(p_language, p_text)); END IF;
    RETURN tsvector_to_array(to_tsvector(p_language, freshet.spaced_text(p_text)))
        || ARRAY (SELECT DISTINCT t.term FROM freshet.unspaced_terms(p_text, true) t);
END $$;

-- As in 0002, but with the terms of `search_terms`.
CREATE OR REPLACE FUNCTION freshet.text_candidates(
    p_text text, p_language regconfig, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, score double precision)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_visible text := CASE WHEN p_as_of IS NULL THEN 'c.visible_to IS NULL'
        ELSE 'c.visible_from <= $5 AND (c.visible_to IS NULL OR c.visible_to > $5)' END;
    v_filter text;
    v_score text;
    v_total double precision;
    v_terms text[] := freshet.search_terms(p_language, p_text);
    v_idf double precision[];
    v_rare tsquery;
    v_any tsquery;
    v_ids bigint[];
    v_scores double precision[];
BEGIN
    IF coalesce(cardinality(v_terms), 0) = 0 THEN RETURN; END IF;
    v_filter := v_visible || format(' AND c.space_id = %s', p_space)
        || CASE WHEN p_sources IS NULL THEN '' ELSE ' AND c.source = ANY($3)' END;
    -- How many chunks there are: the planner's estimate, which says nothing while there are few.
    SELECT reltuples INTO v_total FROM pg_class WHERE oid = 'freshet.chunk_search_text'::regclass;
    IF v_total < 50000 THEN
        SELECT count(*) INTO v_total FROM (SELECT FROM freshet.chunk WHERE visible_to IS NULL LIMIT 50000) bounded;
    END IF;
    -- How often each term occurs, counted up to a bound that makes it common anyway.
    EXECUTE format($q$
        WITH counted AS (
            SELECT term, place, (SELECT count(*) FROM (SELECT 1 FROM freshet.chunk c WHERE %s
                    AND c.search_text @@ (quote_literal(term))::tsquery LIMIT 20000) bounded) AS n
            FROM unnest($1) WITH ORDINALITY AS t (term, place)
        ), rising AS (
            SELECT term, place, n, sum(n) OVER (ORDER BY n, term) AS upto, row_number() OVER (ORDER BY n, term) AS nth
            FROM counted WHERE n > 0
        )
        SELECT array_agg(term ORDER BY place), array_agg(ln(1 + (greatest($2, n) - n + 0.5) / (n + 0.5)) ORDER BY place),
               string_agg(quote_literal(term), ' | ') FILTER (WHERE nth = 1 OR upto <= 1000)::tsquery,
               string_agg(quote_literal(term), ' | ')::tsquery
        FROM rising $q$, v_filter)
    INTO v_terms, v_idf, v_rare, v_any USING v_terms, v_total, p_sources, p_metadata, p_as_of;
    IF v_rare IS NULL THEN RETURN; END IF;
    v_score := format($q$
        WITH holding AS MATERIALIZED (
            SELECT c.chunk_id, c.search_text, c.token_count FROM freshet.chunk c
            WHERE %s AND c.search_text @@ $6 %s AND c.chunk_id <> ALL($9) LIMIT $10
        ), average AS (SELECT greatest(avg(token_count), 1) AS tokens FROM holding), scored AS (
        SELECT h.chunk_id, sum(t.idf * o.n * 2.2 / (o.n + 1.2 * (0.25 + 0.75 * h.token_count / a.tokens)))::double precision AS score
        FROM holding h CROSS JOIN average a
        CROSS JOIN LATERAL (SELECT lexeme, greatest(cardinality(positions), 1) AS n FROM unnest(h.search_text)
                            WHERE lexeme = ANY($7)) o
        JOIN unnest($7, $8) AS t (term, idf) ON t.term = o.lexeme
        GROUP BY h.chunk_id ORDER BY score DESC, h.chunk_id LIMIT $2)
        SELECT array_agg(s.chunk_id ORDER BY s.score DESC, s.chunk_id), array_agg(s.score ORDER BY s.score DESC, s.chunk_id) FROM scored s $q$,
        v_filter,
        CASE WHEN p_metadata IS NULL THEN '' ELSE
            'AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source AND d.document_id = c.document_id AND d.metadata @> $4'
            || CASE WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL)'
                    ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5))' END END);
    EXECUTE v_score INTO v_ids, v_scores
        USING p_text, p_limit, p_sources, p_metadata, p_as_of, v_rare, v_terms, v_idf, '{}'::bigint[], NULL::bigint;
    v_ids := coalesce(v_ids, '{}');
    RETURN QUERY SELECT n.id, n.score FROM unnest(v_ids, v_scores) AS n (id, score);
    IF cardinality(v_ids) >= p_limit OR v_any::text = v_rare::text THEN RETURN; END IF;
    -- Whatever else holds a term, up to a bound: common terms tell little, so any of them will do.
    EXECUTE v_score INTO v_ids, v_scores
        USING p_text, p_limit - cardinality(v_ids), p_sources, p_metadata, p_as_of, v_any, v_terms, v_idf, v_ids, 20000::bigint;
    RETURN QUERY SELECT n.id, n.score FROM unnest(v_ids, v_scores) AS n (id, score);
END $$;

-- How far the search texts of the corpus are rebuilt, and with which character type of the database. One row.
CREATE TABLE freshet.search_text_state (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    character_type text NOT NULL,
    next_chunk     bigint NOT NULL                            -- chunks before it have the search texts of today
);
INSERT INTO freshet.search_text_state (character_type, next_chunk)
SELECT datctype, 0 FROM pg_catalog.pg_database WHERE datname = current_database();
