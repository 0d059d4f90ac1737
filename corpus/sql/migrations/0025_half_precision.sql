-- 0025 half precision: an embedding space may keep its vector index, or its vectors, in numbers of 16 bits; a search
-- under a filter that leaves few chunks compares with all of them.
-- Why: the vector index took half of a chunk's bytes; a space of more than 2,000 dimensions had none; and a search that
--   saw a few per cent of the corpus found 80 to 90 % of the nearest.
-- Locks: ACCESS EXCLUSIVE on chunk and embedding_space for a moment (columns that may be null, constraints without a
--   scan); SHARE on chunk while an index is built, where it is small. Where it is large, a storer builds it beside all
--   publishing.
-- Phase: pre. Old code ignores the columns. Choose `half` for a space when the last storer of the version before has
--   ended: it opens no chunk from a vector that is kept in half precision.

SET LOCAL lock_timeout = '10s';
ALTER TABLE freshet.embedding_space
    ADD COLUMN vectors text CHECK (vectors IN ('full', 'half_index', 'half')),   -- null: nobody chose
    ADD COLUMN has_half boolean NOT NULL DEFAULT false,       -- some chunks may have no vector in full precision
    ADD COLUMN next_to_narrow bigint;                         -- chunk from which on vectors are narrowed; null: none is
ALTER TABLE freshet.chunk
    ADD COLUMN embedding_half halfvec,                        -- instead of `embedding`
    ALTER COLUMN embedding DROP NOT NULL,
    ADD CONSTRAINT chunk_has_one_vector CHECK ((embedding IS NULL) <> (embedding_half IS NULL)) NOT VALID,
    ADD CONSTRAINT chunk_half_dimensions CHECK (vector_dims(embedding_half) = dimensions) NOT VALID;

-- Beside `chunk_access`: together they find the chunks that a reader can read. Where there are many, a storer builds
-- it.
DO $$
BEGIN
    IF pg_relation_size('freshet.chunk') < 200 * 1024 * 1024 THEN
        CREATE INDEX chunk_open ON freshet.chunk (source) WHERE visible_to IS NULL AND access_id IS NULL;
    END IF;
END $$;

-- The numbers of a chunk's vector, wherever they are; in sessions that know the type.
CREATE FUNCTION freshet.vector_of(p_full vector, p_half halfvec) RETURNS vector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_full, p_half::vector)
$$;

-- As that of a vector in full precision: by it, an audit finds one that was changed.
CREATE FUNCTION freshet.hash_of_vector(p_vector halfvec) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashbyteaextended(halfvec_send(p_vector), 0)
$$;

-- The hash of a vector that is narrowed; where it was not the vector's before, it is not afterwards.
CREATE FUNCTION freshet.narrowed_hash(p_hash bigint, p_vector vector) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_hash = freshet.hash_of_vector(p_vector) THEN freshet.hash_of_vector(p_vector::halfvec)
                ELSE p_hash END
$$;

-- ── the two indexes that a space may have ───────────────────────────────────────────────────────────────────────
-- `full`: vectors and index in full precision; `half_index`: the index in half precision; `half`: both. Where nobody
-- chose, what an index allows: one of full precision holds at most 2,000 dimensions, one of half precision 4,000.
CREATE FUNCTION freshet.vectors_of_space(p_vectors text, p_dimensions integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_vectors, CASE WHEN p_dimensions > 2000 THEN 'half_index' ELSE 'full' END)
$$;

