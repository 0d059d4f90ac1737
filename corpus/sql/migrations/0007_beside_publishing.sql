-- 0007 beside publishing: a known space takes no lock, an index is built beside publishing, refused events are kept.
-- Why: registering a space waited for every publish under way, and all publishing waited behind it; one document that
-- the database refuses stopped its source. Locks: none (function bodies, a new table). Phase: pre. Old code that registers
-- a space gets its id and no index; until a storer has built that, searches in the space are exact and slower.

-- A space that is known is looked up and nothing else. The vector index of a new one is built by a storer, outside of any
-- transaction (`corpus/embed/space_indexes.py`).
CREATE OR REPLACE FUNCTION freshet.register_space(
    p_fingerprint text, p_model text, p_weights text, p_pooling text, p_prefix text,
    p_dimensions integer, p_normalised boolean, p_token_limit integer
) RETURNS smallint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_space smallint;
BEGIN
    SELECT space_id INTO v_space FROM freshet.embedding_space WHERE fingerprint = p_fingerprint;
    IF v_space IS NOT NULL THEN RETURN v_space; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('freshet.register_space'));
    SELECT space_id INTO v_space FROM freshet.embedding_space WHERE fingerprint = p_fingerprint;
    IF v_space IS NULL THEN
        INSERT INTO freshet.embedding_space (fingerprint, model, weights, pooling, prefix, dimensions, normalised, token_limit)
        VALUES (p_fingerprint, p_model, p_weights, p_pooling, p_prefix, p_dimensions, p_normalised, p_token_limit)
        RETURNING space_id INTO v_space;
    END IF;
    RETURN v_space;
END $$;

-- Texts of which a model makes no vector that can be stored; their documents become dead letters.
CREATE TABLE freshet.refused_text (
    space_fingerprint text NOT NULL,
    text_sha256       bytea NOT NULL,
    refused_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_fingerprint, text_sha256)
);

-- Events whose document the database refused when it was published. The batch is prepared again, and they become dead
-- letters; the row goes in the transaction that moves the position over its event.
CREATE TABLE freshet.refused_event (
    source        text NOT NULL REFERENCES freshet.source,
    topic         text NOT NULL,
    topic_id      text NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint NOT NULL,
    detail        text NOT NULL,                              -- the server's condition, without values of the row
    is_bare       boolean NOT NULL DEFAULT false,             -- the dead letter itself was refused: it keeps key and value only
    refused_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, topic, topic_id, partition, record_offset)
);
