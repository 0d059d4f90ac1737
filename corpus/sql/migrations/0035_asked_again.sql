-- 0035 asked again: what the origin of a document said when it was asked whether the document is still the same.
-- Why: a document that only its age withdraws may be there and unchanged at its origin, which can be asked.
-- Locks: ACCESS EXCLUSIVE on fetched and freshness_report for a moment (columns without a default or with a constant
-- one). Phase: pre. Old code survives: its checks count what is kept as not overdue, and until its storers are replaced
-- they withdraw by age without having asked, as before.

ALTER TABLE freshet.fetched
    ADD COLUMN asked_at   timestamptz,                        -- when its origin was asked last; null: not since it came
    ADD COLUMN answer     text CHECK (answer IN ('unchanged', 'changed', 'gone', 'unanswered', 'lost')),
    ADD COLUMN backfill   bigint,                             -- that reads its record again, since it has changed
    ADD COLUMN read_again smallint NOT NULL DEFAULT 0;        -- how often that was ordered; a new version begins at 0
ALTER TABLE freshet.freshness_report ADD COLUMN revalidation jsonb;

-- Documents past the source's age whose origin can be asked first. `is_kept`: age does not withdraw them, since the
-- origin has not said within the last hour that they are gone, or changed in a way that cannot be read (lost).
CREATE FUNCTION freshet.due_at_origin(p_source text, p_at timestamptz, p_expire_after double precision)
RETURNS TABLE (
    document_key bigint, document_id text, due_at timestamptz, url text, content_sha256 bytea, etag text,
    last_modified text, answer text, asked_at timestamptz, backfill bigint, read_again smallint, is_kept boolean
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.document_key, d.document_id, age.due_at, f.url, f.content_sha256, f.etag, f.last_modified, f.answer,
           f.asked_at, f.backfill, f.read_again,
           coalesce(f.answer NOT IN ('gone', 'lost') OR f.asked_at < p_at - interval '1 hour', true)
    FROM freshet.source s
    JOIN freshet.document d ON d.source = s.source AND d.visible_to IS NULL AND d.expires_at IS NULL
    JOIN freshet.fetched f ON f.source = d.source AND f.document_id = d.document_id
        AND f.content_sha256 = d.content_sha256 AND f.url IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT greatest(d.observed_at, d.verified_at) + make_interval(secs => p_expire_after) AS due_at
    ) age
    WHERE s.source = p_source AND age.due_at <= p_at
      AND coalesce((s.spec -> 'fetch' ->> 'revalidate')::boolean, true)
$$;

-- As of 0005. Of what is past the source's age: `aged` may go; `gone` of these is, by its origin; `unaskable` of these
-- came from an address that is not kept; `kept` may not go yet; `late` of these is due for longer than `retry_for`.
DROP FUNCTION freshet.overdue(text, timestamptz, double precision, text[]);
CREATE FUNCTION freshet.overdue(
    p_source text, p_at timestamptz, p_expire_after double precision, p_waiting text[] DEFAULT '{}'
) RETURNS TABLE (
    documents bigint, ended bigint, aged bigint, withdrawn bigint, arrived bigint, gone bigint, unaskable bigint,
    kept bigint, late bigint
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_since timestamptz := p_at - make_interval(secs => p_expire_after);
    v_first timestamptz;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE d.expires_at <= p_at),
           count(*) FILTER (
               WHERE d.expires_at IS NULL AND greatest(d.observed_at, d.verified_at) <= v_since
                 AND d.document_id <> ALL (p_waiting)
           )
    INTO documents, ended, aged
    FROM freshet.document d WHERE d.source = p_source AND d.visible_to IS NULL;
    SELECT count(*), min(d.visible_to) INTO withdrawn, v_first
    FROM freshet.document d
    WHERE d.source = p_source AND d.is_head AND d.end_reason = 'expired' AND d.visible_to > v_since
      AND d.expires_at IS NULL;
    arrived := 0;
    IF withdrawn > 0 THEN  -- asked only then, since every young document is looked up
        SELECT count(*) INTO arrived
        FROM freshet.document d
        WHERE d.source = p_source AND d.visible_to IS NULL AND d.visible_from > v_first
          AND (d.expires_at IS NULL OR d.expires_at > p_at)
          AND greatest(d.observed_at, d.verified_at) > v_since
          AND NOT EXISTS (
              SELECT FROM freshet.document earlier
              WHERE earlier.source = d.source AND earlier.document_id = d.document_id
                AND earlier.visible_from <= v_first
          );
    END IF;
    gone := 0; unaskable := 0; kept := 0; late := 0;
    IF aged > 0 THEN
        SELECT count(*) FILTER (WHERE NOT o.is_kept), count(*) FILTER (WHERE o.is_kept),
               count(*) FILTER (
                   WHERE o.is_kept AND o.due_at < p_at - make_interval(
                       secs => coalesce((s.spec -> 'fetch' ->> 'retry_for_seconds')::double precision, 86400))
               )
        INTO gone, kept, late
        FROM freshet.source s, freshet.due_at_origin(p_source, p_at, p_expire_after) o
        WHERE s.source = p_source AND o.document_id <> ALL (p_waiting);
        SELECT count(*) INTO unaskable
        FROM freshet.document d
        JOIN freshet.fetched f ON f.source = d.source AND f.document_id = d.document_id
            AND f.content_sha256 = d.content_sha256 AND f.url IS NULL
        WHERE d.source = p_source AND d.visible_to IS NULL AND d.expires_at IS NULL
          AND greatest(d.observed_at, d.verified_at) <= v_since AND d.document_id <> ALL (p_waiting);
        aged := aged - kept;
    END IF;
    RETURN NEXT;
END $$;
