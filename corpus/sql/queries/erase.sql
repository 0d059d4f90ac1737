-- name: erasure_to_carry_out
-- An order to erase that no batch has carried out, locked.
SELECT document_ids, dead_letters, reason FROM freshet.erasure
WHERE erasure = %(erasure)s::uuid AND source = %(source)s AND batch IS NULL FOR UPDATE;

-- name: erasure_samples
-- A chunk of some of the documents, to look for it afterwards.
SELECT DISTINCT ON (document_id) left(text, 300) AS text,
       freshet.vector_of(embedding, embedding_half)::text AS embedding, space_id, visible_from
FROM freshet.chunk WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
  AND (visible_to IS NULL OR visible_to IS NOT NULL)  -- each has its index
ORDER BY document_id, visible_to DESC NULLS FIRST, chunk_id LIMIT %(limit)s;

-- name: probe_search
-- How many hits of a search are of erased documents; as of the first instant of the history, where it begins later.
SELECT count(*) AS hits
FROM freshet.search(%(embedding)s::vector, %(text)s::text, 10, %(mode)s::text, %(space_id)s::smallint,
    ARRAY[%(source)s::text], NULL, CASE WHEN %(as_of)s::timestamptz IS NOT NULL THEN greatest(
        %(as_of)s::timestamptz, (SELECT r.history_from FROM freshet.retention r WHERE r.source = %(source)s)) END) f
WHERE f.source = %(source)s AND f.document_id = ANY(%(document_ids)s::text[]);

-- name: remember_erased
-- Keyed hashes of the ids, so that nothing brings the documents back, and of the groups that could read them. Of what
-- was never there nobody could: its list has one hash that no group has. What is erased again keeps its list.
INSERT INTO freshet.erased_document AS known (source, document_hash, erasure, group_hashes, erased_at)
SELECT %(source)s, freshet.erased_hash(%(source)s, convert_to(id, 'UTF8')), %(erasure)s::uuid,
       CASE WHEN h.document_id IS NULL THEN ARRAY[''::bytea]
            WHEN a.access_id IS NOT NULL THEN ARRAY(
                SELECT freshet.erased_hash(%(source)s, convert_to(g, 'UTF8')) FROM unnest(a.acl) AS g) END,
       %(published_at)s
FROM unnest(%(document_ids)s::text[]) AS id
LEFT JOIN freshet.document h ON h.source = %(source)s AND h.document_id = id AND h.is_head
LEFT JOIN freshet.access_list a ON a.access_id = h.access_id
ON CONFLICT (source, document_hash) DO UPDATE
SET erasure = excluded.erasure, erased_at = excluded.erased_at, lifted_at = NULL, lifted_by = NULL, lift_reason = NULL,
    group_hashes = CASE WHEN excluded.group_hashes = ARRAY[''::bytea] THEN known.group_hashes
                        ELSE coalesce(excluded.group_hashes, known.group_hashes) END;

-- name: erase_chunks
-- Remove the chunks, their vectors, search texts and entries in the indexes with them; `vectors` are those of which no
-- other chunk has a copy. One that the embedding store has, too, is counted when it goes there.
WITH gone AS (
    DELETE FROM freshet.chunk WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
      AND (visible_to IS NULL OR visible_to IS NOT NULL)  -- each has its index
    RETURNING chunk_id, space_id, text_sha256, visible_to IS NULL AS is_visible
), noted AS (
    INSERT INTO freshet.erased_chunk (chunk_id, erasure) SELECT chunk_id, %(erasure)s::uuid FROM gone
    ON CONFLICT DO NOTHING
), texts AS (
    INSERT INTO freshet.erased_text (text_sha256, erasure) SELECT DISTINCT text_sha256, %(erasure)s::uuid FROM gone
    ON CONFLICT (text_sha256) DO UPDATE SET erasure = excluded.erasure
)
SELECT count(*) AS removed, count(*) FILTER (WHERE is_visible) AS visible, (
           SELECT count(*) FROM (SELECT DISTINCT space_id, text_sha256 FROM gone) g
           WHERE NOT EXISTS (
               SELECT FROM freshet.chunk c
               WHERE c.space_id = g.space_id AND c.text_sha256 = g.text_sha256 AND c.has_wrong_vector IS NULL
                 AND NOT (c.source = %(source)s AND c.document_id = ANY(%(document_ids)s::text[])))
             AND NOT EXISTS (
               SELECT FROM freshet.embedding e WHERE e.space_id = g.space_id AND e.text_sha256 = g.text_sha256)
       ) AS vectors
