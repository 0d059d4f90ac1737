-- 0011 document languages: the language of every document version selects the dictionary of its chunks; a source may hold several.
-- Why: a source had one dictionary, so that the documents of another language were stemmed and searched with the wrong rules.
-- Locks: ACCESS EXCLUSIVE on document, chunk and batch for a moment, waited for at most 10 s (columns without a volatile default
-- rewrite nothing). Phase: pre. Old code leaves the columns empty: its chunks have the source's language, as it indexes them.
-- Restart the storers before the preparers: an old storer does not index again what a new preparer says is of another language.

-- Which dictionaries the chunks of a source are indexed with, besides its own: written in the transaction that opens the first chunk
-- of one, and kept, since searches as of an instant need it. So a search reads no document to know it.
CREATE TABLE freshet.source_language (
    source   text NOT NULL REFERENCES freshet.source,
    language text NOT NULL,                                   -- a text search configuration
    PRIMARY KEY (source, language)
);

SET LOCAL lock_timeout = '10s';
ALTER TABLE freshet.document
    ADD COLUMN language        text,                          -- a text search configuration; null: that of the source
    ADD COLUMN language_from   text CHECK (language_from IN ('event', 'detected', 'source')),
    ADD COLUMN language_note   text CHECK (language_note IN ('unknown', 'unsure')),  -- why it is that of the source after all
    ADD COLUMN stated_language text;                          -- what the event says, as it says it
ALTER TABLE freshet.chunk
    ADD COLUMN language text;                                 -- that search_text is made with; null: that of the source
ALTER TABLE freshet.batch
    ADD COLUMN languages_unknown bigint NOT NULL DEFAULT 0,   -- documents whose event names a language that is none here
    ADD COLUMN languages_unsure  bigint NOT NULL DEFAULT 0;   -- documents whose language could not be detected

-- The dictionary of a document version; null: it is a tombstone and has none. A version that an old storer opened, and whose chunks
-- stayed, has theirs.
CREATE FUNCTION freshet.language_of(p_version freshet.document) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        p_version.language, (SELECT c.language FROM freshet.chunk c WHERE c.chunk_id = p_version.chunk_ids[1]),
        s.spec ->> 'text_search_language', 'english')
    FROM freshet.source s WHERE s.source = p_version.source AND p_version.kind = 'document'
$$;

-- The dictionaries that the chunks of these sources are indexed with, of those that this server has.
CREATE FUNCTION freshet.languages_of(p_sources text[]) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(l.language ORDER BY l.language), '{}') FROM (
        SELECT coalesce(s.spec ->> 'text_search_language', 'english') AS language
        FROM freshet.source s WHERE p_sources IS NULL OR s.source = ANY(p_sources)
        UNION
        SELECT n.language FROM freshet.source_language n WHERE p_sources IS NULL OR n.source = ANY(p_sources)
    ) l JOIN pg_catalog.pg_ts_config g ON g.cfgname = l.language AND pg_catalog.pg_ts_config_is_visible(g.oid)
$$;

-- Candidates by text: BM25 as in 0002, with the terms of `search_terms` in each of these dictionaries. Of several, a chunk is matched
-- by the terms of its own alone; each term is counted and looked up once, however many dictionaries it is a term of. Of one, every
-- chunk is matched, whatever its language.
CREATE FUNCTION freshet.text_candidates_in(
    p_text text, p_languages text[], p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, score double precision)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_visible text := CASE WHEN p_as_of IS NULL THEN 'c.visible_to IS NULL'
        ELSE 'c.visible_from <= $5 AND (c.visible_to IS NULL OR c.visible_to > $5)' END;
    v_filter text;
    v_score text;
    v_total double precision;
    v_terms_of jsonb;                                         -- dictionary -> its terms
    v_terms text[];
    v_idf double precision[];
    v_rare tsquery;
    v_any tsquery;
    v_ids bigint[];
    v_scores double precision[];
