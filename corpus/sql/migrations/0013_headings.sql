-- 0013 headings: text search finds the words of the headings above a chunk; an embedding space knows whether its texts have them above.
-- Why: a query for a section's title found the chunk that begins with it, and none of those that follow.
-- Locks: ACCESS EXCLUSIVE on chunk and embedding_space for a column each (no rewrite). Phase: pre. What old code publishes has no
-- headings: run `freshet migrate` again when the last process of it has ended. It also gives every chunk of the corpus its headings,
-- in small transactions; that rewrites each row that has any, and its entries in the indexes.

ALTER TABLE freshet.chunk ADD COLUMN headings text;           -- above it, all of its places in the document; null: not known yet
ALTER TABLE freshet.embedding_space ADD COLUMN context text NOT NULL DEFAULT 'none';  -- what the model is given above a text

-- The headings above a chunk as one text: each once, since a text may stand several times in its document.
CREATE FUNCTION freshet.headings_of(p_headings text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(left(string_agg(h.heading, E'\n' ORDER BY h.heading), 4000), '')
    FROM (SELECT DISTINCT heading FROM unnest(p_headings) AS heading WHERE heading <> '') h
$$;

-- The search text of a chunk below its headings, which have weight B in it. A tsvector holds at most 1 MB.
CREATE FUNCTION freshet.search_text(p_language regconfig, p_text text, p_headings text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_text tsvector := freshet.search_text(p_language, p_text);
BEGIN
    IF coalesce(p_headings, '') = '' OR pg_column_size(v_text) > 900000 THEN RETURN v_text; END IF;
    RETURN v_text || setweight(freshet.search_text(p_language, p_headings), 'B');
END $$;

-- The headings above a chunk in the newest version of its document that has it.
CREATE FUNCTION freshet.headings_above(p_chunk freshet.chunk) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT freshet.headings_of(ARRAY(
                   SELECT place.heading FROM unnest(d.chunk_ids, d.chunk_headings) AS place (chunk_id, heading)
                   WHERE place.chunk_id = (p_chunk).chunk_id
               ))
        FROM freshet.document d
        WHERE d.source = (p_chunk).source AND d.document_id = (p_chunk).document_id
          AND d.visible_from < coalesce((p_chunk).visible_to, 'infinity') AND (p_chunk).chunk_id = ANY(d.chunk_ids)
        ORDER BY d.visible_from DESC LIMIT 1
    ), '')
$$;

-- As in 0007, with the context.
CREATE FUNCTION freshet.register_space(
    p_fingerprint text, p_model text, p_weights text, p_pooling text, p_prefix text,
    p_dimensions integer, p_normalised boolean, p_token_limit integer, p_context text
) RETURNS smallint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_space smallint;
BEGIN
    SELECT space_id INTO v_space FROM freshet.embedding_space WHERE fingerprint = p_fingerprint;
    IF v_space IS NOT NULL THEN RETURN v_space; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('freshet.register_space'));
    SELECT space_id INTO v_space FROM freshet.embedding_space WHERE fingerprint = p_fingerprint;
    IF v_space IS NULL THEN
        INSERT INTO freshet.embedding_space (fingerprint, model, weights, pooling, prefix, dimensions, normalised, token_limit, context)
        VALUES (p_fingerprint, p_model, p_weights, p_pooling, p_prefix, p_dimensions, p_normalised, p_token_limit, p_context)
        RETURNING space_id INTO v_space;
    END IF;
    RETURN v_space;
END $$;
CREATE OR REPLACE FUNCTION freshet.register_space(
    p_fingerprint text, p_model text, p_weights text, p_pooling text, p_prefix text,
    p_dimensions integer, p_normalised boolean, p_token_limit integer
) RETURNS smallint LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT freshet.register_space(
        p_fingerprint, p_model, p_weights, p_pooling, p_prefix, p_dimensions, p_normalised, p_token_limit, 'none')
$$;

UPDATE freshet.search_text_state SET next_chunk = 0;
