-- 0045 metadata of the past: an index finds the former versions of documents by their metadata.
-- Why: a search as of an instant with metadata of a hundredth of the documents took 9 to 18 times as long as one of now
--   by vector, and by text it read every version that was visible then. No index had the metadata of former versions.
-- Locks: SHARE on document while the index is built, where that is small (under 200 MB). Where it is large, a storer
--   builds it beside all publishing.
-- Phase: pre. Old code uses the functions.

SET LOCAL lock_timeout = '10s';

DO $$
BEGIN
    IF pg_relation_size('freshet.document') < 200 * 1024 * 1024 THEN
        CREATE INDEX document_metadata_ended ON freshet.document USING gin (metadata jsonb_path_ops)
            WHERE visible_to IS NOT NULL;
    END IF;
END $$;

-- The chunks of the documents that had some metadata at an instant; null: none had. More than 3,000 numbers: they are
-- too many to be compared one by one, or that is not known, and the numbers mean nothing.
CREATE FUNCTION freshet.chunks_with_metadata_then(
    p_metadata jsonb, p_sources text[], p_as_of timestamptz
) RETURNS bigint[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_most constant integer := 3000;
    v_most_versions constant integer := 20000;                -- former ones with the metadata, of any instant
    v_versions bigint;
    v_chunks bigint[];
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('freshet.document_metadata_ended') AND i.indisvalid
    ) THEN
        RETURN array_fill(0, ARRAY[v_most + 1])::bigint[];
    END IF;
    WITH former AS MATERIALIZED (
        SELECT d.source, d.visible_from, d.visible_to, d.chunk_ids FROM freshet.document d
        WHERE d.visible_to IS NOT NULL AND d.metadata @> p_metadata LIMIT v_most_versions + 1
    ), of_then AS (
        SELECT d.chunk_ids FROM freshet.document d
        WHERE d.visible_to IS NULL AND d.metadata @> p_metadata AND d.visible_from <= p_as_of
          AND (p_sources IS NULL OR d.source = ANY(p_sources))
        UNION ALL
        SELECT f.chunk_ids FROM former f
        WHERE f.visible_to > p_as_of AND f.visible_from <= p_as_of
          AND (p_sources IS NULL OR f.source = ANY(p_sources))
    )
    SELECT (SELECT count(*) FROM former), array_agg(few.id) INTO v_versions, v_chunks
    FROM (SELECT unnest(o.chunk_ids) AS id FROM of_then o LIMIT v_most + 1) few;
    IF v_versions > v_most_versions THEN RETURN array_fill(0, ARRAY[v_most + 1])::bigint[]; END IF;
    RETURN v_chunks;
END $$;

DO $$
DECLARE
    v_change record;
    v_text text;
BEGIN
    FOR v_change IN SELECT * FROM (VALUES
        (1, 'vector_candidates',
         '    v_few record;',
         '    v_few record;
    v_chunks bigint[];                                        -- with the metadata then'),
        (2, 'vector_candidates',
         '    v_few := freshet.few_of_then(p_as_of, v_sources);',
         '    IF p_metadata IS NOT NULL THEN
        v_chunks := freshet.chunks_with_metadata_then(p_metadata, v_sources, p_as_of);
        IF coalesce(cardinality(v_chunks), 0) <= 3000 THEN
            RETURN QUERY SELECT * FROM freshet.nearest_chunks(
                v_where || format(
                    '' AND c.chunk_id = ANY(%L::bigint[]) AND (c.visible_to IS NULL OR c.visible_to > $5)'',
                    coalesce(v_chunks, ''{}'')),
                '''', '''', NULL, v_dimensions, p_query, p_limit, v_sources, p_metadata, p_as_of, v_open, v_lists);
            RETURN;
        END IF;
    END IF;
    v_few := freshet.few_of_then(p_as_of, v_sources);'),
        (3, 'text_candidates_in',
         'IF p_metadata IS NOT NULL THEN
        EXECUTE format(
            ''SELECT array_agg(few.id) FROM (SELECT unnest(d.chunk_ids) AS id FROM freshet.document d''
            '' WHERE d.metadata @> $1 AND ($2 IS NULL OR d.source = ANY($2)) AND %s LIMIT 3001) few'',
            CASE WHEN p_as_of IS NULL THEN ''d.visible_to IS NULL''
                 ELSE ''d.visible_from <= $3 AND (d.visible_to IS NULL OR d.visible_to > $3)'' END)
        INTO v_few USING p_metadata, p_sources, p_as_of;',
         'IF p_metadata IS NOT NULL THEN
        IF p_as_of IS NOT NULL THEN
            v_few := freshet.chunks_with_metadata_then(p_metadata, p_sources, p_as_of);
        ELSE
            SELECT array_agg(few.id) INTO v_few
            FROM (SELECT unnest(d.chunk_ids) AS id FROM freshet.document d
                  WHERE d.visible_to IS NULL AND d.metadata @> p_metadata
                    AND (p_sources IS NULL OR d.source = ANY(p_sources)) LIMIT 3001) few;
        END IF;')
    ) AS c (place, function, before, after) ORDER BY c.place
    LOOP
        v_text := pg_get_functiondef(('freshet.' || v_change.function)::regproc);
        IF strpos(v_text, v_change.before) = 0 THEN
            RAISE EXCEPTION '% has no %', v_change.function, v_change.before;
        END IF;
        EXECUTE replace(v_text, v_change.before, v_change.after);
    END LOOP;
END $$;