FROM gone;

-- name: erase_documents
-- Remove every version of the documents, tombstones included, and the columns that were kept of them.
WITH gone AS (
    DELETE FROM freshet.document WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
    RETURNING visible_to IS NULL AS is_visible
), columns AS (
    DELETE FROM freshet.kept_columns WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
), named AS (
    UPDATE freshet.kept_columns SET tombstone = jsonb_set(tombstone, '{3}', 'null')
    WHERE source = %(source)s AND tombstone ->> 3 = ANY(%(document_ids)s::text[])
      AND document_id <> ALL(%(document_ids)s::text[])
), fetched AS (
    DELETE FROM freshet.fetched WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
)
SELECT count(*) AS removed, count(*) FILTER (WHERE is_visible) AS visible FROM gone;

-- name: unread_dead_letters
-- Dead letters of which no document could be read, and whose bytes have one of these spellings of ids.
SELECT l.dead_letter, l.key, l.value FROM freshet.dead_letter l
WHERE l.source = %(source)s AND l.document_id IS NULL AND EXISTS (
    SELECT FROM unnest(%(spellings)s::bytea[]) AS s (spelling)
    WHERE position(s.spelling IN coalesce(l.key, '')) > 0 OR position(s.spelling IN coalesce(l.value, '')) > 0)
ORDER BY l.dead_letter;

-- name: erase_dead_letters
-- Remove the dead letters of the documents: by id, and those of which no document could be read but that are of one. Of
-- the latter, a keyed hash is remembered, so that a replay does not make them again.
WITH unread AS (
    SELECT * FROM unnest(%(unread)s::bigint[], %(unread_ids)s::text[]) AS u (dead_letter, document_id)
), remembered AS (
    INSERT INTO freshet.erased_document (source, document_hash, erasure, record_of, erased_at)
    SELECT %(source)s, freshet.erased_hash(%(source)s, l.value), %(erasure)s::uuid,
           freshet.erased_hash(%(source)s, convert_to(max(u.document_id), 'UTF8')), %(published_at)s::timestamptz
    FROM unread u JOIN freshet.dead_letter l USING (dead_letter) WHERE l.value IS NOT NULL GROUP BY l.value
    ON CONFLICT (source, document_hash) DO UPDATE SET lifted_at = NULL, erasure = excluded.erasure
)
DELETE FROM freshet.dead_letter l
WHERE l.source = %(source)s
  AND (l.document_id = ANY(%(document_ids)s::text[]) OR l.dead_letter IN (SELECT u.dead_letter FROM unread u));

-- name: erase_outcomes
-- What became of the records stays counted; of which document they were goes.
UPDATE freshet.record_outcome o
SET document_ids = ARRAY(
        SELECT CASE WHEN id <> ALL(%(document_ids)s::text[]) THEN id END
        FROM unnest(o.document_ids) WITH ORDINALITY AS each_id (id, n) ORDER BY n
    )
WHERE o.source = %(source)s AND o.document_ids && %(document_ids)s::text[];

-- name: erase_findings
-- Remove what audits have found about the documents.
DELETE FROM freshet.audit_finding f USING freshet.audit a
WHERE a.audit = f.audit AND a.source = %(source)s
  AND (f.document_id = ANY(%(document_ids)s::text[]) OR f.subject = ANY(%(document_ids)s::text[]));

-- name: erase_audit_records
-- An audit that runs counts the records as ignored.
UPDATE freshet.audit_record r
SET outcome = 'ignored', op = NULL, document_id = NULL, version = NULL, content_sha256 = NULL, description = NULL,
    expires_at_ms = NULL
FROM freshet.audit a
WHERE a.audit = r.audit AND a.source = %(source)s AND r.document_id = ANY(%(document_ids)s::text[]);

