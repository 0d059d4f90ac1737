-- 0016 servers as they are: pgvector in any schema; the large tables are vacuumed by what changes, not by their size.
-- Why: a search by vector failed where the extension is not on the path of the session (Supabase has it in `extensions`, and
--   `ALTER EXTENSION vector SET SCHEMA` moves it). And PostgreSQL vacuums a table when a fifth of it is dead or new: until then
--   every look-up of a new text reads the table beside the index, and searches step over the closed chunks of the vector index.
-- Locks: SHARE UPDATE EXCLUSIVE for a moment on the tables below: reading and writing continue. Phase: pre.

-- As in 0002. Type and operators are named with the schema that holds them when the function runs.
CREATE OR REPLACE FUNCTION freshet.vector_candidates(
    p_query vector, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, distance double precision)
LANGUAGE plpgsql STABLE
SET hnsw.iterative_scan = 'strict_order' SET hnsw.ef_search = 200 SET hnsw.max_scan_tuples = 40000
AS $$
DECLARE
    v_schema text;                                            -- of the extension, quoted
    v_dimensions integer;
    v_query_dimensions integer;
    v_from text;
    v_ids bigint[] := '{}';
    v_distances double precision[];
BEGIN
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
            '(SELECT c.chunk_id, (c.embedding::%3$s.vector(%1$s)) OPERATOR(%3$s.<=>) $1 AS distance %2$s '
            'ORDER BY (c.embedding::%3$s.vector(%1$s)) OPERATOR(%3$s.<=>) $1 LIMIT $2) n',
            v_dimensions, v_from, v_schema) INTO v_ids, v_distances USING p_query, p_limit, p_sources, p_metadata, p_as_of;
        v_ids := coalesce(v_ids, '{}');
        RETURN QUERY SELECT n.id, n.distance FROM unnest(v_ids, v_distances) AS n (id, distance);
        IF cardinality(v_ids) >= p_limit THEN RETURN; END IF;
    END IF;
    -- Fewer than asked for: the rest, if there is any, in exact order behind what was found.
    RETURN QUERY EXECUTE format('SELECT c.chunk_id, c.embedding OPERATOR(%2$s.<=>) $1 AS distance %1$s AND c.chunk_id <> ALL($6) '
        'ORDER BY c.embedding OPERATOR(%2$s.<=>) $1 LIMIT $2', v_from, v_schema)
        USING p_query, p_limit - cardinality(v_ids), p_sources, p_metadata, p_as_of, v_ids;
END $$;

-- ── vacuum ──────────────────────────────────────────────────────────────────────────────────────────────────────
-- A table's TOAST table follows its settings. `fillfactor` stays 100: an update of chunk or document changes a column of a
-- partial index, so no room in its page would spare the indexes.

-- Rows come and never change: their vacuum reads new pages only, and afterwards a look-up by hash reads the index alone.
ALTER TABLE freshet.embedding SET (
    autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05);
-- Vacuum reads the whole vector index, so it has to be worth it; until then searches step over the entries of closed chunks.
ALTER TABLE freshet.chunk SET (
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05);
-- Every version updates the one before.
ALTER TABLE freshet.document SET (
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05);
-- What becomes of records is written with each batch and swept with later ones, a few rows each.
ALTER TABLE freshet.record_outcome SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE freshet.dead_letter SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
-- The ledger is read by position and by time, and only its newest rows are of interest.
ALTER TABLE freshet.batch SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE freshet.batch_range SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
