-- 0033 parts: what is attached to an e-mail is shown as a document of its own.
-- Why: a hit in an attachment named the mail, and the headings of the mail. A row per attachment would need every rule
-- about documents a second time: who may read, withheld, as of, expiry, deletion, erasure.
-- Locks: ACCESS EXCLUSIVE on document for a moment (a column without a default); its index is of no row at first, but
-- the table is scanned once for it, beside readers and not beside writers (1,000,000 rows: about a second). A search
-- that begins at the moment of the commit waits for it. Phase: pre.
-- Old code survives: what it publishes has no parts, and counts as prepared by an earlier version, so that
-- `freshet source prepare` finds it. It reads the result of a search by the names of its columns.

-- [{"number", "name", "within", "media_type", "content_bytes", "start", "end", "received", "kept", "reason", "detail"}],
-- in the order of the text; null: the version has none. See `corpus/clean/parts.py`.
ALTER TABLE freshet.document ADD COLUMN parts jsonb;
-- Names are texts: not in the planner's estimates, and not for auditors.
ALTER TABLE freshet.document ALTER COLUMN parts SET STATISTICS 0;
CREATE INDEX document_parts ON freshet.document (source) WHERE parts IS NOT NULL AND visible_to IS NULL;

-- The function of 0021 with one name more in its list of texts; the rest of it is left as it is.
DO $$
DECLARE
    v_before constant text := pg_get_functiondef('freshet.secure_table(name)'::regprocedure);
    v_after constant text := replace(v_before, '{title, uri, metadata,', '{title, uri, parts, metadata,');
BEGIN
    IF v_after = v_before THEN
        RAISE EXCEPTION 'freshet.secure_table is not that of migration 0021: it would let auditors read parts';
    END IF;
    EXECUTE v_after;
END $$;

-- Whether documents with a media type are e-mails, which are prepared by rules of their own (`corpus/preparation.py`).
CREATE FUNCTION freshet.is_mail(p_content_type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(lower(btrim(split_part(p_content_type, ';', 1))) = 'message/rfc822', false)
$$;

-- The part that holds a place of the cleaned text; null: none does.
CREATE FUNCTION freshet.part_at(p_parts jsonb, p_start integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.part FROM jsonb_array_elements(p_parts) AS p (part)
    WHERE (p.part ->> 'start')::integer <= p_start AND p_start < (p.part ->> 'end')::integer LIMIT 1
$$;

-- As in 0021, with the part that a chunk is in.
DROP FUNCTION freshet.search(vector, text, integer, text, smallint, text[], jsonb, timestamptz, regconfig);
CREATE FUNCTION freshet.search(
    p_query       vector,                     -- of the space's dimensions; NULL for mode text
    p_text        text,                       -- NULL for mode vector
    p_k           integer DEFAULT 10,
    p_mode        text DEFAULT 'hybrid',
    p_space       smallint DEFAULT NULL,      -- NULL: the only one there is
    p_sources     text[] DEFAULT NULL,
    p_metadata    jsonb DEFAULT NULL,         -- contained in the document's metadata
    p_as_of       timestamptz DEFAULT NULL,
    p_language    regconfig DEFAULT NULL      -- NULL: that of each source
) RETURNS TABLE (
    score double precision, source text, document_id text, version bigint, ordinal integer, start integer,
    heading text, text text, title text, uri text, metadata jsonb, chunk_id bigint, batch bigint, topic text,
    partition integer, record_offset bigint, event_at timestamptz, observed_at timestamptz, verified_at timestamptz,
    expires_at timestamptz, visible_from timestamptz,
    part jsonb                                -- the part of the document that the chunk is in
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space smallint := p_space;
    v_reading record;
    v_ended bigint[] := freshet.ended_chunks(p_sources, p_as_of);
    v_depth integer := CASE p_mode WHEN 'hybrid' THEN greatest(50, 4 * p_k) ELSE p_k END + cardinality(v_ended);
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    IF p_k < 1 OR p_mode NOT IN ('vector', 'text', 'hybrid') THEN
        RAISE EXCEPTION 'search wants k >= 1 and a mode of vector, text, hybrid; got k = %, mode = %', p_k, p_mode
            USING ERRCODE = 'FR002';
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
        FROM freshet.vector_candidates(p_query, v_depth, v_space, p_sources, p_metadata, p_as_of) v
        WHERE p_mode <> 'text' AND v.chunk_id <> ALL (v_ended)
    ), text_matches AS (
        SELECT t.chunk_id, t.score
        FROM freshet.text_candidates(p_text, p_language, v_depth, v_space, p_sources, p_metadata, p_as_of) t
        WHERE p_mode <> 'vector' AND p_language IS NOT NULL
        UNION ALL
        SELECT t.chunk_id, t.score
        FROM freshet.text_candidates_by_language(p_text, v_depth, v_space, p_sources, p_metadata, p_as_of) t
        WHERE p_mode <> 'vector' AND p_language IS NULL
    ), by_text AS (
        SELECT t.chunk_id, t.score, row_number() OVER (ORDER BY t.score DESC, t.chunk_id) AS nth FROM text_matches t
        WHERE t.chunk_id <> ALL (v_ended)
    ), ranked AS (
        SELECT coalesce(v.chunk_id, t.chunk_id) AS chunk_id,
               CASE p_mode WHEN 'vector' THEN 1 - v.distance WHEN 'text' THEN t.score
                    ELSE coalesce(1.0 / (60 + v.nth), 0) + coalesce(1.0 / (60 + t.nth), 0) END AS score
        FROM by_vector v FULL JOIN by_text t ON t.chunk_id = v.chunk_id
        ORDER BY 2 DESC, 1 LIMIT p_k
    )
    SELECT r.score, c.source, c.document_id, d.version, array_position(d.chunk_ids, c.chunk_id) - 1,
           d.chunk_starts[array_position(d.chunk_ids, c.chunk_id)],
           nullif(d.chunk_headings[array_position(d.chunk_ids, c.chunk_id)], ''),
           c.text, d.title, d.uri, d.metadata, c.chunk_id, d.batch, d.topic, d.partition, d.record_offset, d.event_at,
           d.observed_at, d.verified_at, d.expires_at, d.visible_from,
           CASE WHEN d.parts IS NOT NULL
                THEN freshet.part_at(d.parts, d.chunk_starts[array_position(d.chunk_ids, c.chunk_id)]) END
    FROM ranked r
    JOIN freshet.chunk c ON c.chunk_id = r.chunk_id
    JOIN freshet.document d ON d.source = c.source AND d.document_id = c.document_id
        AND CASE WHEN p_as_of IS NULL THEN d.visible_to IS NULL
                 ELSE d.visible_from <= p_as_of AND (d.visible_to IS NULL OR d.visible_to > p_as_of) END
    WHERE v_reading.sees_all OR freshet.is_readable(d.access_id, d.source, v_reading.defaults, v_reading.lists)
    ORDER BY r.score DESC, c.chunk_id;
END $$;