BEGIN
    SELECT jsonb_object_agg(l.language, to_jsonb(freshet.search_terms(l.language::regconfig, p_text))) INTO v_terms_of
    FROM unnest(p_languages) AS l (language);
    SELECT array_agg(DISTINCT t.term) INTO v_terms
    FROM jsonb_each(v_terms_of) AS l (language, terms) CROSS JOIN LATERAL jsonb_array_elements_text(l.terms) AS t (term);
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
            SELECT c.chunk_id, c.source, c.language, c.search_text, c.token_count FROM freshet.chunk c
            WHERE %s AND c.search_text @@ $6 %s AND c.chunk_id <> ALL($9) LIMIT $10
        ), average AS (SELECT greatest(avg(token_count), 1) AS tokens FROM holding), scored AS (
        SELECT h.chunk_id, sum(t.idf * o.n * 2.2 / (o.n + 1.2 * (0.25 + 0.75 * h.token_count / a.tokens)))::double precision AS score
        FROM holding h CROSS JOIN average a %s
        CROSS JOIN LATERAL (SELECT lexeme, greatest(cardinality(positions), 1) AS n FROM unnest(h.search_text)
                            WHERE lexeme = ANY($7) %s) o
        JOIN unnest($7, $8) AS t (term, idf) ON t.term = o.lexeme
        GROUP BY h.chunk_id ORDER BY score DESC, h.chunk_id LIMIT $2)
        SELECT array_agg(s.chunk_id ORDER BY s.score DESC, s.chunk_id), array_agg(s.score ORDER BY s.score DESC, s.chunk_id) FROM scored s $q$,
        v_filter,
        CASE WHEN p_metadata IS NULL THEN '' ELSE
            'AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source AND d.document_id = c.document_id AND d.metadata @> $4'
            || CASE WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL)'
                    ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5))' END END,
        CASE WHEN cardinality(p_languages) = 1 THEN '' ELSE 'JOIN freshet.source own ON own.source = h.source' END,
        CASE WHEN cardinality(p_languages) = 1 THEN '' ELSE
            $q$AND ($11 -> coalesce(h.language, own.spec ->> 'text_search_language', 'english')) ? lexeme$q$ END);
    EXECUTE v_score INTO v_ids, v_scores
        USING p_text, p_limit, p_sources, p_metadata, p_as_of, v_rare, v_terms, v_idf, '{}'::bigint[], NULL::bigint, v_terms_of;
    v_ids := coalesce(v_ids, '{}');
    RETURN QUERY SELECT n.id, n.score FROM unnest(v_ids, v_scores) AS n (id, score);
    IF cardinality(v_ids) >= p_limit OR v_any::text = v_rare::text THEN RETURN; END IF;
    -- Whatever else holds a term, up to a bound: common terms tell little, so any of them will do.
    EXECUTE v_score INTO v_ids, v_scores
        USING p_text, p_limit - cardinality(v_ids), p_sources, p_metadata, p_as_of, v_any, v_terms, v_idf, v_ids, 20000::bigint,
              v_terms_of;
    RETURN QUERY SELECT n.id, n.score FROM unnest(v_ids, v_scores) AS n (id, score);
END $$;

-- In one dictionary, whatever the chunks are indexed with: for clients that name it.
CREATE OR REPLACE FUNCTION freshet.text_candidates(
    p_text text, p_language regconfig, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, score double precision)
LANGUAGE sql STABLE
AS $$
    SELECT * FROM freshet.text_candidates_in(
        p_text, ARRAY[p_language::text], p_limit, p_space, p_sources, p_metadata, p_as_of)
$$;

-- In the dictionaries that the sources' chunks are indexed with.
CREATE OR REPLACE FUNCTION freshet.text_candidates_by_language(
    p_text text, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, score double precision)
LANGUAGE sql STABLE
AS $$
    SELECT * FROM freshet.text_candidates_in(
        p_text, freshet.languages_of(p_sources), p_limit, p_space, p_sources, p_metadata, p_as_of)
$$;
