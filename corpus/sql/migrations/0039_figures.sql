-- 0039 figures: what is visible of each source is counted where it changes, and what was looked for among all rows of
-- a source is found by an index.
-- Why: a check of freshness read every version of its source, 0.8 s for 20,000 documents; a description for other teams
-- every visible document, and `freshet sources` everything, whether anything had changed or not.
-- Locks: SHARE ROW EXCLUSIVE on document and batch while indexes are built and their rows are counted once: they are
-- not written meanwhile, and are read. SHARE on dead_letter and freshness_report; SHARE ROW EXCLUSIVE on source.
-- Phase: pre. Triggers count what old code writes.

SET LOCAL lock_timeout = '10s';
-- Nothing is written between the counts and the triggers.
LOCK TABLE freshet.document, freshet.batch IN SHARE ROW EXCLUSIVE MODE;

-- ── indexes ─────────────────────────────────────────────────────────────────────────────────────────────────────────
-- The newest event of a source, for readers list by list: what they may not read is not read.
CREATE INDEX document_observed ON freshet.document (source, access_id, observed_at);
-- How old visible documents are: those without an end of their own, and the others.
CREATE INDEX document_age ON freshet.document (source, (expires_at IS NULL), (greatest(observed_at, verified_at)))
    WHERE visible_to IS NULL;
-- `document_ends` has the ends of what is withdrawn, too.
CREATE INDEX document_due ON freshet.document (source, expires_at)
    WHERE visible_to IS NULL AND expires_at IS NOT NULL;
CREATE INDEX document_version ON freshet.document (source, version) WHERE is_head;
CREATE INDEX dead_letter_unread ON freshet.dead_letter (source) WHERE document_id IS NULL;
CREATE INDEX dead_letter_access ON freshet.dead_letter (source, access_id) WHERE access_id IS NOT NULL;
CREATE INDEX freshness_report_run ON freshet.freshness_report (source, run_id);

-- ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────────
-- Each is the sum over rows that it stands for; the functions below count it from them, and an audit compares both.

-- Visible documents: who may read them, and how they were prepared.
CREATE TABLE freshet.visible_documents (
    source    text NOT NULL REFERENCES freshet.source,
    access_id integer,                                        -- as in `document`; null: the source's `default_acl`
    pipeline  text NOT NULL,
    is_mail   boolean NOT NULL,                               -- by the media type of their events
    documents bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (source, access_id, pipeline, is_mail)
);

-- What became of their texts.
CREATE TABLE freshet.visible_texts (
    source             text PRIMARY KEY REFERENCES freshet.source,
    chunks             bigint NOT NULL,
    empty              bigint NOT NULL,                       -- documents of whose text nothing was kept
    lossy              bigint NOT NULL,                       -- less than the source's `min_kept_ratio`
    unknown            bigint NOT NULL,                       -- the model knows less than `max_unknown_ratio` says
    accounted          bigint NOT NULL,                       -- of which it is known how much the model knows
    kept_characters    bigint NOT NULL,                       -- of these documents
    unknown_characters bigint NOT NULL,
    tokens             bigint NOT NULL
);

-- The ledger, by kind of batch; published ones.
CREATE TABLE freshet.ledger_totals (
    source                   text NOT NULL REFERENCES freshet.source,
    kind                     text NOT NULL,
    batches                  bigint NOT NULL,
    records                  bigint NOT NULL,
    applied                  bigint NOT NULL,
    unchanged                bigint NOT NULL,
    superseded               bigint NOT NULL,
    dead_lettered            bigint NOT NULL,
    ignored                  bigint NOT NULL,
    documents_deleted        bigint NOT NULL,
    deletes_without_document bigint NOT NULL,
    texts_embedded           bigint NOT NULL,
    PRIMARY KEY (source, kind)
);

