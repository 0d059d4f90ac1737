-- 0032 unreadable lists: a record that cannot be used and whose access list cannot be read is for nobody.
-- Why: the bytes of a dead letter were searched for "acl" as UTF-8 has it. A list in UTF-16, under an escaped name,
-- in a header, in a compressed or binary value, or where a mapping finds it was not seen, and the source's default
-- counted.
-- Locks: none (a function). Phase: pre. Old code uses the function of before; dead letters that are there stay as
-- they are.

-- The number of the access list that a record states which cannot be used; null: it states none, as far as it can be
-- read.
CREATE FUNCTION freshet.stated_access(p_source text, p_value bytea, p_headers text) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_text text;
    v_acl jsonb;
    v_groups text[] := '{}';                                  -- nobody
BEGIN
    IF p_value IS NULL THEN RETURN NULL; END IF;
    IF position('acl' IN lower(coalesce(p_headers, ''))) > 0 OR EXISTS (
        SELECT FROM freshet.source s WHERE s.source = p_source AND s.spec -> 'mapping' ->> 'acl' <> ''
    ) THEN
        RETURN freshet.access_of(p_source, v_groups);
    END IF;
    BEGIN
        v_text := convert_from(p_value, 'UTF8');
        -- A name may be written with escapes.
        IF position('"acl"' IN v_text) = 0 AND position('\u' IN v_text) = 0 THEN RETURN NULL; END IF;
        v_acl := v_text::jsonb -> 'acl';
        IF coalesce(v_acl, 'null') = 'null' THEN RETURN NULL; END IF;
        v_groups := ARRAY(SELECT jsonb_array_elements_text(v_acl));
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        NULL;
    END;
    RETURN freshet.access_of(p_source, v_groups);
END $$;
