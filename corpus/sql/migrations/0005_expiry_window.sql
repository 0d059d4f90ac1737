-- 0005 expiry window: what decides whether a check may withdraw documents by itself.
-- Why: small steps of expiry added up to nearly all documents of a source that nothing arrived for, and nobody was
-- asked. Locks: SHARE on document while two partial indexes are built (one scan each). Phase: pre (additive).

-- Documents with an end of their own, and documents that a rule has withdrawn and that did not come back.
CREATE INDEX document_ends ON freshet.document (source, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX document_expired ON freshet.document (source, visible_to) WHERE is_head AND end_reason = 'expired';

-- What a check judges: visible documents; those past an end of their own; those past the source's age that do not wait
-- to be published again; those withdrawn by age within one age before; and those that are new since the first of these.
CREATE FUNCTION freshet.overdue(
    p_source text, p_at timestamptz, p_expire_after double precision, p_waiting text[] DEFAULT '{}'
) RETURNS TABLE (documents bigint, ended bigint, aged bigint, withdrawn bigint, arrived bigint)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
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
    RETURN NEXT;
END $$;
