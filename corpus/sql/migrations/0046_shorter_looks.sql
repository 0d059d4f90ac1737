-- 0046 shorter looks: what is asked for a few documents reads a few.
-- Why: no statistics are kept of attachments, whose names are private (0033), so the planner takes every document for
--   one that has some, and `freshet document parts` read all of them. Each `freshet migrate` did, to find that none is
--   without the number of its access list. A search of now walked all ends of documents, past and to come: the time by
--   a clock that moves is no condition of an index.
-- Locks: SHARE on document while three small indexes are built, each of which reads it once. No table is rewritten.
-- Phase: pre. Old code uses all of it.

SET LOCAL lock_timeout = '10s';

-- In the order in which they are listed, so that this index is the cheapest whatever the planner believes.
CREATE INDEX document_with_parts ON freshet.document (source, document_id)
    WHERE parts IS NOT NULL AND visible_to IS NULL;
CREATE INDEX document_unlisted ON freshet.document (document_key) WHERE acl IS NOT NULL AND access_id IS NULL;

-- What should be withdrawn by now, in all sources: it is asked for by each search, and is little.
CREATE INDEX document_end ON freshet.document (expires_at) WHERE visible_to IS NULL AND expires_at IS NOT NULL;

-- As in 0022, each branch by its index.
CREATE OR REPLACE FUNCTION freshet.ended_chunks(p_sources text[], p_as_of timestamptz) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT freshet.require_history(p_sources, p_as_of);
    SELECT coalesce(array_agg(ended.chunk_id), '{}') FROM (
        SELECT listed.chunk_id
        FROM freshet.reading() r
        CROSS JOIN (
            SELECT d.chunk_ids, d.access_id, d.source FROM freshet.document d
            WHERE p_as_of IS NULL AND d.visible_to IS NULL AND d.expires_at <= (SELECT clock_timestamp())
              AND (p_sources IS NULL OR d.source = ANY(p_sources))
            UNION ALL
            SELECT d.chunk_ids, d.access_id, d.source FROM freshet.document d
            WHERE d.expires_at <= p_as_of AND d.visible_from <= p_as_of
              AND (d.visible_to IS NULL OR d.visible_to > p_as_of)
              AND (p_sources IS NULL OR d.source = ANY(p_sources))
        ) d
        CROSS JOIN LATERAL unnest(d.chunk_ids) AS listed (chunk_id)
        WHERE r.sees_all OR freshet.is_readable(d.access_id, d.source, r.defaults, r.lists)
        LIMIT 5000
    ) ended
$$;
