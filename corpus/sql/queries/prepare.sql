-- name: source_spec
-- The specification of a source.
SELECT spec FROM freshet.source WHERE source = %(source)s;

-- name: source_to_prepare
-- The specification of a source, the fingerprint of the preparation that an operator asked for, and the highest version
-- that the source has accepted. Where no batch has kept it yet, it is that of the documents; versions from 2^60 on are
-- left out: they may be made of records.
SELECT spec, prepare_again,
       coalesce(highest_version, (
           SELECT max(d.version) FROM freshet.document d
           WHERE d.source = s.source AND d.is_head AND d.version < 1152921504606846976
       ), -1) AS highest
FROM freshet.source s WHERE source = %(source)s;

-- name: corrected_versions
-- Versions of some documents that a person has corrected.
SELECT document_id, old_version, new_version, batch, reason FROM freshet.document_correction
WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[]);

-- name: position_next_offset
-- First offset of a partition whose effect is not in the corpus yet.
SELECT next_offset FROM freshet.source_position
WHERE source = %(source)s AND topic = %(topic)s AND partition = %(partition)s AND topic_id = %(topic_id)s;

-- name: refused_events_of
-- Events of a partition that PostgreSQL refused when their batch was published.
SELECT topic, partition, record_offset, detail, is_bare FROM freshet.refused_event
WHERE source = %(source)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s;

-- name: begun_events_of
-- Events of a partition that were begun and did not end well, with the number of tries.
SELECT topic, partition, record_offset, tries, detail FROM freshet.begun_event
WHERE source = %(source)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s;

-- name: begin_event
-- Count a try of an event before it is made: its process may not live to count it afterwards.
INSERT INTO freshet.begun_event (source, topic, topic_id, partition, record_offset)
VALUES (%(source)s, %(topic)s, %(topic_id)s, %(partition)s, %(record_offset)s)
ON CONFLICT (source, topic, topic_id, partition, record_offset)
DO UPDATE SET tries = freshet.begun_event.tries + 1, begun_at = now();

-- name: describe_begun_event
-- What a try of an event raised.
UPDATE freshet.begun_event SET detail = %(detail)s
WHERE source = %(source)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s
  AND record_offset = %(record_offset)s;

-- name: end_event
-- A try of an event ended well, or its failure says nothing about the event.
DELETE FROM freshet.begun_event
WHERE source = %(source)s AND topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s
  AND record_offset = %(record_offset)s;

-- name: document_heads
-- The newest known version of some documents, visible or not.
SELECT document_id, document_key, version, visible_to IS NULL AS visible,
       coalesce(end_reason = 'expired', false) AS expired, content_sha256, cleaned_sha256, pipeline, space_id,
       content_type, title, language_from, language, language_note, first_record, freshet.written_of(d) AS written,
       deletes, purged_at IS NOT NULL AS purged
FROM freshet.document d
WHERE source = %(source)s AND is_head AND document_id = ANY(%(document_ids)s::text[]);

-- name: kept_columns_of
-- The large columns of some documents, as their newest version had them.
SELECT document_id, columns, tombstone FROM freshet.kept_columns
WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[]);

-- name: letters_of
-- Dead letters of some documents: those that wait for columns which they leave out, and those of which it is not known
-- what they say of their rows, also one that was discarded, or whose copy is on its way. A redriven one has no place in
-- its log. One that leaves columns out for good says nothing of them.
SELECT document_id, reason, record_offset, version, round(extract(epoch FROM record_at) * 1000)::bigint AS time_ms,
       concat_ws(
           '/', topic, partition,
           CASE WHEN headers::text LIKE '%%freshet.redriven-from%%' THEN '' ELSE coalesce(topic_id, '') END) AS log
FROM freshet.dead_letter
WHERE source = %(source)s AND document_id = ANY(%(document_ids)s::text[])
  AND (reason NOT IN ('column_waits', 'unavailable_column') OR reason = 'column_waits' AND state = 'open');

-- name: newest_records
-- Up to which time the records of each partition are applied.
SELECT topic, partition, floor(extract(epoch FROM newest_at) * 1000)::bigint AS newest_ms FROM freshet.source_position
WHERE source = %(source)s;

-- name: fetched_of
-- How some documents were fetched whose content is still that of the fetch.
SELECT f.document_id, f.url_sha256, f.content_sha256, f.etag, f.last_modified, d.content_bytes
FROM freshet.fetched f
JOIN freshet.document d ON d.source = f.source AND d.document_id = f.document_id AND d.is_head
    AND d.content_sha256 = f.content_sha256
