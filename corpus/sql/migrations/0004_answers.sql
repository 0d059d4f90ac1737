-- 0004 answers: what became of each record, how far each partition is, a dictionary per source, instants that stay.
-- Why: waits said `reached` for records whose outcome was not kept; one dictionary was used for every source of a search; an
--   answer as of an instant could change after a long publish, or after the database's clock went back.
-- Locks: ACCESS EXCLUSIVE on source_position and batch_range (new columns without a default, no rewrite), and SHARE on
--   dead_letter while its small index is built: at the end, for moments, waited for at most 10 s. Phase: pre.

-- Newest record time of each partition, read before anything is locked: one pass over `document`.
CREATE TEMP TABLE newest_record ON COMMIT DROP AS
SELECT source, topic, partition, max(observed_at) AS newest_at
  FROM freshet.document WHERE topic IS NOT NULL GROUP BY source, topic, partition;

-- ── what became of each record ──────────────────────────────────────────────────────────────────────────────────
-- One row per batch and partition; the arrays have one element per record, so an offset of the range that `offsets` lacks is
-- a hole. Written in the transaction that publishes the batch, and kept for `corpus.batch.OUTCOMES_KEPT_DAYS`.
CREATE TABLE freshet.record_outcome (
    source       text NOT NULL,
    topic        text NOT NULL,
    partition    integer NOT NULL,
    topic_id     text NOT NULL,                               -- of the log: a recreated topic has the same offsets again
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,                             -- exclusive
    batch        bigint NOT NULL,
    published_at timestamptz NOT NULL,
    offsets      bigint[] NOT NULL,
    outcomes     text[] NOT NULL,                             -- applied, unchanged, superseded, dead_letter, ignored
    ops          text[] NOT NULL,                             -- upsert, delete; null: not a usable event
    document_ids text[] NOT NULL,                             -- null: not read from the record
    versions     bigint[] NOT NULL,                           -- null: the record has none
    reasons      text[] NOT NULL,                             -- of a dead letter, or the rule that ignored the record
    PRIMARY KEY (source, topic, partition, topic_id, first_offset),
    CHECK (cardinality(offsets) = cardinality(outcomes) AND cardinality(offsets) = cardinality(ops)
       AND cardinality(offsets) = cardinality(document_ids) AND cardinality(offsets) = cardinality(versions)
       AND cardinality(offsets) = cardinality(reasons))
);
CREATE INDEX record_outcome_published ON freshet.record_outcome (source, published_at);

-- ── instants that stay ──────────────────────────────────────────────────────────────────────────────────────────
-- The latest instant that a search was answered as of; every later batch gets a later instant, also after the database's clock
-- went back. One row.
CREATE TABLE freshet.as_of_answered (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    instant timestamptz NOT NULL
);
INSERT INTO freshet.as_of_answered (instant) VALUES ('-infinity');