-- From which share on a document counts as lossy, or unknown; where a specification is of before these settings, their
-- defaults (`corpus/preparation.py`).
CREATE FUNCTION freshet.text_limits(
    p_spec jsonb, OUT min_kept_ratio double precision, OUT max_unknown_ratio double precision
) LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((p_spec -> 'pipeline' ->> 'min_kept_ratio')::double precision, 0.1),
           coalesce((p_spec -> 'pipeline' ->> 'max_unknown_ratio')::double precision, 0.05)
$$;

-- Functions that count from the rows of `document` and `batch`, and triggers that add what a statement changes. All are
-- made of one text, in which %1$s stands for the rows: `sign` is 1 for one that is there, and -1 for one that was.
DO $made$
DECLARE
    v_documents constant text := $sql$
        SELECT d.source, d.access_id, d.pipeline, freshet.is_mail(d.content_type) AS is_mail,
               sum(d.sign)::bigint AS documents
        FROM (%1$s) d WHERE d.visible_to IS NULL
        GROUP BY 1, 2, 3, 4 HAVING sum(d.sign) <> 0 ORDER BY 1, 2, 3, 4 $sql$;
    v_texts constant text := $sql$
        SELECT * FROM (
            SELECT d.source, sum(d.sign * listed.chunks)::bigint AS chunks,
                   coalesce(sum(d.sign) FILTER (
                       WHERE d.kept_characters = 0 AND readable.characters > 0), 0)::bigint AS empty,
                   coalesce(sum(d.sign) FILTER (
                       WHERE d.kept_characters < readable.characters * l.min_kept_ratio), 0)::bigint AS lossy,
                   coalesce(sum(d.sign) FILTER (
                       WHERE d.unknown_characters > d.kept_characters * l.max_unknown_ratio), 0)::bigint AS unknown,
                   coalesce(sum(d.sign) FILTER (WHERE d.unknown_characters IS NOT NULL), 0)::bigint AS accounted,
                   coalesce(sum(d.sign * d.kept_characters) FILTER (
                       WHERE d.unknown_characters IS NOT NULL), 0)::bigint AS kept_characters,
                   coalesce(sum(d.sign * d.unknown_characters), 0)::bigint AS unknown_characters,
                   coalesce(sum(d.sign * d.tokens) FILTER (WHERE d.unknown_characters IS NOT NULL), 0)::bigint AS tokens
            FROM (%1$s) d
            JOIN freshet.source s ON s.source = d.source
            CROSS JOIN LATERAL freshet.text_limits(s.spec) l
            CROSS JOIN LATERAL freshet.readable_characters(d.received_characters, d.dropped) AS readable (characters)
            -- A chunk whose text is repeated is listed more than once.
            CROSS JOIN LATERAL (SELECT count(DISTINCT c) AS chunks FROM unnest(d.chunk_ids) c) listed
            WHERE d.visible_to IS NULL
            GROUP BY d.source
        ) t
        WHERE (chunks, empty, lossy, unknown, accounted, kept_characters, unknown_characters, tokens)
            <> (0, 0, 0, 0, 0, 0, 0, 0)
        ORDER BY source $sql$;
    v_batches constant text := $sql$
        SELECT b.source, b.kind, sum(b.sign)::bigint AS batches, sum(b.sign * b.records)::bigint AS records,
               sum(b.sign * b.applied)::bigint AS applied, sum(b.sign * b.unchanged)::bigint AS unchanged,
               sum(b.sign * b.superseded)::bigint AS superseded,
               sum(b.sign * b.dead_lettered)::bigint AS dead_lettered, sum(b.sign * b.ignored)::bigint AS ignored,
               sum(b.sign * b.documents_deleted)::bigint AS documents_deleted,
               sum(b.sign * b.deletes_without_document)::bigint AS deletes_without_document,
               sum(b.sign * b.texts_embedded)::bigint AS texts_embedded
        FROM (%1$s) b WHERE b.state = 'published'
        GROUP BY 1, 2 ORDER BY 1, 2 $sql$;
    v_document_columns constant text := 'source, access_id, pipeline, content_type, visible_to, chunk_ids, '
        'received_characters, kept_characters, dropped, unknown_characters, tokens';
    v_batch_columns constant text := 'source, kind, state, records, applied, unchanged, superseded, dead_lettered, '
        'ignored, documents_deleted, deletes_without_document, texts_embedded';
    v_made record;
    v_changed record;
    v_rows text;
    v_adds text;