WHERE f.source = %(source)s AND f.document_id = ANY(%(document_ids)s::text[]);

-- name: same_bytes_of
-- Those of some fetched documents whose bytes another document of the source has from another address of their host.
SELECT a.event FROM unnest(
    %(events)s::bigint[], %(document_ids)s::text[], %(hosts)s::text[], %(urls)s::bytea[], %(contents)s::bytea[]
) AS a (event, document_id, host, url_sha256, content_sha256)
WHERE EXISTS (
    SELECT FROM freshet.fetched f
    JOIN freshet.document d ON d.source = f.source AND d.document_id = f.document_id AND d.visible_to IS NULL
        AND d.content_sha256 = f.content_sha256
    WHERE f.source = %(source)s AND f.content_sha256 = a.content_sha256 AND f.host = a.host
      AND f.url_sha256 <> a.url_sha256 AND f.document_id <> a.document_id
);

-- name: waits_of
-- Since when the events of some dead letters wait for what they point to, or leave out.
SELECT dead_letter, waits_since, extract(epoch FROM now() - waits_since)::bigint AS seconds
FROM freshet.waiting_fetch WHERE source = %(source)s AND dead_letter = ANY(%(dead_letters)s::bigint[]);

-- name: read_again_of
-- The records that a backfill read again, by the dead letters that copies of them name. A copy that became a dead
-- letter in its turn names the one before it; the bytes are the same in all of them.
WITH RECURSIVE copied AS (
    SELECT l.dead_letter AS named, l.dead_letter, l.batch, l.topic, l.topic_id, l.partition, l.record_offset, l.key,
           l.value, l.headers
    FROM freshet.dead_letter l
    WHERE l.source = %(source)s AND l.dead_letter = ANY(%(dead_letters)s::bigint[]) AND l.value IS NOT NULL
    UNION ALL
    SELECT c.named, l.dead_letter, l.batch, l.topic, l.topic_id, l.partition, l.record_offset, l.key, l.value, l.headers
    FROM copied c
    CROSS JOIN LATERAL (
        SELECT substring(encode(decode(h ->> 1, 'base64'), 'escape') FROM '#([0-9]{1,18})$')::bigint AS dead_letter
        FROM jsonb_array_elements(c.headers) h WHERE h ->> 0 = 'freshet.redriven-from' LIMIT 1
    ) origin
    JOIN freshet.dead_letter l ON l.dead_letter = origin.dead_letter AND l.dead_letter < c.dead_letter
        AND l.source = %(source)s AND l.key IS NOT DISTINCT FROM c.key AND l.value = c.value
)
SELECT DISTINCT ON (c.named) c.named AS dead_letter, c.topic, c.partition, c.record_offset, c.key,
       sha256(c.value) AS value_sha256
FROM copied c
JOIN freshet.batch b ON b.source = %(source)s AND b.batch = c.batch AND b.kind = 'backfill'
JOIN freshet.source_position p ON p.source = %(source)s AND p.topic = c.topic AND p.partition = c.partition
    AND p.topic_id = c.topic_id
ORDER BY c.named, c.dead_letter;

-- name: embedded_texts
-- The texts among these that have a vector in the space: in the embedding store, or in a chunk, also a closed one. Each
-- by a range in the order of the index: a session keeps the plan that it made while the tables were empty, and would
-- read all of them.
SELECT wanted.text_sha256 FROM unnest(%(hashes)s::bytea[]) AS wanted (text_sha256)
CROSS JOIN LATERAL (
    SELECT FROM freshet.embedding e
    WHERE e.space_id = %(space_id)s AND e.text_sha256 BETWEEN wanted.text_sha256 AND wanted.text_sha256
    ORDER BY e.text_sha256 LIMIT 1
) kept
UNION
SELECT wanted.text_sha256 FROM unnest(%(hashes)s::bytea[]) AS wanted (text_sha256)
CROSS JOIN LATERAL (
    SELECT FROM freshet.chunk c
    WHERE c.space_id = %(space_id)s AND c.text_sha256 BETWEEN wanted.text_sha256 AND wanted.text_sha256
      AND c.has_wrong_vector IS NULL
    ORDER BY c.text_sha256 LIMIT 1
) held
WHERE freshet.finds_vectors_of_chunks();

-- name: register_space
-- Register an embedding space; the same space again gives the same id, without a lock.
SELECT freshet.register_space(%(fingerprint)s::text, %(model)s::text, %(weights)s::text, %(pooling)s::text,
    %(prefix)s::text, %(dimensions)s::integer, %(normalised)s::boolean, %(token_limit)s::integer,
    %(context)s::text) AS space_id;