-- name: erase_repairs
-- Take the ids out of what repairs say of documents that they could not repair.
UPDATE freshet.audit a
SET repair = a.repair || (
        SELECT jsonb_object_agg(part.name, (
            SELECT jsonb_agg(
                CASE WHEN line.said = ANY(%(document_ids)s::text[]) THEN '(erased)'
                     ELSE freshet.without_ids(line.said, %(document_ids)s::text[]) END ORDER BY line.n)
            FROM jsonb_array_elements_text(part.said) WITH ORDINALITY AS line (said, n)))
        FROM jsonb_each(a.repair) AS part (name, said)
        WHERE part.name IN ('examples_gone', 'by_hand') AND part.said <> '[]')
WHERE a.source = %(source)s AND EXISTS (
    SELECT FROM jsonb_each(a.repair) AS part (name, said)
    CROSS JOIN LATERAL jsonb_array_elements_text(part.said) AS line (said)
    WHERE part.name IN ('examples_gone', 'by_hand')
      AND (line.said = ANY(%(document_ids)s::text[])
           OR freshet.without_ids(line.said, %(document_ids)s::text[]) <> line.said));

-- name: erase_corrections
-- Remove the corrections of the documents, and the reasons that persons gave for them.
WITH gone AS (
    DELETE FROM freshet.document_correction
    WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[]) RETURNING batch
)
UPDATE freshet.batch b SET reason = '(erased)' FROM gone WHERE b.source = %(source)s AND b.batch = gone.batch;

-- name: erase_access_lists
-- Remove the access lists that no document and no dead letter of the source has any more: a group may be named
-- for a person. Chunks have none that their documents do not have.
DELETE FROM freshet.access_list a
WHERE a.source = %(source)s AND NOT EXISTS (
    -- Looked up list by list.
    SELECT FROM freshet.document d WHERE d.source = a.source AND d.access_id = a.access_id OFFSET 0
) AND NOT EXISTS (
    SELECT FROM freshet.dead_letter l WHERE l.source = a.source AND l.access_id = a.access_id OFFSET 0
);

