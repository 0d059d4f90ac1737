-- 0026 language of a version: told from the columns that it depends on, so that who may not read titles can ask for it.
-- Why: `freshet lineage` and `freshet documents` were refused to auditors: a function of the whole row of a document wants the
-- right to read every column. Locks: none (functions). Phase: pre. Old code does not use the new one.

CREATE FUNCTION freshet.language_of(p_source text, p_kind text, p_language text, p_chunk_ids bigint[]) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        p_language, (SELECT c.language FROM freshet.chunk c WHERE c.chunk_id = p_chunk_ids[1]),
        s.spec ->> 'text_search_language', 'english')
    FROM freshet.source s WHERE s.source = p_source AND p_kind = 'document'
$$;

CREATE OR REPLACE FUNCTION freshet.language_of(p_version freshet.document) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT freshet.language_of(p_version.source, p_version.kind, p_version.language, p_version.chunk_ids)
$$;
