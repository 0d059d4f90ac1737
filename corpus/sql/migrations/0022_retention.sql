-- 0022 retention: how far back the history of each source goes, what purges removed, and vectors that are stored once.
-- Why: nothing was ever deleted, so that a corpus grew with every change of its documents; each vector was stored twice.
-- Locks: ACCESS EXCLUSIVE on document, chunk and dead_letter for a moment (columns that may be null, no rewrite); SHARE on
--   document, dead_letter and delivered_notice while an index of each is built (one scan each), and on chunk where it is
--   small. Where it is large, a storer builds its two indexes beside all publishing. Phase: pre. Old code ignores the
--   columns. Restart the storers first: one of the version before does not find vectors that only chunks hold.

-- One row per source that was ever purged.
CREATE TABLE freshet.retention (
    source       text PRIMARY KEY REFERENCES freshet.source,
    -- A search as of an instant before it is refused. It moves before the first row goes, and never back.
    history_from timestamptz,
    notices_upto bigint NOT NULL DEFAULT 0,                   -- who was notified of batches up to it may be forgotten
    removed      jsonb NOT NULL DEFAULT '{}'                  -- kind -> rows, by all purges
);

-- One row per purge. Its workflow carries a cursor; what a page removed is counted in the transaction that removes it.
CREATE TABLE freshet.purge (
    purge        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       text NOT NULL REFERENCES freshet.source,
    workflow_id  text NOT NULL,
    run_id       text NOT NULL UNIQUE,                        -- of the run that began it
    state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    phase        text NOT NULL DEFAULT 'begin',
    started_at   timestamptz NOT NULL DEFAULT now(),
    moved_at     timestamptz NOT NULL DEFAULT now(),          -- of its last step
    finished_at  timestamptz,
    history_from timestamptz,                                 -- the horizon that it purged up to; null: all history is kept
    removed      jsonb NOT NULL DEFAULT '{}',                 -- kind -> rows
    error        text                                         -- why it failed
);
CREATE INDEX purge_source ON freshet.purge (source, purge DESC);

-- A search as of an instant reads horizon and rows in one snapshot: it finds all rows of that instant, or it is refused.
-- A source that is not granted to the reader refuses nothing, as one that there is not.
CREATE FUNCTION freshet.require_history(p_sources text[], p_as_of timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_source text;
    v_from timestamptz;
BEGIN
    IF p_as_of IS NULL THEN RETURN; END IF;
    SELECT r.source, r.history_from INTO v_source, v_from
    FROM freshet.reading() g, freshet.retention r
    WHERE r.history_from > p_as_of AND (p_sources IS NULL OR r.source = ANY(p_sources))
      AND (g.sees_all OR r.source = ANY(g.sources))
    ORDER BY r.history_from DESC, r.source LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'as of % lies before the history of source %, which goes back to %',
            to_char(p_as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), v_source,
            to_char(v_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            USING ERRCODE = 'FR002', HINT = 'Search as of a later instant, or in sources whose history goes back further.';
    END IF;
END $$;

-- With who reads, as it was; every search calls it, and a search as of an instant is refused here where the history does not go back to it.
CREATE OR REPLACE FUNCTION freshet.ended_chunks(p_sources text[], p_as_of timestamptz) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT freshet.require_history(p_sources, p_as_of);
    SELECT coalesce(array_agg(ended.chunk_id), '{}') FROM (
        SELECT listed.chunk_id FROM freshet.reading() r, freshet.document d CROSS JOIN LATERAL unnest(d.chunk_ids) AS listed (chunk_id)
        WHERE d.expires_at <= coalesce(p_as_of, clock_timestamp()) AND (p_sources IS NULL OR d.source = ANY(p_sources))
          AND CASE WHEN p_as_of IS NULL THEN d.visible_to IS NULL
                   ELSE d.visible_from <= p_as_of AND (d.visible_to IS NULL OR d.visible_to > p_as_of) END
          AND (r.sees_all OR freshet.is_readable(d.access_id, d.source, r.defaults, r.lists))
        LIMIT 5000) ended
$$;

SET LOCAL lock_timeout = '10s';
-- A head is the fence, so it stays; what it said does not.
ALTER TABLE freshet.document ADD COLUMN purged_at timestamptz;
-- An audit must know that a record was refused, so the row stays; its bytes do not.
ALTER TABLE freshet.dead_letter ADD COLUMN purged_at timestamptz;
ALTER TABLE freshet.chunk
    ADD COLUMN vector_hash bigint,                            -- of the vector when it was made; null: opened before this column
    ADD COLUMN has_wrong_vector boolean;                      -- true: it belongs to another text, and is taken for none

CREATE INDEX document_ended ON freshet.document (source, visible_to)
    WHERE visible_to IS NOT NULL AND (NOT is_head OR (kind = 'document' AND purged_at IS NULL));
CREATE INDEX dead_letter_settled ON freshet.dead_letter (source, state_at) WHERE state <> 'open' AND purged_at IS NULL;
CREATE INDEX delivered_notice_batch ON freshet.delivered_notice (source, batch);

DO $$
BEGIN
    IF pg_relation_size('freshet.chunk') < 200 * 1024 * 1024 THEN
        CREATE INDEX chunk_ended ON freshet.chunk (source, visible_to) WHERE visible_to IS NOT NULL;
        CREATE INDEX chunk_vector ON freshet.chunk (space_id, text_sha256) WHERE has_wrong_vector IS NULL;
    END IF;
END $$;

-- A vector's hash, by which an audit finds one that was changed: there is no second copy of it.
CREATE FUNCTION freshet.hash_of_vector(p_vector vector) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashbyteaextended(vector_send(p_vector), 0)
$$;

-- A text that is published has no vector, neither in the embedding store nor in a chunk: it was removed meanwhile.
CREATE FUNCTION freshet.missing_vector(p_sha256 bytea) RETURNS smallint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RAISE EXCEPTION 'text % has no vector any more', encode(p_sha256, 'hex') USING ERRCODE = 'FR005';
END $$;

-- Whether the vector of a text can be looked up in the chunks. Until then the embedding store keeps what chunks hold, too.
CREATE FUNCTION freshet.finds_vectors_of_chunks() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT i.indisvalid FROM pg_catalog.pg_index i WHERE i.indexrelid = to_regclass('freshet.chunk_vector')
    ), false)
