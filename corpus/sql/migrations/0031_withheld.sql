-- 0031 withheld: a document is shown to fewer as soon as a record that says so is read, before its batch is published.
-- Why: a revocation waited for all that its source had sent before it: 5 s at some load, minutes while a backlog is
-- embedded.
-- Locks: ACCESS EXCLUSIVE on document for a moment (a column without a default); its index is of no row at first,
-- but the table is scanned once for it, beside readers and not beside writers (1,000,000 rows: about a second).
-- Phase: pre.
-- Old code survives: where it publishes a new version, what is withheld of the old one is shown as the version says,
-- and a revocation of the same version counts as unchanged. The next batch that new code publishes brings the lists
-- in order.

-- {"topic/partition/topic id": [offset of the record, [groups that it leaves], its version]}; null: nothing is withheld
ALTER TABLE freshet.document ADD COLUMN withheld jsonb;
CREATE INDEX document_withheld ON freshet.document (source) WHERE withheld IS NOT NULL;

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
CREATE FUNCTION freshet.withheld_by(
    p_known jsonb, p_log text, p_offset bigint, p_acl text[], p_version bigint
) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(p_known, '{}') || jsonb_build_object(p_log, jsonb_build_array(
        greatest(p_offset, (p_known -> p_log ->> 0)::bigint),
        ARRAY(SELECT g.name FROM unnest(p_acl) AS g (name) WHERE coalesce((p_known -> p_log -> 1) ? g.name, true)),
        greatest(p_version, (p_known -> p_log ->> 2)::bigint)
    ))
$$;

-- The records that still withhold a document: those that the source's position has not passed, in a topic that it
-- reads, of versions that the head does not outrank. Null: none. Where versions have two scales, the position alone
-- decides.
CREATE FUNCTION freshet.still_withheld(p_head freshet.document) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_object_agg(e.key, e.value)
    FROM jsonb_each(p_head.withheld) e
    JOIN freshet.source s ON s.source = p_head.source AND s.state <> 'retired'
        AND s.spec -> 'topics' ? split_part(e.key, '/', 1)
    JOIN freshet.source_position p ON p.source = s.source AND p.next_offset <= (e.value ->> 0)::bigint
        AND p.topic || '/' || p.partition || '/' || p.topic_id = e.key
    WHERE (e.value ->> 2)::bigint >= p_head.version OR s.spec ->> 'version_rule' = 'own'
$$;

-- The source's `default_acl`; null: every reader of the source.
CREATE FUNCTION freshet.default_acl(p_source text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE jsonb_typeof(s.spec -> 'default_acl')
               WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(s.spec -> 'default_acl')) END
    FROM freshet.source s WHERE s.source = p_source
$$;

-- Show documents as they were published, where the records that withheld them are published or gone, and no wider
-- than the others leave. Whatever changes heads, positions or the source's specification does this at its end, under
-- the lock of publishing. Versions that were closed meanwhile get their lists back, and what waits is withheld of
-- the new head. `p_documents`: those whose heads were written; the others are left alone where nothing changed.
-- Null: all.
CREATE FUNCTION freshet.show_again(p_source text, p_documents text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM freshet.document WHERE source = p_source AND withheld IS NOT NULL) THEN RETURN; END IF;
    UPDATE freshet.document n SET withheld = o.withheld
    FROM freshet.document o
    WHERE o.source = p_source AND o.withheld IS NOT NULL AND NOT o.is_head AND n.source = p_source
      AND n.document_id = o.document_id AND n.is_head AND n.withheld IS NULL;
    WITH closed AS (
        UPDATE freshet.document o SET withheld = NULL, access_id = freshet.access_of(o.source, o.acl)
        WHERE o.source = p_source AND o.withheld IS NOT NULL AND NOT o.is_head
        RETURNING o.document_id, o.visible_to, o.access_id
    )
    UPDATE freshet.chunk c SET access_id = o.access_id FROM closed o
    WHERE c.source = p_source AND c.document_id = o.document_id AND c.visible_to = o.visible_to
      AND c.access_id IS DISTINCT FROM o.access_id;
    WITH waiting AS (
        SELECT d.document_key, freshet.still_withheld(d) AS withheld
        FROM freshet.document d WHERE d.source = p_source AND d.is_head AND d.withheld IS NOT NULL
    ), shown AS (
        UPDATE freshet.document d
        SET withheld = w.withheld,
            access_id = freshet.access_of(p_source, CASE
                WHEN w.withheld IS NULL THEN d.acl
                ELSE freshet.narrowed(coalesce(d.acl, freshet.default_acl(p_source)), w.withheld) END)
        FROM waiting w
        WHERE d.document_key = w.document_key
          AND (p_documents IS NULL OR d.document_id = ANY(p_documents) OR w.withheld IS DISTINCT FROM d.withheld)
        RETURNING d.document_id, d.access_id
    )
    UPDATE freshet.chunk c SET access_id = s.access_id FROM shown s
    WHERE c.source = p_source AND c.document_id = s.document_id AND c.visible_to IS NULL
      AND c.access_id IS DISTINCT FROM s.access_id;
END $$;