-- What is indexed. The index in half precision holds a chunk wherever its vector is, the other one has those in full
-- precision.
CREATE FUNCTION freshet.indexed_vector(p_is_half boolean, p_schema text, p_dimensions integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT format(
        CASE WHEN p_is_half THEN '(coalesce(embedding_half, embedding::%1$s.halfvec)::%1$s.halfvec(%2$s))'
             ELSE '(embedding::%1$s.vector(%2$s))' END, p_schema, p_dimensions)
$$;

-- Both indexes of every space: the one that it should have, and that of another choice.
CREATE FUNCTION freshet.space_vector_indexes() RETURNS TABLE (
    space_id smallint, is_half boolean, is_wanted boolean, name text, definition text, index_id oid, is_valid boolean
) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.space_id, k.is_half,
           s.dimensions <= k.most_dimensions
               AND k.is_half = (freshet.vectors_of_space(s.vectors, s.dimensions) <> 'full'),
           k.prefix || s.space_id,
           format(
               '%s ON freshet.chunk USING hnsw (%s %s) WHERE visible_to IS NULL AND space_id = %s',
               k.prefix || s.space_id, freshet.indexed_vector(k.is_half, e.schema, s.dimensions),
               e.schema || k.operators, s.space_id),
           i.indexrelid, coalesce(i.indisvalid, false)
    FROM freshet.embedding_space s
    CROSS JOIN (
        SELECT quote_ident(n.nspname) AS schema
        FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace WHERE x.extname = 'vector'
    ) e
    CROSS JOIN (VALUES
        (false, 2000, 'chunk_embedding_space_', '.vector_cosine_ops'),
        (true, 4000, 'chunk_embedding_half_', '.halfvec_cosine_ops')
    ) AS k (is_half, most_dimensions, prefix, operators)
    LEFT JOIN pg_index i ON i.indexrelid = to_regclass('freshet.' || k.prefix || s.space_id)
$$;

-- Whether new chunks keep their vector in half precision: not while searches use the index in full precision, which
-- would not hold them.
CREATE FUNCTION freshet.stores_half(p_space smallint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.vectors = 'half' AND (
        SELECT bool_or(i.is_half AND i.is_valid) OR NOT bool_or(i.is_valid)
        FROM freshet.space_vector_indexes() i WHERE i.space_id = p_space)
    FROM freshet.embedding_space s WHERE s.space_id = p_space
$$;

-- As in 0021, with the choice of the space. The index of another choice goes when the wanted one is there.
CREATE OR REPLACE FUNCTION freshet.build_small_index(p_space smallint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE v_index record;
BEGIN
    IF NOT (SELECT r.sees_all FROM freshet.reading() r) OR pg_table_size('freshet.chunk') > 16000000 THEN
        RETURN false;
    END IF;
    FOR v_index IN
        SELECT * FROM freshet.space_vector_indexes() i WHERE i.space_id = p_space ORDER BY i.is_wanted DESC
    LOOP
        CONTINUE WHEN v_index.is_wanted AND v_index.is_valid;
        IF v_index.index_id IS NOT NULL THEN EXECUTE 'DROP INDEX freshet.' || v_index.name; END IF;
        IF v_index.is_wanted THEN EXECUTE 'CREATE INDEX ' || v_index.definition; END IF;
    END LOOP;
    RETURN true;
END $$;

-- ── search by vector ────────────────────────────────────────────────────────────────────────────────────────────
-- As in 0021, so that indexes find what can be read now.
CREATE OR REPLACE FUNCTION freshet.readable_chunks(
    p_sees_all boolean, p_defaults text[], p_is_now boolean, p_defaults_name text, p_lists_name text
) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_readable text := '(%1$s.access_id IS NULL AND %1$s.source = ANY(%2$s) OR %1$s.access_id = ANY(%3$s))';
BEGIN
    IF p_sees_all THEN RETURN ''; END IF;
    IF cardinality(p_defaults) = 0 THEN v_readable := '%1$s.access_id = ANY(%3$s)'; END IF;
    IF p_is_now THEN RETURN ' AND ' || format(v_readable, 'c', p_defaults_name, p_lists_name); END IF;
    RETURN format(
        ' AND EXISTS (SELECT FROM freshet.document v WHERE v.source = c.source AND v.document_id = c.document_id'
        ' AND v.visible_from <= $5 AND (v.visible_to IS NULL OR v.visible_to > $5) AND %s)'
        ' AND EXISTS (SELECT FROM freshet.document h WHERE h.source = c.source AND h.document_id = c.document_id'
        ' AND h.is_head AND %s)',
        format(v_readable, 'v', p_defaults_name, p_lists_name), format(v_readable, 'h', p_defaults_name, p_lists_name));
END $$;

-- Whether a search is among so few chunks that it compares with each of them: a search of the index misses some
-- where a filter leaves a few per cent. `p_open`: sources whose chunks without an access list it is among, beside
-- those of `p_lists`; null: all.
CREATE FUNCTION freshet.is_among_few(
    p_open text[], p_lists integer[], p_sources text[], p_metadata jsonb
) RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_most integer;
    v_chunks bigint;
BEGIN
    -- 3,000 take as long as a search of the index; 10,000 some times as long. Of more than a twentieth of all, the
    -- index finds enough in one step.
    SELECT least(10000, greatest(3000, c.reltuples * 0.05)) INTO v_most
    FROM pg_class c WHERE c.oid = 'freshet.chunk_visible'::regclass;
    IF p_open IS NOT NULL THEN
        -- Without its index this would read all chunks.
        IF NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('freshet.chunk_access') AND i.indisvalid
        ) THEN
            RETURN false;
        END IF;
        SELECT count(*) INTO v_chunks FROM (
            SELECT FROM freshet.chunk c
            WHERE c.visible_to IS NULL AND c.access_id = ANY(p_lists) LIMIT v_most + 1) bounded;
        IF v_chunks <= v_most AND cardinality(p_open) > 0 THEN
            -- Without its index this would read whole sources.
            IF NOT EXISTS (
                SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('freshet.chunk_open') AND i.indisvalid
            ) THEN
                RETURN false;
            END IF;
            SELECT v_chunks + count(*) INTO v_chunks FROM (
                SELECT FROM freshet.chunk c
                WHERE c.visible_to IS NULL AND c.access_id IS NULL AND c.source = ANY(p_open) LIMIT v_most + 1) bounded;
        END IF;
        IF v_chunks <= v_most THEN RETURN true; END IF;
    END IF;
    IF p_metadata IS NULL THEN RETURN false; END IF;
    SELECT coalesce(sum(bounded.chunks), 0) INTO v_chunks FROM (
        SELECT cardinality(d.chunk_ids) AS chunks FROM freshet.document d
        WHERE d.visible_to IS NULL AND d.metadata @> p_metadata AND (p_sources IS NULL OR d.source = ANY(p_sources))
        LIMIT v_most + 1) bounded;
    RETURN v_chunks <= v_most;
END $$;

-- As in 0021. What a filter leaves is compared chunk by chunk where that is little: an index that is searched under
-- such a filter misses some. Else the index gives more candidates than are wanted, nearly in order, and the vectors
-- that the chunks have decide: in strict order the index would leave out what it finds late, and in half precision
-- it rounds.
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
    v_is_half boolean;                                        -- of the index that is used; null: there is none
    v_from text;
    v_metadata text := '';
    v_distance text;
    v_ids bigint[];
    v_distances double precision[];
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
    v_from := format('FROM freshet.chunk c WHERE c.space_id = %s', p_space)
        || CASE WHEN p_as_of IS NULL THEN ' AND c.visible_to IS NULL'
                ELSE ' AND c.visible_from <= $5 AND (c.visible_to IS NULL OR c.visible_to > $5)' END
        || CASE WHEN v_sources IS NULL THEN '' ELSE ' AND c.source = ANY($3)' END
        || freshet.readable_chunks(v_reading.sees_all, v_open, p_as_of IS NULL, '$6', '$7');
    IF p_metadata IS NOT NULL THEN
        v_metadata := ' AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source'
            ' AND d.document_id = c.document_id AND d.metadata @> $4'
            || CASE WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL'
                    ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5)' END;
    END IF;
    v_distance := format('coalesce(c.embedding, c.embedding_half::%1$s.vector) OPERATOR(%1$s.<=>) $1', v_schema);
    IF p_as_of IS NULL AND NOT freshet.is_among_few(v_open, v_lists, v_sources, p_metadata) THEN
        SELECT bool_or(k.is_half) INTO v_is_half
        FROM (VALUES
            (false, 'freshet.chunk_embedding_space_'), (true, 'freshet.chunk_embedding_half_')
        ) AS k (is_half, prefix)
        JOIN pg_index i ON i.indexrelid = to_regclass(k.prefix || p_space) AND i.indisvalid;
    END IF;
    IF v_is_half IS NOT NULL THEN
        -- Kept at hand: a second scan of the index may give other rows while somebody writes.
        EXECUTE format(
            'SELECT array_agg(n.chunk_id ORDER BY n.distance), array_agg(n.distance ORDER BY n.distance) FROM ('
            'SELECT m.chunk_id, m.distance FROM ('
            'SELECT c.chunk_id, %1$s AS distance %2$s ORDER BY %3$s OPERATOR(%4$s.<=>) $1::%4$s.%5$s LIMIT $8) m '
            'ORDER BY m.distance LIMIT $2) n',
            -- OFFSET: it is asked for each candidate; the planner, to which all metadata are rare, would begin with the
            -- documents.
            v_distance, v_from || CASE WHEN v_metadata = '' THEN '' ELSE v_metadata || ' OFFSET 0)' END,
            freshet.indexed_vector(v_is_half, v_schema, v_dimensions), v_schema,
            CASE WHEN v_is_half THEN 'halfvec' ELSE 'vector' END) INTO v_ids, v_distances
            USING p_query, p_limit, v_sources, p_metadata, p_as_of, v_open, v_lists,
                  p_limit + greatest(5, p_limit / 4);
        IF cardinality(v_ids) >= p_limit THEN
            RETURN QUERY SELECT n.id, n.distance FROM unnest(v_ids, v_distances) AS n (id, distance);
            RETURN;
        END IF;
    END IF;
    -- There is no index, or it gave fewer than asked for.
    RETURN QUERY EXECUTE format(
        'SELECT c.chunk_id, %1$s AS distance %2$s ORDER BY %1$s LIMIT $2',
        v_distance, v_from || CASE WHEN v_metadata = '' THEN '' ELSE v_metadata || ')' END)
        USING p_query, p_limit, v_sources, p_metadata, p_as_of, v_open, v_lists;
END $$;

-- ── rights ──────────────────────────────────────────────────────────────────────────────────────────────────────
-- A vector in half precision is not for auditors either.
DO $$
DECLARE
    v_before text := pg_get_functiondef('freshet.secure_table(name)'::regprocedure);
    v_after text := replace(v_before, ' embedding, key,', ' embedding, embedding_half, key,');
BEGIN
    IF v_after = v_before THEN RAISE EXCEPTION 'freshet.secure_table names no column embedding'; END IF;
    EXECUTE v_after;
END $$;
