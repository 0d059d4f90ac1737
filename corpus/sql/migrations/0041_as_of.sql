-- 0041 as of: a search by vector as of an instant uses vector indexes, one of the chunks that are visible and one of
-- those that were closed, where it compared with every chunk that ever was.
-- Why: what was visible at an instant is what still is and was there then, and what was closed since. Both are small
--   beside a history that is kept for ever, and each is found by an index. Its cost grew with the history.
-- Locks: ACCESS EXCLUSIVE on chunk for a moment (a column that may be null, a constraint without a scan); SHARE on
--   chunk while three indexes are built, where it is small (under 200 MB: 5 s on a busy machine). Where it is large, a
--   storer builds them beside all publishing, and so it does with the vector index of closed chunks: a millisecond for
--   each of them. No table is rewritten.
-- Phase: pre. Old code uses the functions, and closes chunks as before; it does not bring them into the index.

SET LOCAL lock_timeout = '10s';
-- A storer sets it some seconds after the chunk was closed: to enter the vector in its index takes several times as
-- long as to close the chunk, and a batch would have to wait for it.
ALTER TABLE freshet.chunk
    ADD COLUMN in_history boolean,                            -- true: the vector index of closed chunks has it, if any
    ADD CONSTRAINT chunk_in_history_is_closed
        CHECK (in_history IS NULL OR in_history AND visible_to IS NOT NULL) NOT VALID;

-- What was visible at an instant, of the closed chunks and of those that still are; and what awaits `in_history`.
DO $$
BEGIN
    IF pg_relation_size('freshet.chunk') < 200 * 1024 * 1024 THEN
        CREATE INDEX chunk_closing ON freshet.chunk (visible_to) WHERE visible_to IS NOT NULL AND in_history IS NULL;
        CREATE INDEX chunk_lifetime ON freshet.chunk USING gist (tstzrange(visible_from, visible_to))
            WHERE visible_to IS NOT NULL;
        CREATE INDEX chunk_opened ON freshet.chunk (visible_from) WHERE visible_to IS NULL;
    END IF;
END $$;

-- ── vector indexes ──────────────────────────────────────────────────────────────────────────────────────────────
-- Both indexes of every space, as in 0025, over its visible chunks or its closed ones. Few closed chunks have none: to
-- compare with some thousand takes about as long as to search an index.
CREATE FUNCTION freshet.vector_indexes(p_of_closed boolean) RETURNS TABLE (
    space_id smallint, is_half boolean, is_wanted boolean, name text, definition text, index_id oid, is_valid boolean
) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.space_id, k.is_half,
           s.dimensions <= k.most_dimensions
               AND k.is_half = (freshet.vectors_of_space(s.vectors, s.dimensions) <> 'full')
               AND (NOT p_of_closed OR h.is_large),
           n.name,
           format(
               '%s ON freshet.chunk USING hnsw (%s %s) WHERE visible_to IS %s AND space_id = %s',
               n.name, freshet.indexed_vector(k.is_half, e.schema, s.dimensions), e.schema || k.operators,
               CASE WHEN p_of_closed THEN 'NOT NULL AND in_history' ELSE 'NULL' END, s.space_id),
           i.indexrelid, coalesce(i.indisvalid, false)
    FROM freshet.embedding_space s
    CROSS JOIN (
        SELECT quote_ident(n.nspname) AS schema
        FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace WHERE x.extname = 'vector'
    ) e
    CROSS JOIN (
        SELECT coalesce(max(c.reltuples) >= 20000, false) AS is_large
        FROM pg_class c WHERE c.oid = to_regclass('freshet.chunk_lifetime')
    ) h
    CROSS JOIN (VALUES
        (false, 2000, 'chunk_embedding_space_', 'chunk_closed_space_', '.vector_cosine_ops'),
        (true, 4000, 'chunk_embedding_half_', 'chunk_closed_half_', '.halfvec_cosine_ops')
    ) AS k (is_half, most_dimensions, of_visible, of_closed, operators)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p_of_closed THEN k.of_closed ELSE k.of_visible END || s.space_id AS name
    ) n
    LEFT JOIN pg_index i ON i.indexrelid = to_regclass('freshet.' || n.name)
$$;