BEGIN
    FOR v_made IN
        SELECT * FROM (VALUES
            ('visible_documents', 'document', v_documents, v_document_columns, 'source, access_id, pipeline, is_mail'),
            ('visible_texts', 'document', v_texts, v_document_columns, 'source'),
            ('ledger_totals', 'batch', v_batches, v_batch_columns, 'source, kind')
        ) AS m (figures, counted, sums, columns, key)
    LOOP
        SELECT string_agg(format('%1$I = f.%1$I + excluded.%1$I', a.attname), ', ') INTO v_adds
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = format('freshet.%I', v_made.figures)::regclass AND a.attnum > 0
          AND a.attname::text <> ALL (string_to_array(v_made.key, ', '));
        EXECUTE format(
            'CREATE FUNCTION freshet.%I(p_source text) RETURNS SETOF freshet.%I LANGUAGE sql STABLE '
            'SET search_path = pg_catalog, pg_temp AS %L',
            'count_' || v_made.figures, v_made.figures,
            format(v_made.sums, format(
                'SELECT 1 AS sign, %s FROM freshet.%I WHERE source = p_source', v_made.columns, v_made.counted)));
        EXECUTE format(
            'INSERT INTO freshet.%1$I SELECT c.* FROM freshet.source s CROSS JOIN LATERAL freshet.%2$I(s.source) c',
            v_made.figures, 'count_' || v_made.figures);
        FOR v_changed IN
            SELECT * FROM (VALUES
                ('inserted', 'INSERT', 'NEW TABLE AS added', 'added', 'SELECT 1 AS sign, %1$s FROM added'),
                ('deleted', 'DELETE', 'OLD TABLE AS removed', 'removed', 'SELECT -1 AS sign, %1$s FROM removed'),
                -- Most updates change nothing that is counted. A join would keep the plan of its first call.
                ('updated', 'UPDATE', 'OLD TABLE AS removed NEW TABLE AS added', 'added',
                 'SELECT sum(sign) AS sign, %1$s FROM ('
                 'SELECT -1 AS sign, %1$s FROM removed UNION ALL SELECT 1, %1$s FROM added'
                 ') r GROUP BY %1$s HAVING sum(sign) <> 0')
            ) AS c (suffix, event, tables, touched, rows)
        LOOP
            v_rows := format(v_changed.rows, v_made.columns);
            EXECUTE format(
                'CREATE FUNCTION freshet.%1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
                'SET search_path = pg_catalog, pg_temp AS %2$L',
                v_made.figures || '_' || v_changed.suffix,
                format('BEGIN IF EXISTS (SELECT FROM %I) THEN '
                       'INSERT INTO freshet.%I AS f %s ON CONFLICT (%s) DO UPDATE SET %s; END IF; RETURN NULL; END',
                       v_changed.touched, v_made.figures, format(v_made.sums, v_rows), v_made.key, v_adds));
            EXECUTE format(
                'CREATE TRIGGER %1$I AFTER %2$s ON freshet.%3$I REFERENCING %4$s FOR EACH STATEMENT '
                'EXECUTE FUNCTION freshet.%1$I()',
                v_made.figures || '_' || v_changed.suffix, v_changed.event, v_made.counted, v_changed.tables);
        END LOOP;
    END LOOP;
END $made$;

