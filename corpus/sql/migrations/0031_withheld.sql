-- 0031 withheld: a document is shown to fewer as soon as a record that says so is read, before its batch is published.
-- Why: a revocation waited for all that its source had sent before it: 5 s at some load, minutes while a backlog is embedded.
-- Locks: ACCESS EXCLUSIVE on document for a moment (a column without a default); its index is of no row at first, but the
-- table is scanned once for it, beside readers and not beside writers (1,000,000 rows: about a second). Phase: pre.
-- Old code survives: where it publishes a new version, what is withheld of the old one is shown as the version says.

-- {"topic/partition/topic id": [offset of the record, [groups that it leaves]]}; null: nothing is withheld
ALTER TABLE freshet.document ADD COLUMN withheld jsonb;
CREATE INDEX document_withheld ON freshet.document (source) WHERE withheld IS NOT NULL AND is_head;

-- The groups that may read while records wait: those that are in every list. `p_acl`: as published; null: every reader.
CREATE FUNCTION freshet.narrowed(p_acl text[], p_withheld jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN coalesce(p_withheld, '{}') = '{}' THEN p_acl ELSE ARRAY(
        SELECT g.name COLLATE "C" FROM unnest(coalesce(
            p_acl, (SELECT ARRAY(SELECT jsonb_array_elements_text(e.value -> 1)) FROM jsonb_each(p_withheld) e LIMIT 1)
        )) AS g (name)
        WHERE NOT EXISTS (SELECT FROM jsonb_each(p_withheld) e WHERE NOT (e.value -> 1) ? g.name)
        ORDER BY 1
    ) END
$$;

-- What is withheld of a document with one record more. Of two records of one log, the groups that both leave, until the
-- later one is published.
CREATE FUNCTION freshet.withheld_by(p_known jsonb, p_log text, p_offset bigint, p_acl text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(p_known, '{}') || jsonb_build_object(p_log, jsonb_build_array(
        greatest(p_offset, (p_known -> p_log ->> 0)::bigint),
        ARRAY(SELECT g.name FROM unnest(p_acl) AS g (name) WHERE coalesce((p_known -> p_log -> 1) ? g.name, true))
    ))
$$;
