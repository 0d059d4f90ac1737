-- 0002 search: vector, text and hybrid retrieval as SQL functions, usable by any client.
-- Why: one place decides what is visible. Locks: none (new functions). Phase: pre.

-- Candidates by vector: nearest first. The index is used for what is visible now; what it cannot give (a filter that leaves
-- little, an instant in the past) is found by an exact scan, so k rows come back when k exist.
CREATE FUNCTION freshet.vector_candidates(
    p_query vector, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, distance double precision)
LANGUAGE plpgsql STABLE
SET hnsw.iterative_scan = 'strict_order' SET hnsw.ef_search = 200 SET hnsw.max_scan_tuples = 40000
AS $$
DECLARE
    v_dimensions integer;
    v_from text;
    v_ids bigint[] := '{}';
    v_distances double precision[];
BEGIN
    SELECT dimensions INTO v_dimensions FROM freshet.embedding_space WHERE space_id = p_space;
    IF v_dimensions IS NULL THEN
        RAISE EXCEPTION 'there is no embedding space %', p_space USING ERRCODE = 'FR001';
    ELSIF p_query IS NULL THEN
        RAISE EXCEPTION 'a search by vector wants a query vector' USING ERRCODE = 'FR002';
    ELSIF vector_dims(p_query) <> v_dimensions THEN
        RAISE EXCEPTION 'the query has % dimensions, embedding space % has %', vector_dims(p_query), p_space, v_dimensions
            USING ERRCODE = 'FR001', HINT = 'Embed the query with the model of the space.';
    END IF;
    v_from := format('FROM freshet.chunk c WHERE c.space_id = %s', p_space)
        || CASE WHEN p_as_of IS NULL THEN ' AND c.visible_to IS NULL'
                ELSE ' AND c.visible_from <= $5 AND (c.visible_to IS NULL OR c.visible_to > $5)' END
        || CASE WHEN p_sources IS NULL THEN '' ELSE ' AND c.source = ANY($3)' END
        || CASE WHEN p_metadata IS NULL THEN '' ELSE
            ' AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source AND d.document_id = c.document_id AND d.metadata @> $4'
            || CASE WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL)'
                    ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5))' END END;
    IF p_as_of IS NULL THEN
        -- Kept at hand: a second scan of the index may give other rows while somebody writes.
        EXECUTE format(
            'SELECT array_agg(n.chunk_id ORDER BY n.distance), array_agg(n.distance ORDER BY n.distance) FROM '
            '(SELECT c.chunk_id, (c.embedding::vector(%1$s)) <=> $1 AS distance %2$s ORDER BY (c.embedding::vector(%1$s)) <=> $1 LIMIT $2) n',
            v_dimensions, v_from) INTO v_ids, v_distances USING p_query, p_limit, p_sources, p_metadata, p_as_of;
        v_ids := coalesce(v_ids, '{}');
        RETURN QUERY SELECT n.id, n.distance FROM unnest(v_ids, v_distances) AS n (id, distance);
        IF cardinality(v_ids) >= p_limit THEN RETURN; END IF;
    END IF;
    -- Fewer than asked for: the rest, if there is any, in exact order behind what was found.
    RETURN QUERY EXECUTE format('SELECT c.chunk_id, c.embedding <=> $1 AS distance %s AND c.chunk_id <> ALL($6) '
        'ORDER BY c.embedding <=> $1 LIMIT $2', v_from) USING p_query, p_limit - cardinality(v_ids), p_sources, p_metadata, p_as_of, v_ids;
END $$;