CREATE OR REPLACE FUNCTION freshet.space_vector_indexes() RETURNS TABLE (
    space_id smallint, is_half boolean, is_wanted boolean, name text, definition text, index_id oid, is_valid boolean
) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM freshet.vector_indexes(false)
$$;

-- Whether the index that searches of a space use is in half precision; null: there is none.
CREATE FUNCTION freshet.searched_index(p_space smallint, p_of_closed boolean) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN p_of_closed
        -- That of a former choice lacks the vectors that were narrowed since.
        THEN bool_or(k.is_half) FILTER (WHERE k.is_half = (freshet.vectors_of_space(s.vectors, s.dimensions) <> 'full'))
        ELSE bool_or(k.is_half) END
    FROM freshet.embedding_space s
    CROSS JOIN (VALUES
        (false, false, 'freshet.chunk_embedding_space_'), (true, false, 'freshet.chunk_embedding_half_'),
        (false, true, 'freshet.chunk_closed_space_'), (true, true, 'freshet.chunk_closed_half_')
    ) AS k (is_half, is_of_closed, prefix)
    JOIN pg_index i ON i.indexrelid = to_regclass(k.prefix || p_space) AND i.indisvalid
    WHERE s.space_id = p_space AND k.is_of_closed = p_of_closed
$$;

