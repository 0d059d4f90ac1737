-- name: narrowing
-- Of some upserts, those that leave fewer groups than may read their document as it is published: of a later version,
-- or of the same one whose record is not known yet. Where versions have two scales, one of an event is later than any
-- that is made of a record.
SELECT s.document_id
FROM jsonb_to_recordset(%(said)s::jsonb) AS s (document_id text, version bigint, record_offset bigint, acl text[])
JOIN freshet.document h ON h.source = %(source)s AND h.document_id = s.document_id AND h.is_head
    AND h.kind = 'document' AND h.visible_to IS NULL
CROSS JOIN LATERAL (SELECT coalesce(h.acl, freshet.default_acl(h.source)) AS acl) published
WHERE (published.acl IS NULL OR NOT published.acl <@ s.acl)
  AND (
      s.version > h.version
      OR %(own_first)s AND NOT freshet.is_own(h.version, freshet.written_of(h))
      OR s.version = h.version
         AND coalesce((freshet.grants_of(h) -> %(log)s ->> 0)::bigint < s.record_offset, true)
  );

-- name: limit_withholding
-- A batch may wait for the lock of publishing that this holds.
SELECT set_config('statement_timeout', '5s', true) AS statement_timeout;

-- name: withhold
-- Show documents only to the groups that records leave which are not published yet. Under the lock of publishing.
WITH held AS (
    SELECT h.document_key, coalesce(h.acl, freshet.default_acl(h.source)) AS acl,
           freshet.withheld_by(h.withheld, %(log)s, s.record_offset, s.acl, s.version) AS withheld
    FROM jsonb_to_recordset(%(said)s::jsonb) AS s (document_id text, version bigint, record_offset bigint, acl text[])
    JOIN freshet.document h ON h.source = %(source)s AND h.document_id = s.document_id AND h.is_head
        AND h.kind = 'document' AND h.visible_to IS NULL
    JOIN freshet.source_position p ON p.source = h.source AND p.next_offset <= s.record_offset
        AND p.topic || '/' || p.partition || '/' || p.topic_id = %(log)s
), narrowed AS (
    UPDATE freshet.document d
    SET withheld = h.withheld, access_id = freshet.access_of(d.source, freshet.narrowed(h.acl, h.withheld))
    FROM held h WHERE d.document_key = h.document_key
    RETURNING d.document_id, d.access_id
), chunks AS (
    UPDATE freshet.chunk c SET access_id = n.access_id FROM narrowed n
    WHERE c.source = %(source)s AND c.document_id = n.document_id AND c.visible_to IS NULL
      AND c.access_id IS DISTINCT FROM n.access_id
)
SELECT count(*) AS documents FROM narrowed;

-- name: show_again
-- Let access lists count as published where no record withholds any more, after a batch was published.
SELECT freshet.show_again(%(source)s, ARRAY(SELECT document_id FROM incoming_document));

-- name: has_withheld
-- Whether something of a source is withheld.
SELECT EXISTS (SELECT FROM freshet.document WHERE source = %(source)s AND withheld IS NOT NULL) AS is_held;

-- name: wait_for_publishing
-- Somebody waits for what follows, and a batch takes seconds.
SELECT set_config('lock_timeout', '60s', true) AS lock_timeout;

-- name: show_all_again
-- The same, of all documents of a source, after something else than a batch changed what counts.
SELECT freshet.show_again(%(source)s, NULL);