-- Counts the figures of a source again from its rows, under its lock of publishing: where an audit found them wrong.
CREATE FUNCTION freshet.count_again(p_source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('freshet.publish'), hashtext(p_source));
    DELETE FROM freshet.visible_documents WHERE source = p_source;
    DELETE FROM freshet.visible_texts WHERE source = p_source;
    DELETE FROM freshet.ledger_totals WHERE source = p_source;
    INSERT INTO freshet.visible_documents SELECT * FROM freshet.count_visible_documents(p_source);
    INSERT INTO freshet.visible_texts SELECT * FROM freshet.count_visible_texts(p_source);
    INSERT INTO freshet.ledger_totals SELECT * FROM freshet.count_ledger_totals(p_source);
END $$;

-- Another limit makes other documents lossy, or unknown. No batch is published meanwhile: it locks the source's row.
CREATE FUNCTION freshet.count_texts_again() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM freshet.visible_texts WHERE source = NEW.source;
    INSERT INTO freshet.visible_texts SELECT * FROM freshet.count_visible_texts(NEW.source);
    RETURN NULL;
END $$;
CREATE TRIGGER source_text_limits AFTER UPDATE OF spec ON freshet.source FOR EACH ROW
    WHEN (freshet.text_limits(OLD.spec) IS DISTINCT FROM freshet.text_limits(NEW.spec))
    EXECUTE FUNCTION freshet.count_texts_again();

