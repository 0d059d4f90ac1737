-- name: narrowing
-- Of some upserts, those that leave fewer groups than may read their document now: of a later version, or of the same
-- one whose record is not known yet.
SELECT s.document_id
FROM jsonb_to_recordset(%(said)s::jsonb) AS s (document_id text, version bigint, record_offset bigint, acl text[])
JOIN freshet.document h ON h.source = %(source)s AND h.document_id = s.document_id AND h.is_head
    AND h.kind = 'document' AND h.visible_to IS NULL
LEFT JOIN freshet.access_list a ON a.access_id = h.access_id
CROSS JOIN LATERAL (SELECT CASE WHEN h.access_id IS NULL THEN %(default_acl)s::text[] ELSE a.acl END AS acl) shown_to
WHERE (shown_to.acl IS NULL OR NOT shown_to.acl <@ s.acl)
  AND (
      s.version > h.version
      OR s.version = h.version
         AND coalesce((freshet.grants_of(h) -> %(log)s ->> 0)::bigint < s.record_offset, true)
  );

-- name: withhold
-- Show documents only to the groups that records leave which are not published yet. Under the lock of publishing.
WITH held AS (
    SELECT h.document_key, coalesce(h.acl, %(default_acl)s::text[]) AS acl,
           freshet.withheld_by(h.withheld, %(log)s, s.record_offset, s.acl) AS withheld
    FROM jsonb_to_recordset(%(said)s::jsonb) AS s (document_id text, record_offset bigint, acl text[])
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

-- name: has_withheld
-- Whether something of the source is withheld.
SELECT EXISTS (SELECT FROM freshet.document WHERE source = %(source)s AND is_head AND withheld IS NOT NULL) AS is_held;

-- name: carry_withheld
-- What is withheld of a document stays withheld of its next version, until its records are published, too.
UPDATE freshet.document n SET withheld = o.withheld
FROM incoming_document i
JOIN freshet.document o ON o.document_key = i.head_key AND o.withheld IS NOT NULL
WHERE n.source = %(source)s AND n.document_id = i.document_id AND n.is_head AND n.document_key <> o.document_key;

-- name: show_again
-- Show documents as they were published, where the records that withheld them are published or gone. The access lists of
-- the others are narrowed again: publishing knows only what it has published.
WITH waiting AS (
    SELECT d.document_key, (
        SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(d.withheld) e
        JOIN freshet.source_position p ON p.source = d.source AND p.next_offset <= (e.value ->> 0)::bigint
            AND p.topic || '/' || p.partition || '/' || p.topic_id = e.key
    ) AS withheld
    FROM freshet.document d WHERE d.source = %(source)s AND d.is_head AND d.withheld IS NOT NULL
), shown AS (
    UPDATE freshet.document d
    SET withheld = w.withheld,
        access_id = freshet.access_of(d.source, CASE
            WHEN w.withheld IS NULL THEN d.acl
            ELSE freshet.narrowed(coalesce(d.acl, %(default_acl)s::text[]), w.withheld) END)
    FROM waiting w WHERE d.document_key = w.document_key
    RETURNING d.document_id, d.access_id
)
UPDATE freshet.chunk c SET access_id = s.access_id FROM shown s
WHERE c.source = %(source)s AND c.document_id = s.document_id AND c.visible_to IS NULL
  AND c.access_id IS DISTINCT FROM s.access_id;