$$;

-- The instant that lies as long ago as a setting says; null: it says for ever, or there is no such setting.
CREATE FUNCTION freshet.before_now(p_ages jsonb, p_setting text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT now() - make_interval(secs => (p_ages ->> p_setting)::double precision)
$$;

-- What a purge of a source removes, by its specification: instants up to which rows of a kind go; null: none does. With `p_begun`,
-- history goes up to the horizon that is moved already, else up to the one that a purge that begins now moves it to. Versions of
-- documents wait until every active subscriber was notified of the batches that opened and ended them.
CREATE FUNCTION freshet.purgeable(p_source text, p_begun boolean) RETURNS TABLE (
    source text, history_from timestamptz, versions_until timestamptz, held_by text, dead_letters_until timestamptz,
    open_dead_letters_until timestamptz, notices_until timestamptz, notices_upto bigint, reports_until timestamptz,
    audits_until timestamptz, embeddings_until timestamptz
) LANGUAGE sql STABLE ROWS 1 AS $$
    WITH spec AS (
        SELECT s.source, coalesce(s.spec -> 'retention', '{}') AS ages, r.history_from AS moved_to,
               coalesce(r.notices_upto, 0) AS notices_upto
        FROM freshet.source s LEFT JOIN freshet.retention r ON r.source = s.source WHERE s.source = p_source
    ), until AS (
        SELECT spec.source, spec.notices_upto,
               greatest(
                   spec.moved_to, CASE WHEN NOT p_begun THEN freshet.before_now(spec.ages, 'history_seconds') END
               ) AS history_from,
               freshet.before_now(spec.ages, 'dead_letters_seconds') AS dead_letters,
               freshet.before_now(spec.ages, 'open_dead_letters_seconds') AS open_dead_letters,
               freshet.before_now(spec.ages, 'notices_seconds') AS notices,
               freshet.before_now(spec.ages, 'reports_seconds') AS reports,
               freshet.before_now(spec.ages, 'audits_seconds') AS audits,
               freshet.before_now(spec.ages, 'embeddings_seconds') AS embeddings
        FROM spec
    ), behind AS (
        SELECT u.subscriber, coalesce(d.cursor_batch, u.from_batch) AS cursor_batch
        FROM freshet.subscription u LEFT JOIN freshet.delivery d ON d.subscriber = u.subscriber AND d.source = u.source
        WHERE u.source = p_source AND u.state = 'active' ORDER BY 2, 1 LIMIT 1
    ), waits AS (
        SELECT behind.subscriber, b.published_at FROM behind
        CROSS JOIN LATERAL (
            SELECT n.published_at FROM freshet.batch n
            WHERE n.source = p_source AND n.batch > behind.cursor_batch ORDER BY n.batch LIMIT 1
        ) b
    )
    SELECT until.source, until.history_from,
           CASE WHEN waits.published_at <= until.history_from THEN waits.published_at - interval '1 microsecond'
                ELSE until.history_from END,
           CASE WHEN waits.published_at <= until.history_from THEN waits.subscriber END,
           until.dead_letters, until.open_dead_letters, until.notices,
           greatest(until.notices_upto, CASE WHEN NOT p_begun THEN (
               SELECT max(b.batch) FROM freshet.batch b
               WHERE b.source = until.source AND b.published_at <= until.notices) END),
           until.reports, until.audits, until.embeddings
    FROM until LEFT JOIN waits ON true
$$;