-- ── what reads them ─────────────────────────────────────────────────────────────────────────────────────────────────
-- When the newest event of a source happened that this reader can read, deleted documents and old versions included:
-- one step per access list.
CREATE FUNCTION freshet.newest_event(p_source text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reading record;
    v_newest timestamptz;
    v_unlisted timestamptz;
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    IF v_reading.sees_all THEN
        v_reading.lists := ARRAY(SELECT a.access_id FROM freshet.access_list a WHERE a.source = p_source);
    END IF;
    SELECT max(newest.observed_at) INTO v_newest
    FROM unnest(v_reading.lists) AS list (access_id)
    CROSS JOIN LATERAL (
        SELECT d.observed_at FROM freshet.document d
        WHERE d.source = p_source AND d.access_id = list.access_id
          AND (v_reading.sees_all OR d.visible_to IS NULL OR freshet.head_is_readable(d.source, d.document_id))
        ORDER BY d.observed_at DESC LIMIT 1
    ) newest;
    IF v_reading.sees_all OR p_source = ANY(v_reading.defaults) THEN
        SELECT d.observed_at INTO v_unlisted FROM freshet.document d
        WHERE d.source = p_source AND d.access_id IS NULL
          AND (v_reading.sees_all OR d.visible_to IS NULL OR freshet.head_is_readable(d.source, d.document_id))
        -- By the index: a condition IS NULL gives no order by itself.
        ORDER BY d.access_id DESC, d.observed_at DESC LIMIT 1;
    END IF;
    RETURN greatest(v_newest, v_unlisted);
END $$;

-- As of 0035, by the index of ages.
CREATE OR REPLACE FUNCTION freshet.due_at_origin(p_source text, p_at timestamptz, p_expire_after double precision)
RETURNS TABLE (
    document_key bigint, document_id text, due_at timestamptz, url text, content_sha256 bytea, etag text,
    last_modified text, answer text, asked_at timestamptz, backfill bigint, read_again smallint, is_kept boolean
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.document_key, d.document_id,
           greatest(d.observed_at, d.verified_at) + make_interval(secs => p_expire_after), f.url, f.content_sha256,
           f.etag, f.last_modified, f.answer, f.asked_at, f.backfill, f.read_again,
           coalesce(f.answer NOT IN ('gone', 'lost') OR f.asked_at < p_at - interval '1 hour', true)
    FROM freshet.source s
    JOIN freshet.document d ON d.source = s.source AND d.visible_to IS NULL AND d.expires_at IS NULL
        AND greatest(d.observed_at, d.verified_at) <= p_at - make_interval(secs => p_expire_after)
    JOIN freshet.fetched f ON f.source = d.source AND f.document_id = d.document_id
        AND f.content_sha256 = d.content_sha256 AND f.url IS NOT NULL
    WHERE s.source = p_source AND coalesce((s.spec -> 'fetch' ->> 'revalidate')::boolean, true)
$$;

DO $$
DECLARE
    v_edit record;
    v_before text;
    v_after text;
BEGIN
    FOR v_edit IN SELECT * FROM (VALUES
        ('freshet.overdue(text, timestamptz, double precision, text[])',
         '    SELECT count(*), count(*) FILTER (WHERE d.expires_at <= p_at),
           count(*) FILTER (
               WHERE d.expires_at IS NULL AND greatest(d.observed_at, d.verified_at) <= v_since
                 AND d.document_id <> ALL (p_waiting)
           )
    INTO documents, ended, aged
    FROM freshet.document d WHERE d.source = p_source AND d.visible_to IS NULL;
', '    SELECT coalesce(sum(v.documents), 0) INTO documents FROM freshet.visible_documents v WHERE v.source = p_source;
    SELECT count(*) INTO ended FROM freshet.document d
    WHERE d.source = p_source AND d.visible_to IS NULL AND d.expires_at <= p_at;
    SELECT count(*) INTO aged FROM freshet.document d
    WHERE d.source = p_source AND d.visible_to IS NULL AND d.expires_at IS NULL
      AND greatest(d.observed_at, d.verified_at) <= v_since AND d.document_id <> ALL (p_waiting);
'),
        -- A document is visible from the instant of its batch, and batches are in the order of their instants.
        ('freshet.overdue(text, timestamptz, double precision, text[])',
         '        WHERE d.source = p_source AND d.visible_to IS NULL AND d.visible_from > v_first
',
         '        WHERE d.source = p_source AND d.visible_to IS NULL AND d.visible_from > v_first
          AND d.batch >= (
              SELECT b.batch FROM freshet.batch b WHERE b.source = p_source AND b.published_at > v_first
              ORDER BY b.published_at LIMIT 1
          )
'),
        ('freshet.purgeable(text, boolean)',
         '               SELECT max(b.batch) FROM freshet.batch b
               WHERE b.source = until.source AND b.published_at <= until.notices) END),',
         '               SELECT b.batch FROM freshet.batch b
               WHERE b.source = until.source AND b.published_at <= until.notices
               ORDER BY b.published_at DESC LIMIT 1) END),'),
        ('freshet.secure_table(name)',
         'WHEN ''embedding_space'' THEN ''true''',
         'WHEN ''visible_documents'' THEN ''CASE WHEN access_id IS NULL ''
            ''THEN source IN (SELECT freshet.readable_defaults()) ''
            ''ELSE access_id IN (SELECT freshet.readable_lists()) END''
        WHEN ''embedding_space'' THEN ''true'''),
        ('freshet.secure_table(name)',
         '        WHEN ''freshness_report'' THEN ''source, snapshotted_at, status'' END;',
         '        WHEN ''visible_documents'' THEN ''source, access_id, documents''
        WHEN ''freshness_report'' THEN ''source, snapshotted_at, status'' END;'),
        ('freshet.secure_table(name)', 'erased_document, erased_chunk}',
         'erased_document, erased_chunk, visible_documents, visible_texts, ledger_totals}'),
        ('freshet.secure_schema()', '''head_is_readable'', ', '''head_is_readable'', ''newest_event'', ')
    ) AS e (function_name, was, is_now)
    LOOP
        v_before := pg_get_functiondef(v_edit.function_name::regprocedure);
        v_after := replace(v_before, v_edit.was, v_edit.is_now);
        IF v_after = v_before THEN
            RAISE EXCEPTION '% is not as expected near: %', v_edit.function_name, v_edit.was;
        END IF;
        EXECUTE v_after;
    END LOOP;
END $$;

-- The planner knows nothing of an index on an expression otherwise until the table is analysed by itself.
ANALYZE freshet.document;