-- ── search by vector ────────────────────────────────────────────────────────────────────────────────────────────
-- Whether so few chunks were visible at an instant that a search compares with each of them: of those that still are,
-- and of those that were closed since. Null: the index by which they are counted is not there yet.
CREATE FUNCTION freshet.few_of_then(
    p_as_of timestamptz, p_sources text[], OUT are_open_few boolean, OUT are_closed_few boolean
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_most constant integer := 3000;                          -- they take some times as long as a search of an index
BEGIN
    IF EXISTS (
        SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('freshet.chunk_opened') AND i.indisvalid
    ) THEN
        SELECT count(*) <= v_most INTO are_open_few FROM (
            SELECT FROM freshet.chunk c
            WHERE c.visible_to IS NULL AND c.visible_from <= p_as_of LIMIT v_most + 1) bounded;
    END IF;
    IF EXISTS (
        SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('freshet.chunk_lifetime') AND i.indisvalid
    ) THEN
        SELECT count(*) <= v_most INTO are_closed_few FROM (
            SELECT FROM freshet.chunk c
            WHERE c.visible_to IS NOT NULL AND tstzrange(c.visible_from, c.visible_to) @> p_as_of
            LIMIT v_most + 1) bounded;
    END IF;
    IF NOT are_closed_few AND p_sources IS NOT NULL AND EXISTS (
        SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('freshet.chunk_ended') AND i.indisvalid
    ) THEN
        SELECT count(*) <= v_most INTO are_closed_few FROM (
            SELECT FROM freshet.chunk c
            WHERE c.source = ANY(p_sources) AND c.visible_to > p_as_of LIMIT v_most + 1) bounded;
    END IF;
END $$;

-- The nearest of the chunks `c` that conditions leave: first by a vector index, unless `p_is_half` is null, then by
-- comparing with each where that gave fewer than asked for. The index gives more candidates than are wanted, nearly in
-- order, and the vectors that the chunks have decide: in strict order the index would leave out what it finds late, and
-- in half precision it rounds.
CREATE FUNCTION freshet.nearest_chunks(
    p_where text, p_where_by_index text, p_where_exact text, p_is_half boolean, p_dimensions integer, p_query vector,
    p_limit integer, p_sources text[], p_metadata jsonb, p_as_of timestamptz, p_open text[], p_lists integer[]
) RETURNS TABLE (chunk_id bigint, distance double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_schema text;                                            -- of the extension, quoted
    v_distance text;
    v_ids bigint[];
    v_distances double precision[];
BEGIN
    SELECT quote_ident(n.nspname) INTO v_schema
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';
    v_distance := format('coalesce(c.embedding, c.embedding_half::%1$s.vector) OPERATOR(%1$s.<=>) $1', v_schema);
    IF p_is_half IS NOT NULL THEN
        -- Where most candidates are dropped, the first step must look further. The caller's setting ends with it.
        PERFORM set_config('hnsw.ef_search', CASE WHEN p_where_by_index = '' THEN '200' ELSE '400' END, true);
        -- Kept at hand: a second scan of the index may give other rows while somebody writes.
        EXECUTE format(
            'SELECT array_agg(n.chunk_id ORDER BY n.distance), array_agg(n.distance ORDER BY n.distance) FROM ('
            'SELECT m.chunk_id, m.distance FROM ('
            'SELECT c.chunk_id, %1$s AS distance FROM freshet.chunk c WHERE %2$s '
            'ORDER BY %3$s OPERATOR(%4$s.<=>) $1::%4$s.%5$s LIMIT $8) m '
            'ORDER BY m.distance LIMIT $2) n',
            v_distance, p_where || p_where_by_index,
            freshet.indexed_vector(p_is_half, v_schema, p_dimensions), v_schema,
            CASE WHEN p_is_half THEN 'halfvec' ELSE 'vector' END) INTO v_ids, v_distances
            USING p_query, p_limit, p_sources, p_metadata, p_as_of, p_open, p_lists,
                  p_limit + greatest(5, p_limit / 4);
        IF cardinality(v_ids) >= p_limit THEN
            RETURN QUERY SELECT n.id, n.distance FROM unnest(v_ids, v_distances) AS n (id, distance);
            RETURN;
        END IF;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT c.chunk_id, %1$s AS distance FROM freshet.chunk c WHERE %2$s ORDER BY %1$s LIMIT $2',
        v_distance, p_where || p_where_exact)
        USING p_query, p_limit, p_sources, p_metadata, p_as_of, p_open, p_lists;
END $$;

-- The condition that chunks `c` could be read at an instant ($5), and can be now, as in `readable_chunks`. It is
-- asked for each candidate (OFFSET): the planner would begin with all documents.
CREATE FUNCTION freshet.readable_then(p_sees_all boolean, p_defaults text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_readable text := '(%1$s.access_id IS NULL AND %1$s.source = ANY($6) OR %1$s.access_id = ANY($7))';
BEGIN
    IF p_sees_all THEN RETURN ''; END IF;
    IF cardinality(p_defaults) = 0 THEN v_readable := '%1$s.access_id = ANY($7)'; END IF;
    RETURN format(
        ' AND EXISTS (SELECT FROM freshet.document v WHERE v.source = c.source AND v.document_id = c.document_id'
        ' AND v.visible_from <= $5 AND (v.visible_to IS NULL OR v.visible_to > $5) AND %s OFFSET 0)'
        ' AND EXISTS (SELECT FROM freshet.document h WHERE h.source = c.source AND h.document_id = c.document_id'
        ' AND h.is_head AND %s OFFSET 0)',
        format(v_readable, 'v'), format(v_readable, 'h'));
END $$;

-- As in 0025, which says what is compared chunk by chunk. As of an instant, the chunks that are still visible and those
-- that were closed since are searched one after the other; of the latter, those that their index does not have yet
-- apart.
CREATE OR REPLACE FUNCTION freshet.vector_candidates(
    p_query vector, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, distance double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.ef_search = 200 SET hnsw.max_scan_tuples = 40000
AS $$
DECLARE
    v_schema text;                                            -- of the extension, quoted
    v_dimensions integer;
    v_query_dimensions integer;
    v_reading record;
    v_sources text[] := p_sources;
    v_open text[];                                            -- of them: where it sees chunks without an access list
    v_lists integer[];                                        -- the access lists in them that it sees
    v_where text;
    v_readable text;                                          -- now
    v_metadata text := '';
    v_each text := '';                                        -- the same, asked for each candidate
    v_few record;
    v_is_half boolean;                                        -- of the index that is used; null: none is
    v_is_half_of_closed boolean;
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    SELECT quote_ident(n.nspname) INTO v_schema
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';
    SELECT dimensions INTO v_dimensions FROM freshet.embedding_space WHERE space_id = p_space;
    EXECUTE format('SELECT %s.vector_dims($1)', v_schema) INTO v_query_dimensions USING p_query;
    IF v_dimensions IS NULL THEN
        RAISE EXCEPTION 'there is no embedding space %', p_space USING ERRCODE = 'FR001';
    ELSIF p_query IS NULL THEN
        RAISE EXCEPTION 'a search by vector wants a query vector' USING ERRCODE = 'FR002';
    ELSIF v_query_dimensions <> v_dimensions THEN
        RAISE EXCEPTION 'the query has % dimensions, embedding space % has %', v_query_dimensions, p_space, v_dimensions
            USING ERRCODE = 'FR001', HINT = 'Embed the query with the model of the space.';
    END IF;
    IF NOT v_reading.sees_all THEN
        v_sources := ARRAY(SELECT g.name FROM unnest(v_reading.sources) AS g (name)
                           WHERE p_sources IS NULL OR g.name = ANY(p_sources));
    END IF;
    IF v_sources IS NOT NULL THEN
        v_open := ARRAY(SELECT g.name FROM unnest(v_sources) AS g (name)
                        WHERE v_reading.sees_all OR g.name = ANY(v_reading.defaults));
        v_lists := ARRAY(SELECT a.access_id FROM freshet.access_list a
                         WHERE a.source = ANY(v_sources)
                           AND (v_reading.sees_all OR a.access_id = ANY(v_reading.lists)));
    END IF;
    v_where := format('c.space_id = %s', p_space)
        || CASE WHEN v_sources IS NULL THEN '' ELSE ' AND c.source = ANY($3)' END;
    -- A chunk that is visible has the access list of its document's head.
    v_readable := freshet.readable_chunks(v_reading.sees_all, v_open, true, '$6', '$7');
    IF p_metadata IS NOT NULL THEN
        v_metadata := ' AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source'
            ' AND d.document_id = c.document_id AND d.metadata @> $4'
            || CASE WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL'
                    ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5)' END;
        -- The planner, to which all metadata are rare, would begin with the documents.
        v_each := v_metadata || ' OFFSET 0)';
        v_metadata := v_metadata || ')';
    END IF;
    IF NOT freshet.is_among_few(v_open, v_lists, v_sources, p_metadata) THEN
        v_is_half := freshet.searched_index(p_space, false);
    END IF;
    IF p_as_of IS NULL THEN
        RETURN QUERY SELECT * FROM freshet.nearest_chunks(
            v_where || ' AND c.visible_to IS NULL' || v_readable, v_each, v_metadata, v_is_half, v_dimensions, p_query,
            p_limit, v_sources, p_metadata, p_as_of, v_open, v_lists);
        RETURN;
    END IF;
    v_where := v_where || ' AND c.visible_from <= $5' || freshet.readable_then(v_reading.sees_all, v_open);
    v_few := freshet.few_of_then(p_as_of, v_sources);
    IF v_is_half IS NOT NULL THEN v_metadata := v_each; END IF;
    IF v_few.are_open_few THEN v_is_half := NULL; END IF;
    IF NOT coalesce(v_few.are_closed_few, false) THEN
        v_is_half_of_closed := freshet.searched_index(p_space, true);
    END IF;
    RETURN QUERY SELECT f.chunk_id, f.distance FROM (
        SELECT * FROM freshet.nearest_chunks(
            v_where || ' AND c.visible_to IS NULL' || v_readable, v_each, v_metadata, v_is_half, v_dimensions, p_query,
            p_limit, v_sources, p_metadata, p_as_of, v_open, v_lists)
        UNION ALL
        SELECT * FROM freshet.nearest_chunks(
            v_where || ' AND c.visible_to > $5'
                || CASE WHEN v_is_half_of_closed IS NOT NULL THEN ' AND c.in_history' ELSE '' END,
            v_each, v_each || ' AND c.visible_to IS NOT NULL AND tstzrange(c.visible_from, c.visible_to) @> $5',
            v_is_half_of_closed, v_dimensions, p_query, p_limit, v_sources, p_metadata, p_as_of, v_open, v_lists)
        UNION ALL
        SELECT * FROM freshet.nearest_chunks(
            v_where || ' AND c.visible_to > $5 AND c.in_history IS NULL', '', v_each, NULL, v_dimensions, p_query,
            p_limit, v_sources, p_metadata, p_as_of, v_open, v_lists)
        WHERE v_is_half_of_closed IS NOT NULL
    ) f ORDER BY f.distance, f.chunk_id LIMIT p_limit;
END $$;