-- Candidates by text: BM25 (Robertson, Zaragoza 2009; k1 = 1.2, b = 0.75) over the chunks that hold the query's rarest terms.
-- PostgreSQL's own ts_rank knows no term rarity. Common terms count for the score; they widen the candidates only where the rare
-- ones leave fewer than were asked for.
CREATE FUNCTION freshet.text_candidates(
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
    v_terms text[] := tsvector_to_array(to_tsvector(p_language, p_text));
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

-- Wait until what a search as of `p_as_of` returns can never change: a batch that is being committed stands in the ledger with an
-- instant that may already have passed. In a statement of its own, before the search, since a statement sees what was committed
-- when it began. Holds nothing afterwards; an instant of long ago does not wait.
CREATE FUNCTION freshet.settle(p_as_of timestamptz, p_sources text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE v_source text;
BEGIN
    IF p_as_of > clock_timestamp() + interval '2 seconds' THEN
        RAISE EXCEPTION 'as of % lies in the future: it is % now', p_as_of, clock_timestamp() USING ERRCODE = 'FR002';
    ELSIF p_as_of > clock_timestamp() THEN  -- rounding, or a clock a little ahead
        PERFORM pg_sleep(extract(epoch FROM p_as_of - clock_timestamp()) + 0.001);
    END IF;
    FOR v_source IN SELECT s.source FROM freshet.source s
        WHERE (p_sources IS NULL OR s.source = ANY(p_sources)) AND p_as_of > clock_timestamp() - interval '1 hour' ORDER BY s.source
    LOOP
        PERFORM pg_advisory_lock_shared(hashtext('freshet.publish'), hashtext(v_source));
        PERFORM pg_advisory_unlock_shared(hashtext('freshet.publish'), hashtext(v_source));
    END LOOP;
END $$;

-- Search. `p_mode`: vector, text, or hybrid (reciprocal rank fusion: Cormack et al. 2009, constant 60).
-- `p_as_of`: what was visible then; NULL: now. Every hit names its document version, batch and Kafka position.
CREATE FUNCTION freshet.search(
    p_query       vector,                     -- of the space's dimensions; NULL for mode text
    p_text        text,                       -- NULL for mode vector
    p_k           integer DEFAULT 10,
    p_mode        text DEFAULT 'hybrid',
    p_space       smallint DEFAULT NULL,      -- NULL: the only one there is
    p_sources     text[] DEFAULT NULL,
    p_metadata    jsonb DEFAULT NULL,         -- contained in the document's metadata
    p_as_of       timestamptz DEFAULT NULL,
    p_language    regconfig DEFAULT 'english'
) RETURNS TABLE (
    score double precision, source text, document_id text, version bigint, ordinal integer, start integer, heading text, text text,
    title text, uri text, metadata jsonb, chunk_id bigint, batch bigint, topic text, partition integer, record_offset bigint,
    event_at timestamptz, observed_at timestamptz, verified_at timestamptz, expires_at timestamptz, visible_from timestamptz
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    v_space smallint := p_space;
    v_depth integer := CASE p_mode WHEN 'hybrid' THEN greatest(50, 4 * p_k) ELSE p_k END;
BEGIN
    IF p_k < 1 OR p_mode NOT IN ('vector', 'text', 'hybrid') THEN
        RAISE EXCEPTION 'search wants k >= 1 and a mode of vector, text, hybrid; got k = %, mode = %', p_k, p_mode USING ERRCODE = 'FR002';
    END IF;
    IF v_space IS NULL THEN
        IF (SELECT count(*) FROM freshet.embedding_space) > 1 THEN
            RAISE EXCEPTION 'there are several embedding spaces; name one' USING ERRCODE = 'FR001';
        END IF;
        SELECT space_id INTO v_space FROM freshet.embedding_space;
        IF v_space IS NULL THEN RETURN; END IF;
    END IF;
    RETURN QUERY
    WITH by_vector AS (
        SELECT v.chunk_id, v.distance, row_number() OVER (ORDER BY v.distance, v.chunk_id) AS nth
        FROM freshet.vector_candidates(p_query, v_depth, v_space, p_sources, p_metadata, p_as_of) v WHERE p_mode <> 'text'
    ), by_text AS (
        SELECT t.chunk_id, t.score, row_number() OVER (ORDER BY t.score DESC, t.chunk_id) AS nth
        FROM freshet.text_candidates(p_text, p_language, v_depth, v_space, p_sources, p_metadata, p_as_of) t WHERE p_mode <> 'vector'
    ), ranked AS (
        SELECT coalesce(v.chunk_id, t.chunk_id) AS chunk_id,
               CASE p_mode WHEN 'vector' THEN 1 - v.distance WHEN 'text' THEN t.score
                    ELSE coalesce(1.0 / (60 + v.nth), 0) + coalesce(1.0 / (60 + t.nth), 0) END AS score
        FROM by_vector v FULL JOIN by_text t ON t.chunk_id = v.chunk_id
        ORDER BY 2 DESC, 1 LIMIT p_k
    )
    SELECT r.score, c.source, c.document_id, d.version, array_position(d.chunk_ids, c.chunk_id) - 1,
           d.chunk_starts[array_position(d.chunk_ids, c.chunk_id)], nullif(d.chunk_headings[array_position(d.chunk_ids, c.chunk_id)], ''),
           c.text, d.title, d.uri, d.metadata, c.chunk_id, d.batch, d.topic, d.partition, d.record_offset, d.event_at, d.observed_at,
           d.verified_at, d.expires_at, d.visible_from
    FROM ranked r
    JOIN freshet.chunk c ON c.chunk_id = r.chunk_id
    JOIN freshet.document d ON d.source = c.source AND d.document_id = c.document_id
        AND CASE WHEN p_as_of IS NULL THEN d.visible_to IS NULL
                 ELSE d.visible_from <= p_as_of AND (d.visible_to IS NULL OR d.visible_to > p_as_of) END
    ORDER BY r.score DESC, c.chunk_id;
END $$;