-- name: erase_mentions
-- Take the ids out of what was written for people: reasons, errors and details that quote them.
WITH sources AS (
    UPDATE freshet.source SET state_reason = freshet.without_ids(state_reason, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(state_reason, %(document_ids)s::text[]) <> state_reason
    RETURNING 1
), reports AS (
    UPDATE freshet.freshness_report SET error = freshet.without_ids(error, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(error, %(document_ids)s::text[]) <> error RETURNING 1
), audits AS (
    UPDATE freshet.audit SET error = freshet.without_ids(error, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(error, %(document_ids)s::text[]) <> error RETURNING 1
), deliveries AS (
    UPDATE freshet.delivery SET last_error = freshet.without_ids(last_error, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(last_error, %(document_ids)s::text[]) <> last_error RETURNING 1
), letters AS (
    UPDATE freshet.dead_letter SET detail = freshet.without_ids(detail, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(detail, %(document_ids)s::text[]) <> detail RETURNING 1
), tries AS (
    UPDATE freshet.begun_event SET detail = freshet.without_ids(detail, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(detail, %(document_ids)s::text[]) <> detail RETURNING 1
), refusals AS (
    UPDATE freshet.refused_event SET detail = freshet.without_ids(detail, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(detail, %(document_ids)s::text[]) <> detail RETURNING 1
), batches AS (
    UPDATE freshet.batch SET reason = freshet.without_ids(reason, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(reason, %(document_ids)s::text[]) <> reason RETURNING 1
), purges AS (
    UPDATE freshet.purge SET error = freshet.without_ids(error, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(error, %(document_ids)s::text[]) <> error RETURNING 1
), corrections AS (
    UPDATE freshet.document_correction SET reason = freshet.without_ids(reason, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(reason, %(document_ids)s::text[]) <> reason RETURNING 1
), truncations AS (
    UPDATE freshet.truncation SET reason = freshet.without_ids(reason, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(reason, %(document_ids)s::text[]) <> reason RETURNING 1
), skips AS (
    UPDATE freshet.skipped_records SET reason = freshet.without_ids(reason, %(document_ids)s::text[])
    WHERE source = %(source)s AND freshet.without_ids(reason, %(document_ids)s::text[]) <> reason RETURNING 1
)
SELECT (SELECT count(*) FROM sources) + (SELECT count(*) FROM reports) + (SELECT count(*) FROM audits)
     + (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM letters) + (SELECT count(*) FROM tries)
     + (SELECT count(*) FROM refusals) + (SELECT count(*) FROM batches) + (SELECT count(*) FROM purges)
     + (SELECT count(*) FROM corrections) + (SELECT count(*) FROM skips)
     + (SELECT count(*) FROM truncations) AS removed;

-- name: erasure_remains
-- What is still there of erased documents, by the way that would show it.
SELECT 'documents' AS way, (
    SELECT count(*) FROM freshet.document
     WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
) + (
    SELECT count(*) FROM freshet.kept_columns
     WHERE source = %(source)s AND (document_id = ANY(%(document_ids)s::text[])
                                    OR tombstone ->> 3 = ANY(%(document_ids)s::text[]))
) + (
    SELECT count(*) FROM freshet.fetched
     WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
) AS found
UNION ALL
SELECT 'lineage', count(*) FROM freshet.chunk
 WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
   AND (visible_to IS NULL OR visible_to IS NOT NULL)  -- each has its index
UNION ALL
SELECT 'export', count(*) FROM freshet.document
 WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[]) AND visible_to IS NULL
UNION ALL
SELECT 'dead_letters', count(*) FROM freshet.dead_letter
 WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
UNION ALL
SELECT 'await', count(*) FROM freshet.record_outcome
 WHERE source = %(source)s AND document_ids && %(document_ids)s::text[]
UNION ALL
SELECT 'notices', count(*) FROM freshet.document
 WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[]) AND batch > 0
UNION ALL
SELECT 'audits', (
    SELECT count(*) FROM freshet.audit_finding f JOIN freshet.audit a USING (audit)
     WHERE a.source = %(source)s AND f.document_id = ANY(%(document_ids)s::text[])
) + (
    SELECT count(*) FROM freshet.audit_record r JOIN freshet.audit a USING (audit)
     WHERE a.source = %(source)s AND r.document_id = ANY(%(document_ids)s::text[])
)
UNION ALL
SELECT 'corrections', count(*) FROM freshet.document_correction
 WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
UNION ALL
SELECT 'vectors', count(*) FROM freshet.erased_text WHERE erasure = %(erasure)s::uuid;

-- name: erasure_carried_out
-- A batch has removed the rows.
UPDATE freshet.erasure
SET batch = %(batch)s, erased_at = %(published_at)s, removed = %(removed)s::jsonb, probes = %(probes)s::jsonb,
    waits_for = 'its staged files'
WHERE erasure = %(erasure)s::uuid;

-- name: has_erased
-- Whether a source has documents that must not come back.
SELECT EXISTS (
    SELECT FROM freshet.erased_document WHERE source = %(source)s AND lifted_at IS NULL
) AS has_erased;

-- name: erased_names
-- Those of some ids, and records, that must not come back.
SELECT name FROM unnest(%(names)s::bytea[]) AS name
JOIN freshet.erased_document x
    ON x.source = %(source)s AND x.document_hash = freshet.erased_hash(%(source)s, name) AND x.lifted_at IS NULL;

-- name: drop_erased
-- Events of erased documents change nothing and leave nothing, also where their batch was prepared before the erasure:
-- they are ignored by the rule `erased`. Vectors that were made for their texts are removed later.
WITH named AS MATERIALIZED (
    SELECT convert_to(document_id, 'UTF8') AS name FROM incoming_event WHERE document_id IS NOT NULL
    UNION
    SELECT convert_to(document_id, 'UTF8') FROM incoming_document
    UNION
    SELECT n.name FROM incoming_event e
    CROSS JOIN LATERAL (
        VALUES (e.key), (e.value),
               (CASE WHEN e.key LIKE '"%%"' AND octet_length(e.key) > 1
                     THEN substring(e.key FROM 2 FOR octet_length(e.key) - 2) END)
    ) n (name)
    WHERE e.document_id IS NULL AND e.outcome = 'dead_letter' AND n.name IS NOT NULL
), erased AS MATERIALIZED (
    SELECT n.name, x.erasure FROM named n
    JOIN freshet.erased_document x
        ON x.source = %(source)s AND x.document_hash = freshet.erased_hash(%(source)s, n.name) AND x.lifted_at IS NULL
), chunks AS (
    DELETE FROM incoming_chunk k USING erased WHERE convert_to(k.document_id, 'UTF8') = erased.name
    RETURNING k.text_sha256, erased.erasure
), texts AS (
    INSERT INTO freshet.erased_text (text_sha256, erasure)
    SELECT DISTINCT ON (text_sha256) text_sha256, erasure FROM chunks ON CONFLICT DO NOTHING
), documents AS (
    DELETE FROM incoming_document i USING erased WHERE convert_to(i.document_id, 'UTF8') = erased.name
)
UPDATE incoming_event e
SET outcome = 'ignored', reason = %(rule)s, detail = NULL, op = NULL, document_id = NULL, version = NULL, key = NULL,
    value = NULL, headers = NULL
WHERE EXISTS (
    SELECT FROM erased
    WHERE CASE WHEN e.document_id IS NOT NULL THEN convert_to(e.document_id, 'UTF8') = erased.name
               ELSE e.outcome = 'dead_letter'
                    AND erased.name IN (
                        e.key, e.value, substring(e.key FROM 2 FOR greatest(octet_length(e.key) - 2, 0))) END
);

-- ── after the batch ─────────────────────────────────────────────────────────────────────────────────────────────────

-- name: erasures_to_finish
-- Erasures whose rows are removed and that have no receipt yet.
SELECT erasure::text AS erasure, source, document_ids, batch, erased_at FROM freshet.erasure
WHERE batch IS NOT NULL AND receipt IS NULL ORDER BY erased_at LIMIT %(limit)s;

-- name: has_erased_texts
-- Whether vectors of erased texts wait to be removed.
SELECT EXISTS (SELECT FROM freshet.erased_text) AS has_erased_texts;

-- name: erase_vectors
-- Remove the vectors, and the tries, of erased texts that no chunk needs; the count of each erasure grows with them.
WITH text AS MATERIALIZED (
    SELECT text_sha256, erasure FROM freshet.erased_text FOR UPDATE SKIP LOCKED
), needed AS MATERIALIZED (
    -- By the index of vectors, which a space is named for.
    SELECT DISTINCT t.text_sha256 FROM text t CROSS JOIN freshet.embedding_space s
    JOIN freshet.chunk c ON c.space_id = s.space_id AND c.text_sha256 = t.text_sha256 AND c.has_wrong_vector IS NULL
), free AS MATERIALIZED (
    SELECT * FROM text WHERE text_sha256 NOT IN (SELECT text_sha256 FROM needed)
), vectors AS (
    DELETE FROM freshet.embedding e USING free WHERE e.text_sha256 = free.text_sha256 RETURNING free.erasure
), begun AS (
    DELETE FROM freshet.begun_text b USING free WHERE b.text_sha256 = free.text_sha256
), refused AS (
    DELETE FROM freshet.refused_text r USING free WHERE r.text_sha256 = free.text_sha256
), done AS (
    DELETE FROM freshet.erased_text t USING text WHERE t.text_sha256 = text.text_sha256
), counted AS (
    UPDATE freshet.erasure x
    SET removed = x.removed || jsonb_build_object(
            'vectors', coalesce((x.removed ->> 'vectors')::bigint, 0) + v.vectors)
    FROM (SELECT erasure, count(*) AS vectors FROM vectors GROUP BY erasure) v
    WHERE x.erasure = v.erasure AND x.receipt IS NULL
)
SELECT count(*) AS vectors FROM vectors;

-- name: queue_later_texts
-- Texts that were embedded for batches which are published or have failed: of which document they are is not known.
-- Vectors of those that no chunk needs are removed, too; a batch that needs one embeds it again.
INSERT INTO freshet.erased_text (text_sha256, erasure)
SELECT DISTINCT e.text_sha256, %(erasure)s::uuid FROM freshet.embedding e JOIN freshet.source s USING (source)
WHERE e.source = %(source)s AND e.batch <= s.last_batch
ON CONFLICT DO NOTHING;

-- name: forget_text_hashes
-- Hashes of texts that a model refused, or has begun: of which document they are is not known. A text that is sent
-- again is tried again.
WITH refused AS (DELETE FROM freshet.refused_text RETURNING 1), begun AS (DELETE FROM freshet.begun_text RETURNING 1)
SELECT (SELECT count(*) FROM refused) + (SELECT count(*) FROM begun) AS removed;

-- name: count_later
-- Add what was removed later to what an erasure has removed.
UPDATE freshet.erasure x
SET removed = x.removed || (
        SELECT jsonb_object_agg(m.store, coalesce((x.removed ->> m.store)::bigint, 0) + m.removed::bigint)
        FROM jsonb_each_text(%(removed)s::jsonb) AS m (store, removed))
WHERE x.erasure = %(erasure)s::uuid AND x.receipt IS NULL;

-- name: note_staged_files
-- Staged files that are removed for an erasure, and those of them that have a key, which goes with them; a repeated
-- attempt counts each once.
UPDATE freshet.erasure
SET staged_files = ARRAY(SELECT DISTINCT name FROM unnest(staged_files || %(names)s::text[]) AS name ORDER BY name),
    staged_keys = ARRAY(
        SELECT DISTINCT name FROM unnest(staged_keys || ARRAY(
            SELECT k.name FROM freshet.staged_key k WHERE k.name = ANY(%(names)s::text[]))) AS name ORDER BY name)
WHERE erasure = %(erasure)s::uuid AND receipt IS NULL;

-- name: erasure_waits
-- Why an erasure has no receipt yet.
UPDATE freshet.erasure SET waits_for = %(waits_for)s WHERE erasure = %(erasure)s::uuid AND receipt IS NULL;

-- name: erasure_for_receipt
-- What the receipt of an erasure says, locked; the hashes are those of the ids.
SELECT x.erasure::text AS erasure, x.source, x.documents, x.document_ids, x.reason, x.requested_by, x.requested_at,
       x.out_of_reach, x.batch, x.erased_at, x.removed, x.probes, cardinality(x.staged_files) AS staged_files,
       cardinality(x.staged_keys) AS staged_keys,
       (
           SELECT array_agg(encode(freshet.erased_hash(x.source, convert_to(id, 'UTF8')), 'hex') ORDER BY id)
           FROM unnest(x.document_ids) AS id
       ) AS document_hashes,
       (SELECT i.installation_id::text FROM freshet.installation i) AS installation,
       freshet.signing_key() AS signing_key,
       clock_timestamp() AS finished_at
FROM freshet.erasure x
WHERE x.erasure = %(erasure)s::uuid AND x.receipt IS NULL FOR UPDATE OF x;

-- name: write_receipt
-- The receipt of an erasure; the plain ids go.
UPDATE freshet.erasure
SET receipt = %(receipt)s::jsonb, finished_at = %(finished_at)s, document_ids = NULL, waits_for = NULL
WHERE erasure = %(erasure)s::uuid;

-- ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- name: documents_where
-- Ids of the documents of which a version has this in its metadata.
SELECT DISTINCT document_id FROM freshet.document
WHERE source = %(source)s AND metadata @> %(metadata)s::jsonb ORDER BY document_id;

-- name: erasure_plan
-- What an erasure would remove of each store.
SELECT s.spec, s.state,
       (
           SELECT coalesce(sum(v.documents), 0)::bigint FROM freshet.visible_documents v WHERE v.source = s.source
       ) AS all_visible,
       (SELECT count(*) FROM freshet.document d WHERE d.source = s.source AND d.visible_to IS NULL
           AND d.document_id = ANY(%(document_ids)s::text[])) AS visible,
       (SELECT count(*) FROM freshet.document d WHERE d.source = s.source
           AND d.document_id = ANY(%(document_ids)s::text[])) AS versions,
       (SELECT count(*) FROM freshet.chunk c WHERE c.source = s.source
           AND c.document_id = ANY(%(document_ids)s::text[])
           AND (c.visible_to IS NULL OR c.visible_to IS NOT NULL)) AS chunks,  -- each has its index
       (SELECT count(*) FROM freshet.dead_letter l WHERE l.source = s.source
           AND l.document_id = ANY(%(document_ids)s::text[])) AS dead_letters,
       (SELECT count(*) FROM freshet.erased_document x WHERE x.source = s.source AND x.lifted_at IS NULL
           AND x.document_hash IN (
               SELECT freshet.erased_hash(s.source, convert_to(id, 'UTF8'))
               FROM unnest(%(document_ids)s::text[]) AS id)) AS erased_before
FROM freshet.source s WHERE s.source = %(source)s;

-- name: request_erasure
-- An order to erase; the same documents of one that was not carried out yet are that order again.
WITH waiting AS (
    UPDATE freshet.erasure
    SET reason = %(reason)s, requested_by = %(requested_by)s, out_of_reach = %(out_of_reach)s::jsonb,
        dead_letters = %(dead_letters)s::bigint[]
    WHERE source = %(source)s AND batch IS NULL AND document_ids = %(document_ids)s::text[] RETURNING erasure
), added AS (
    INSERT INTO freshet.erasure (
        erasure, source, document_ids, documents, dead_letters, reason, requested_by, out_of_reach, waits_for)
    SELECT gen_random_uuid(), %(source)s, %(document_ids)s::text[], cardinality(%(document_ids)s::text[]),
           %(dead_letters)s::bigint[], %(reason)s, %(requested_by)s, %(out_of_reach)s::jsonb,
           'the workflow of its source'
    WHERE NOT EXISTS (SELECT FROM waiting) RETURNING erasure
)
SELECT erasure::text AS erasure FROM (SELECT erasure FROM waiting UNION ALL SELECT erasure FROM added) r LIMIT 1;

-- name: erasure_result
-- How far an erasure is.
SELECT batch, waits_for, receipt FROM freshet.erasure WHERE erasure = %(erasure)s::uuid;

-- name: list_erasures
-- Erasures, newest first; the ids of what was erased are in none of them.
SELECT erasure::text AS erasure, source, documents, reason, requested_by, requested_at, batch, erased_at, finished_at,
       CASE WHEN receipt IS NOT NULL THEN 'done' WHEN batch IS NOT NULL THEN 'erased' ELSE 'requested' END AS state,
       waits_for, receipt,
       (SELECT count(*) FROM freshet.erased_document d
         WHERE d.erasure = x.erasure AND d.record_of IS NULL AND d.lifted_at IS NOT NULL) AS lifted
FROM freshet.erasure x
WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
  AND (%(erasure)s::uuid IS NULL OR erasure = %(erasure)s::uuid)
ORDER BY requested_at DESC, erasure LIMIT %(limit)s;

-- name: lift_erasure
-- Let a document come again. It changes nothing by itself: a replay, or the next event, brings the document.
UPDATE freshet.erased_document
SET lifted_at = clock_timestamp(), lifted_by = %(lifted_by)s, lift_reason = %(reason)s
WHERE source = %(source)s AND lifted_at IS NULL
  AND freshet.erased_hash(%(source)s, convert_to(%(document_id)s, 'UTF8')) IN (document_hash, record_of)
RETURNING record_of IS NULL AS is_document;

-- name: erased_documents_named
-- Whether a document was erased and not lifted, of one source or of any.
SELECT x.source, x.erasure::text AS erasure, x.erased_at, e.reason, e.batch
FROM freshet.source s
JOIN freshet.erased_document x ON x.source = s.source
    AND x.document_hash = freshet.erased_hash(s.source, convert_to(%(document_id)s, 'UTF8')) AND x.lifted_at IS NULL
JOIN freshet.erasure e USING (erasure)
WHERE %(source)s::text IS NULL OR s.source = %(source)s::text ORDER BY x.source;

-- name: erased_chunk_of
-- The erasure that removed a chunk.
SELECT e.source, e.erasure::text AS erasure, e.erased_at, e.reason, e.batch
FROM freshet.erased_chunk c JOIN freshet.erasure e USING (erasure) WHERE c.chunk_id = %(chunk_id)s;

-- name: signing_key
-- The key that signs receipts.
SELECT freshet.signing_key() AS signing_key;

-- name: hash_of_document
-- The keyed hash of a document's id.
SELECT encode(freshet.erased_hash(%(source)s, convert_to(%(document_id)s, 'UTF8')), 'hex') AS document_hash;