-- Wait until what a search as of `p_as_of` returns can never change. In a statement of its own, before the search, since a
-- statement sees what was committed when it began. The instants of a source's batches rise, so up to its newest published batch
-- everything is final; after that, a batch that is being published may have an instant that has already passed, however long it
-- takes. The session's `lock_timeout` bounds the wait for each such source. Nothing is held afterwards, also when the statement is
-- cancelled: each lock is released by rolling back to before it was taken.
CREATE OR REPLACE FUNCTION freshet.settle(p_as_of timestamptz, p_sources text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_publishing text[];
    v_source text;
BEGIN
    IF p_as_of > clock_timestamp() + interval '2 seconds' THEN
        RAISE EXCEPTION 'as of % lies in the future: it is % now', p_as_of, clock_timestamp() USING ERRCODE = 'FR002';
    ELSIF p_as_of >= clock_timestamp() THEN  -- rounding, or a clock a little ahead
        PERFORM pg_sleep(extract(epoch FROM p_as_of - clock_timestamp()) + 0.001);
    END IF;
    -- Batches that begin from now on get later instants.
    SELECT array_agg(s.source ORDER BY s.source) INTO v_publishing FROM freshet.source s
    WHERE (p_sources IS NULL OR s.source = ANY(p_sources))
      AND (s.last_published_at IS NULL OR s.last_published_at < p_as_of)
      AND hashtext(s.source)::bigint & 4294967295 IN (
          SELECT l.objid::bigint FROM pg_locks l
          WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.classid::bigint = hashtext('freshet.publish')::bigint & 4294967295 AND l.objsubid = 2
            AND l.mode = 'ExclusiveLock' AND l.granted);
    FOREACH v_source IN ARRAY coalesce(v_publishing, '{}') LOOP
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(hashtext('freshet.publish'), hashtext(v_source));
            RAISE EXCEPTION 'published' USING ERRCODE = 'FR003';
        EXCEPTION
            WHEN SQLSTATE 'FR003' THEN NULL;
            WHEN lock_not_available THEN
                RAISE EXCEPTION 'source % is publishing a batch whose instant may lie before %', v_source, p_as_of
                    USING ERRCODE = 'lock_not_available', HINT = 'Search again later, or as of an earlier instant.';
        END;
    END LOOP;
    -- The clock may go back, for instance in a failover: `lock_source` reads this.
    IF NOT current_setting('transaction_read_only')::boolean THEN
        UPDATE freshet.as_of_answered SET instant = p_as_of WHERE instant < p_as_of;
    END IF;
END $$;

-- ── a dictionary per source ─────────────────────────────────────────────────────────────────────────────────────
-- Candidates by text over sources of several languages: each source's chunks are matched with the terms of its own dictionary.
CREATE FUNCTION freshet.text_candidates_by_language(
    p_text text, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, score double precision)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE v_languages text[];
BEGIN
    SELECT array_agg(DISTINCT coalesce(s.spec ->> 'text_search_language', 'english')) INTO v_languages
    FROM freshet.source s WHERE p_sources IS NULL OR s.source = ANY(p_sources);
    IF cardinality(v_languages) = 1 THEN  -- no filter by source where none was asked for
        RETURN QUERY SELECT t.chunk_id, t.score
        FROM freshet.text_candidates(p_text, v_languages[1]::regconfig, p_limit, p_space, p_sources, p_metadata, p_as_of) t;
        RETURN;
    END IF;
    RETURN QUERY
    WITH spoken AS (
        SELECT l.language, (
            SELECT array_agg(s.source) FROM freshet.source s
            WHERE (p_sources IS NULL OR s.source = ANY(p_sources))
              AND coalesce(s.spec ->> 'text_search_language', 'english') = l.language) AS sources
        FROM unnest(v_languages) AS l (language)
    )
    SELECT t.chunk_id, t.score FROM spoken
    CROSS JOIN LATERAL freshet.text_candidates(
        p_text, spoken.language::regconfig, p_limit, p_space, spoken.sources, p_metadata, p_as_of) t
    ORDER BY t.score DESC, t.chunk_id LIMIT p_limit;
END $$;

-- ── documents past their own end ────────────────────────────────────────────────────────────────────────────────
-- Chunks of documents whose `expires_at` had passed at the instant of a search although no check had withdrawn them yet: an end is
-- an instruction, so readers do not wait for the check. At most 5,000 of them; there are more only where no check runs.
CREATE FUNCTION freshet.ended_chunks(p_sources text[], p_as_of timestamptz) RETURNS bigint[]
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(array_agg(ended.chunk_id), '{}') FROM (
        SELECT listed.chunk_id FROM freshet.document d CROSS JOIN LATERAL unnest(d.chunk_ids) AS listed (chunk_id)
        WHERE d.expires_at <= coalesce(p_as_of, clock_timestamp()) AND (p_sources IS NULL OR d.source = ANY(p_sources))
          AND CASE WHEN p_as_of IS NULL THEN d.visible_to IS NULL
                   ELSE d.visible_from <= p_as_of AND (d.visible_to IS NULL OR d.visible_to > p_as_of) END
        LIMIT 5000) ended
$$;

-- As in 0002, but without what has ended, and `p_language` NULL, which is the default now, means: the dictionary of each source.
CREATE OR REPLACE FUNCTION freshet.search(
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
    score double precision, source text, document_id text, version bigint, ordinal integer, start integer, heading text, text text,
    title text, uri text, metadata jsonb, chunk_id bigint, batch bigint, topic text, partition integer, record_offset bigint,
    event_at timestamptz, observed_at timestamptz, verified_at timestamptz, expires_at timestamptz, visible_from timestamptz
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    v_space smallint := p_space;
    v_ended bigint[] := freshet.ended_chunks(p_sources, p_as_of);
    v_depth integer := CASE p_mode WHEN 'hybrid' THEN greatest(50, 4 * p_k) ELSE p_k END + cardinality(v_ended);
BEGIN
    IF p_k < 1 OR p_mode NOT IN ('vector', 'text', 'hybrid') THEN
        RAISE EXCEPTION 'search wants k >= 1 and a mode of vector, text, hybrid; got k = %, mode = %', p_k, p_mode USING ERRCODE = 'FR002';
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
           d.chunk_starts[array_position(d.chunk_ids, c.chunk_id)], nullif(d.chunk_headings[array_position(d.chunk_ids, c.chunk_id)], ''),
           c.text, d.title, d.uri, d.metadata, c.chunk_id, d.batch, d.topic, d.partition, d.record_offset, d.event_at, d.observed_at,
           d.verified_at, d.expires_at, d.visible_from
    FROM ranked r
    JOIN freshet.chunk c ON c.chunk_id = r.chunk_id
    JOIN freshet.document d ON d.source = c.source AND d.document_id = c.document_id
        AND CASE WHEN p_as_of IS NULL THEN d.visible_to IS NULL
                 ELSE d.visible_from <= p_as_of AND (d.visible_to IS NULL OR d.visible_to > p_as_of) END
    ORDER BY r.score DESC, c.chunk_id;
END $$;

-- ── what locks a table of today ─────────────────────────────────────────────────────────────────────────────────
-- In the order in which publishing uses the tables, and not behind a publish that takes long: then run it again later.
SET LOCAL lock_timeout = '10s';
ALTER TABLE freshet.source_position ADD COLUMN newest_at timestamptz; -- newest record time that is applied; null: none yet
UPDATE freshet.source_position p SET newest_at = n.newest_at
  FROM newest_record n WHERE n.source = p.source AND n.topic = p.topic AND n.partition = p.partition;
ALTER TABLE freshet.batch_range ADD COLUMN topic_id text;             -- of the log; null: a batch of before this column
CREATE INDEX dead_letter_document ON freshet.dead_letter (source, document_id, dead_letter)
    WHERE state = 'open' AND document_id IS NOT NULL;
