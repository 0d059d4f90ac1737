-- name: create_incoming
-- Tables that receive a batch before it is judged. They live as long as the session and are emptied at commit, so that
-- the catalog does not churn. Columns up to those of the judgement: `corpus.staging.layout`.
CREATE TEMP TABLE IF NOT EXISTS incoming_event (
    topic text, partition integer, record_offset bigint, record_at timestamptz, outcome text, reason text, detail text,
    op text, document_id text, version bigint, key bytea, value bytea, headers text,
    waits_for text, retry_seconds integer, waits_since_at timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS incoming_document (
    document_id text, topic text, partition integer, record_offset bigint, record_at timestamptz, op text,
    version bigint, first_record text, grants text, written text, observed_at timestamptz,
    deletes text, tombstone_topic text,
    tombstone_partition integer, tombstone_offset bigint, tombstone_floor bigint, reuse_key bigint, is_again boolean,
    is_copy boolean,
    uri text, title text, content_type text, metadata text, acl text[], event_at timestamptz, expires_at timestamptz,
    content_bytes bigint, content_sha256 bytea, stated_language text, cleaned_sha256 bytea, raw_sha256 bytea,
    received_characters bigint, kept_characters bigint, dropped text, tokens bigint, unknown_tokens bigint,
    unknown_characters bigint, notes text, language text, language_from text, language_note text,
    kept_columns text, taken_from bigint, tombstone text, fetched text, parts text, pipeline text,
    -- The judgement; see `decide` and `reindex_chunks`.
    decision text, new_version bigint, head_key bigint, says_the_same boolean, is_reindexed boolean,
    access_id integer, is_regranted boolean, acl_stands boolean
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS incoming_chunk (
    document_id text, ordinal integer, start integer, text_sha256 bytea, heading text, token_count integer,
    truncated boolean, text text, part_name text
) ON COMMIT DELETE ROWS;

-- name: has_incoming
-- Whether this session has these tables. To find that out by making them takes as long as several other statements.
SELECT to_regclass('pg_temp.incoming_chunk') IS NOT NULL AS has_incoming;

-- name: lock_publishing
-- Held from before the batch's instant is taken until the commit. When no transaction with an earlier instant holds it,
-- what is visible as of an instant cannot change any more (freshet.settle).
SELECT pg_advisory_xact_lock(hashtext('freshet.publish'), hashtext(%(source)s));

-- name: lock_source
-- One publisher at a time per source, and an instant later than every published one and than every instant that a
-- search was answered as of, also where the clock went back. Not FOR UPDATE: rows that refer to the source (a
-- consumer's new position, a subscription) may be inserted meanwhile.
SELECT greatest(
           clock_timestamp(), last_published_at + interval '1 microsecond',
           (SELECT instant + interval '1 microsecond' FROM freshet.as_of_answered)
       ) AS published_at, epoch, spec, last_batch, highest_version
FROM freshet.source WHERE source = %(source)s FOR NO KEY UPDATE;

-- name: ledger_row
-- The report of a batch, if it was published.
SELECT run_id, kind, records, applied, unchanged, superseded, dead_lettered, ignored, documents_written,
       documents_deleted, documents_expired, deletes_without_document, chunks_opened, chunks_closed, chunks_reused,
       texts_embedded, published_at
FROM freshet.batch WHERE source = %(source)s AND batch = %(batch)s;

-- name: lock_position
-- The position of a partition, locked.
SELECT next_offset, topic_id FROM freshet.source_position
WHERE source = %(source)s AND topic = %(topic)s AND partition = %(partition)s FOR UPDATE;

-- name: copy_events
-- Events of the batch.
COPY incoming_event (topic, partition, record_offset, record_at, outcome, reason, detail, op, document_id, version, key,
    value, headers, waits_for, retry_seconds, waits_since_at)
FROM STDIN (FORMAT BINARY);

-- name: copy_documents
-- Documents of the batch.
COPY incoming_document (document_id, topic, partition, record_offset, record_at, op, version, first_record, grants,
    written, observed_at, deletes, tombstone_topic, tombstone_partition, tombstone_offset, tombstone_floor, reuse_key,
    is_again, is_copy,
    uri, title, content_type, metadata, acl, event_at, expires_at, content_bytes, content_sha256, stated_language,
    cleaned_sha256, raw_sha256, received_characters, kept_characters, dropped, tokens, unknown_tokens,
    unknown_characters, notes, language, language_from, language_note, kept_columns, taken_from,
    tombstone, fetched, parts, pipeline)
FROM STDIN (FORMAT BINARY);

-- name: copy_chunks
-- Chunks of the batch's documents.
COPY incoming_chunk (document_id, ordinal, start, text_sha256, heading, token_count, truncated, text, part_name)
FROM STDIN (FORMAT BINARY);

-- name: show_life
-- A session that does nothing in a transaction is closed; one whose process waits for a file does this.
SELECT 1 AS alive;

-- name: analyze_incoming
-- Table sizes for the planner; worth its cost for large batches.
ANALYZE incoming_document, incoming_chunk, incoming_event;

-- name: count_corrected
-- Documents with an event of a version that a person has corrected; a preparation that knows it has none.
SELECT count(*) AS documents FROM incoming_document i
JOIN freshet.document_correction c
    ON c.source = %(source)s AND c.document_id = i.document_id AND c.old_version = i.version;

-- name: other_versions
-- Documents whose heads may outrank the batch's versions.
SELECT i.document_id, i.version, i.written::jsonb AS written, h.version AS head_version,
       freshet.written_of(h) AS head_written
FROM incoming_document i
JOIN freshet.document h ON h.source = %(source)s AND h.document_id = i.document_id AND h.is_head
WHERE i.version IS NOT NULL AND (i.version < h.version OR %(own_first)s AND i.version > h.version);

-- name: decide
-- The fence (promise 3): judge every document of the batch against its head, tombstones included, by the rule of
-- corpus/prepare/fold.py. The columns written, deletes, expires_at, observed_at, acl and grants then hold batch and
-- head together, and language is never null: a version of Freshet that names none leaves the chunks as they are.
-- Decisions: `upsert`, `delete`: the winner becomes the head, also where it is the head sent again and prepared
-- otherwise now (`is_again`). `tombstone`: a delete without a version, of this batch or of one before, deletes the
-- document. `remembered`: only deletes without a version are known of it. `renewed`: the head's version was sent again
-- with a later end, with another access list, or after it expired; its content stays. `ended`: the same, but the
-- document stays withdrawn: its end has passed, or it was not sent after it expired. A head whose content was purged is
-- opened with that of the event (`upsert`). `unchanged`: the winner is the head sent again. `superseded`: the head
-- stands. `gone`: the head is a tombstone and stays one; `gone_again`: and the winner is the same delete.
WITH met AS (
    SELECT i.document_id, i.op, i.version, h.document_key AS head_key, h.kind AS head_kind,
           coalesce(h.end_reason = 'expired', false) AS is_expired, h.expires_at AS head_expires_at,
           h.observed_at AS head_observed_at, freshet.written_of(h) AS head_written,
           h.first_record AS head_first_record, i.first_record::jsonb AS first_record,
           coalesce(i.is_again, false) AND h.pipeline <> coalesce(i.pipeline, %(pipeline)s) AS is_again,
           h.purged_at IS NOT NULL AS is_purged,
           h.acl AS head_acl, freshet.grants_of(h) AS head_grants, i.acl,
           CASE WHEN i.grants IS NOT NULL THEN i.grants::jsonb
                WHEN i.op = 'upsert' THEN freshet.grants_from(i.written::jsonb, i.acl) END AS grants,
           i.written::jsonb AS written, i.expires_at,
           CASE WHEN compared.rank >= 0 THEN i.version ELSE coalesce(h.version, -1) END AS new_version,
           CASE WHEN h.deletes IS NULL THEN i.deletes::jsonb WHEN i.deletes IS NULL THEN h.deletes
                ELSE freshet.latest(h.deletes, i.deletes::jsonb) END AS deletes,
           -- A delete may stand for a version of which other records are upserts.
           CASE WHEN i.op = 'upsert' OR i.observed_at IS NOT NULL
                THEN least(coalesce(i.observed_at, %(published_at)s), %(published_at)s)
           END AS observed_at,
           NOT freshet.yields(h.first_record) AND CASE i.op
               WHEN 'delete' THEN h.kind = 'tombstone'
               WHEN 'upsert' THEN h.kind = 'document' AND h.content_sha256 = i.content_sha256
                   AND (h.uri, h.title, h.content_type) IS NOT DISTINCT FROM (i.uri, i.title, i.content_type)
                   -- A version of before the migration does not know what its event named.
                   AND (h.language_from IS NULL OR h.stated_language IS NOT DISTINCT FROM i.stated_language)
                   AND h.metadata = coalesce(i.metadata, '{}')::jsonb
               ELSE false END AS says_the_same,
           freshet.yields(h.first_record) AND compared.rank = 0 OR compared.rank > 0 AS replaces,
           CASE WHEN compared.rank < 0 THEN 'older'
                WHEN compared.rank > 0 THEN 'newer'
                WHEN i.first_record::jsonb < h.first_record THEN 'earlier'
                -- A backfill, or a copy of what it read: the head's own record, which may say something else now.
                WHEN (%(again)s OR i.is_copy) AND i.first_record::jsonb = h.first_record
                    AND h.end_reason IS DISTINCT FROM 'expired'
                THEN 'earlier'
                ELSE 'later' END AS rank,
           coalesce(
               i.language, CASE WHEN i.reuse_key = h.document_key THEN freshet.language_of(h) END, %(language)s
           ) AS language
    FROM incoming_document i
    LEFT JOIN freshet.document h ON h.source = %(source)s AND h.document_id = i.document_id AND h.is_head
    CROSS JOIN LATERAL (
        SELECT CASE WHEN i.version IS NULL THEN -1
                    WHEN h.document_key IS NULL THEN 1
                    WHEN i.version = h.version THEN 0
                    WHEN %(own_first)s AND freshet.is_own(i.version, i.written::jsonb)
                         <> freshet.is_own(h.version, freshet.written_of(h))
                    THEN CASE WHEN freshet.is_own(i.version, i.written::jsonb) THEN 1 ELSE -1 END
                    WHEN i.version < h.version THEN -1
                    ELSE 1 END AS rank
    ) compared
), granted AS (
    -- Of the upserts of a version, the one that was written last says who may read it.
    SELECT m.*, CASE rank WHEN 'newer' THEN m.grants WHEN 'older' THEN head_grants
                          ELSE freshet.latest_grants(head_grants, m.grants) END AS all_grants
    FROM met m
), merged AS (
    SELECT document_id, op, head_key, head_kind, is_expired, head_expires_at, head_observed_at, new_version,
           says_the_same, deletes, language, is_again, is_purged, head_first_record, first_record, acl AS stated_acl,
           head_acl,
           -- A version that was only deleted says nothing of who may read what was there before.
           CASE WHEN rank = 'older' OR coalesce(all_grants, '{}') = '{}' THEN head_acl
                ELSE freshet.granted_acl(all_grants) END AS acl,
           coalesce(all_grants, '{}') AS grants,
           CASE WHEN rank = 'earlier' AND says_the_same THEN 'later' ELSE rank END AS rank,
           CASE WHEN replaces THEN written WHEN rank = 'older' THEN head_written
                ELSE freshet.earliest(head_written, written) END AS written,
           CASE WHEN replaces THEN expires_at WHEN rank = 'older' THEN head_expires_at
                ELSE greatest(head_expires_at, expires_at) END AS expires_at,
           CASE WHEN replaces THEN observed_at
                WHEN rank = 'older' OR head_kind = 'tombstone' THEN head_observed_at
                ELSE greatest(head_observed_at, observed_at) END AS observed_at
    FROM granted
), known AS MATERIALIZED (
    -- Not by the number in the head: it may be of before access lists had numbers, and what is withheld has another.
    SELECT m.*, freshet.access_of(%(source)s, acl) AS access_id,
           freshet.access_of(%(source)s, head_acl) AS known_access
    FROM merged m
), judged AS (
    SELECT m.*, head_kind = 'document' AND access_id IS DISTINCT FROM known_access AS is_regranted,
           freshet.access_of(%(source)s, stated_acl) IS NOT DISTINCT FROM access_id AS acl_stands,
           CASE WHEN deletes IS NOT NULL THEN freshet.deleting(written, deletes) END IS NOT NULL AS is_deleted,
           CASE WHEN is_expired
                THEN (observed_at > head_observed_at OR expires_at IS DISTINCT FROM head_expires_at)
                    AND coalesce(
                        coalesce(expires_at, observed_at + make_interval(secs => %(expire_after)s::double precision))
                            > %(published_at)s,
                        true
                    )
                ELSE expires_at IS DISTINCT FROM head_expires_at
                    OR head_kind = 'document' AND access_id IS DISTINCT FROM known_access END AS is_renewed,
           is_again AND rank = 'later' AND says_the_same AND NOT is_expired AS is_prepared_again
    FROM known m
)
UPDATE incoming_document i
SET head_key = j.head_key,
    new_version = j.new_version,
    written = j.written::text,
    deletes = j.deletes::text,
    expires_at = j.expires_at,
    observed_at = j.observed_at,
    first_record = CASE WHEN j.is_prepared_again THEN least(j.head_first_record, j.first_record)::text
                        ELSE i.first_record END,
    says_the_same = j.says_the_same IS TRUE,
    acl = j.acl,
    grants = j.grants::text,
    access_id = j.access_id,
    is_regranted = j.rank IN ('later', 'earlier') AND j.is_regranted,
    acl_stands = j.acl_stands,
    language = j.language,
    decision = CASE
        WHEN j.rank IN ('newer', 'earlier') AND NOT j.is_deleted THEN j.op
        WHEN j.head_key IS NULL AND j.op IS NULL THEN 'remembered'
        WHEN j.head_kind = 'tombstone' AND j.rank = 'later' AND j.op = 'delete' THEN 'gone_again'
        WHEN j.head_kind = 'tombstone' THEN 'gone'
        WHEN j.is_deleted THEN 'tombstone'
        WHEN j.is_prepared_again THEN 'upsert'
        WHEN j.rank = 'later' AND j.is_renewed AND j.is_purged
        THEN CASE j.op WHEN 'upsert' THEN 'upsert' ELSE 'superseded' END
        WHEN j.rank = 'later' AND j.is_renewed THEN 'renewed'
        WHEN j.rank = 'later' AND (j.expires_at IS DISTINCT FROM j.head_expires_at OR j.is_regranted) THEN 'ended'
        WHEN j.rank = 'later' AND j.says_the_same AND NOT j.is_expired THEN 'unchanged'
        ELSE 'superseded' END
FROM judged j WHERE j.document_id = i.document_id;

-- name: analyze_decided
-- Decisions for the planner: when it believes them rare, opening documents becomes quadratic (3,000 documents: 2.1 s
-- instead of 0.07 s).
ANALYZE incoming_document;

-- name: stale_preparation
-- Documents whose preparation used a row of the corpus that has changed since. After a restore, a key may be that of
-- another row, so that the row is compared, too. Columns that an event left out are those of the head it was read with.
SELECT count(*) AS documents, min(i.document_id) AS example FROM incoming_document i
LEFT JOIN freshet.document h ON h.document_key = i.reuse_key AND h.is_head AND h.visible_to IS NULL
    AND h.source = %(source)s AND h.document_id = i.document_id AND h.space_id = %(space_id)s
    AND h.cleaned_sha256 = i.cleaned_sha256
WHERE i.decision = 'upsert' AND (i.cleaned_sha256 IS NULL OR (i.reuse_key IS NOT NULL AND h.document_key IS NULL))
   OR i.decision IN ('upsert', 'delete') AND i.taken_from <> coalesce(i.head_key, 0);

-- name: close_chunks
-- Close the chunks that the new versions do not contain, those that are indexed in another language than theirs, and
-- those that stand below other headings now: a chunk's search text has its headings, and the name of its part. One
-- whose headings are not known yet stays; `rebuild_search_texts` finds them out.
WITH placed AS MATERIALIZED (
    SELECT document_id, text_sha256,
           freshet.headings_of(array_agg(concat_ws(' > ', part_name, heading))) AS headings
    FROM incoming_chunk GROUP BY document_id, text_sha256
)
UPDATE freshet.chunk c SET visible_to = %(published_at)s, end_batch = %(batch)s
FROM incoming_document i
WHERE c.source = %(source)s AND c.document_id = i.document_id AND c.visible_to IS NULL
  AND i.decision IN ('upsert', 'delete', 'tombstone')
  AND (i.decision <> 'upsert' OR coalesce(c.language, %(language)s) <> i.language
       OR i.reuse_key IS NULL AND (
           c.space_id <> %(space_id)s
           -- By IN, which looks a chunk up by a hash: EXISTS would compare each chunk with each chunk of the batch.
           OR CASE WHEN c.headings IS NULL
                   THEN (c.document_id, c.text_sha256) NOT IN (SELECT document_id, text_sha256 FROM placed)
                   ELSE (c.document_id, c.text_sha256, c.headings)
                        NOT IN (SELECT document_id, text_sha256, headings FROM placed) END
       ));

-- name: open_chunks
-- Open the chunks that are new, with their vectors; the places of one text in a document are one chunk. A vector is in
-- the embedding store until a chunk holds it, and is then found there: both are looked at in one snapshot, so it does
-- not matter who publishes it meanwhile. A text without one ends the transaction (FR005).
WITH p AS MATERIALIZED (  -- once, and not for each chunk
    SELECT coalesce(freshet.stores_half(%(space_id)s::smallint), false) AS stores_half
)
INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, truncated, headings, search_text,
    language, space_id, dimensions, embedding, embedding_half, vector_hash, visible_from, batch, access_id)
SELECT %(source)s, k.document_id, k.text_sha256, k.text, k.token_count, k.truncated, k.headings,
       freshet.search_text(k.language::regconfig, k.text, k.headings), k.language,
       coalesce(v.space_id, freshet.missing_vector(k.text_sha256)), v.dimensions,
       CASE WHEN NOT p.stores_half THEN v.embedding END,
       CASE WHEN p.stores_half THEN coalesce(v.embedding_half, v.embedding::halfvec) ELSE v.embedding_half END,
       CASE WHEN p.stores_half AND v.embedding IS NOT NULL THEN freshet.narrowed_hash(v.vector_hash, v.embedding)
            ELSE v.vector_hash END,
       %(published_at)s, %(batch)s, k.access_id
FROM p CROSS JOIN (
    SELECT k.document_id, k.text_sha256, i.language, i.access_id, min(k.text) AS text,
           min(k.token_count) AS token_count, bool_or(k.truncated) AS truncated,
           freshet.headings_of(array_agg(concat_ws(' > ', k.part_name, k.heading))) AS headings,
           min(k.ordinal) AS ordinal
    FROM incoming_chunk k
    JOIN incoming_document i USING (document_id)
    WHERE i.decision = 'upsert' AND i.reuse_key IS NULL
    GROUP BY k.document_id, k.text_sha256, i.language, i.access_id
) k
LEFT JOIN LATERAL (
    SELECT e.space_id, e.dimensions, e.embedding, NULL::halfvec AS embedding_half,
           freshet.hash_of_vector(e.embedding) AS vector_hash
    FROM freshet.embedding e WHERE e.space_id = %(space_id)s AND e.text_sha256 = k.text_sha256
    UNION ALL
    SELECT c.space_id, c.dimensions, c.embedding, c.embedding_half, c.vector_hash
    FROM freshet.chunk c
    WHERE c.space_id = %(space_id)s AND c.text_sha256 = k.text_sha256 AND c.has_wrong_vector IS NULL
    LIMIT 1
) v ON true
WHERE NOT EXISTS (
    SELECT FROM freshet.chunk c
    WHERE c.source = %(source)s AND c.document_id = k.document_id AND c.text_sha256 = k.text_sha256
      AND c.space_id = %(space_id)s AND c.visible_to IS NULL
)
ORDER BY k.document_id, k.ordinal;  -- hits of equal score come in the order of their chunks' numbers

-- name: forget_held_vectors
-- The embedding store forgets the vectors that the batch's chunks hold now: each is stored once. One that another
-- publish forgets at this moment is left to it; should that fail, a purge finds it.
WITH held AS (
    SELECT e.space_id, e.text_sha256 FROM freshet.embedding e
    WHERE freshet.finds_vectors_of_chunks() AND e.space_id = %(space_id)s AND e.text_sha256 IN (
        SELECT k.text_sha256 FROM incoming_chunk k
        JOIN incoming_document i USING (document_id)
        WHERE i.decision = 'upsert' AND i.reuse_key IS NULL
    )
    FOR UPDATE SKIP LOCKED
)
DELETE FROM freshet.embedding e USING held
WHERE e.space_id = held.space_id AND e.text_sha256 = held.text_sha256;

-- name: reindex_chunks
-- Open the chunks again that stay in a document whose language is another now, with their vectors; returns how many.
WITH opened AS (
    INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, truncated, headings, search_text,
        language, space_id, dimensions, embedding, embedding_half, vector_hash, has_wrong_vector, visible_from,
        batch, access_id)
    SELECT c.source, c.document_id, c.text_sha256, c.text, c.token_count, c.truncated, c.headings,
           freshet.search_text(i.language::regconfig, c.text, c.headings), i.language, c.space_id, c.dimensions,
           c.embedding, c.embedding_half, c.vector_hash, c.has_wrong_vector, %(published_at)s, %(batch)s, i.access_id
    FROM incoming_document i
    JOIN freshet.document h ON h.document_key = i.reuse_key
    JOIN freshet.chunk c ON c.chunk_id = ANY(h.chunk_ids) AND coalesce(c.language, %(language)s) <> i.language
    WHERE i.decision = 'upsert'
    RETURNING document_id
), noted AS (
    UPDATE incoming_document i SET is_reindexed = true
    WHERE i.document_id IN (SELECT document_id FROM opened)
)
SELECT count(*) AS chunks FROM opened;

-- name: note_languages
-- Which dictionaries searches of the source need from now on.
INSERT INTO freshet.source_language (source, language)
SELECT DISTINCT %(source)s, i.language FROM incoming_document i
WHERE i.decision = 'upsert' AND i.language <> %(language)s
ON CONFLICT DO NOTHING;

-- name: reopen_chunks
-- Open the chunks of expired versions that were sent again: as they were, with their vectors.
INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, truncated, headings, search_text,
    language, space_id, dimensions, embedding, embedding_half, vector_hash, has_wrong_vector, visible_from, batch,
    access_id)
SELECT c.source, c.document_id, c.text_sha256, c.text, c.token_count, c.truncated, c.headings, c.search_text,
       c.language, c.space_id, c.dimensions, c.embedding, c.embedding_half, c.vector_hash, c.has_wrong_vector,
       %(published_at)s, %(batch)s, i.access_id
FROM incoming_document i
JOIN freshet.document h ON h.document_key = i.head_key AND h.visible_to IS NOT NULL
JOIN freshet.chunk c ON c.chunk_id = ANY(h.chunk_ids)
WHERE i.decision = 'renewed';

-- name: count_reused
-- Chunks that stay as they are in new document versions.
SELECT count(*) AS chunks FROM freshet.chunk c JOIN incoming_document i ON i.document_id = c.document_id
WHERE c.source = %(source)s AND i.decision IN ('upsert', 'renewed') AND c.visible_to IS NULL
  AND c.visible_from < %(published_at)s;

-- name: close_heads
-- Close the versions that were the newest until now.
UPDATE freshet.document d
SET is_head = false,
    end_batch = CASE WHEN d.visible_to IS NULL THEN %(batch)s ELSE d.end_batch END,
    end_reason = coalesce(
        d.end_reason, CASE WHEN i.decision IN ('upsert', 'renewed') THEN 'replaced' ELSE 'deleted' END
    ),
    visible_to = coalesce(d.visible_to, %(published_at)s)
FROM incoming_document i
WHERE d.document_key = i.head_key AND i.decision IN ('upsert', 'delete', 'tombstone', 'renewed', 'ended');

-- name: open_documents
-- Open the new versions, with their chunks in reading order.
INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, uri, title, content_type,
    metadata, acl, raw_sha256, content_sha256, cleaned_sha256, content_bytes, pipeline, space_id, chunk_ids,
    chunk_starts, chunk_headings, event_at, observed_at, verified_at, expires_at, batch, topic, partition,
    record_offset, received_characters, kept_characters, dropped, tokens, unknown_tokens, unknown_characters, language,
    language_from, language_note, stated_language, first_record, grants, written, deletes,
    notes, parts)
SELECT %(source)s, i.document_id, i.new_version, 'document', true, %(published_at)s, i.uri, i.title, i.content_type,
       coalesce(i.metadata, '{}')::jsonb, i.acl, i.raw_sha256, i.content_sha256, i.cleaned_sha256, i.content_bytes,
       coalesce(h.pipeline, i.pipeline, %(pipeline)s), %(space_id)s,
       coalesce(again.chunk_ids, h.chunk_ids, p.chunk_ids, '{}'),
       coalesce(h.chunk_starts, p.chunk_starts, '{}'), coalesce(h.chunk_headings, p.chunk_headings, '{}'),
       i.event_at, i.observed_at,
       CASE WHEN i.fetched IS NULL THEN before.verified_at ELSE %(published_at)s END,  -- its origin has it now
       i.expires_at, %(batch)s, i.topic, i.partition, i.record_offset,
       coalesce(i.received_characters, h.received_characters), coalesce(i.kept_characters, h.kept_characters),
       coalesce(i.dropped::jsonb, h.dropped), coalesce(i.tokens, h.tokens),
       coalesce(i.unknown_tokens, h.unknown_tokens), coalesce(i.unknown_characters, h.unknown_characters),
       i.language, i.language_from, i.language_note, i.stated_language,
       i.first_record::jsonb, i.grants::jsonb, i.written::jsonb, i.deletes::jsonb,
       coalesce(i.notes::jsonb, h.notes), coalesce(i.parts::jsonb, h.parts)
FROM incoming_document i
LEFT JOIN freshet.document h ON h.document_key = i.reuse_key
LEFT JOIN freshet.document before
    ON before.document_key = i.head_key AND before.version = i.new_version AND i.is_again
LEFT JOIN LATERAL (
    SELECT array_agg(coalesce(o.chunk_id, c.chunk_id) ORDER BY place.n) AS chunk_ids
    FROM unnest(h.chunk_ids) WITH ORDINALITY AS place (chunk_id, n)
    JOIN freshet.chunk c ON c.chunk_id = place.chunk_id
    LEFT JOIN freshet.chunk o ON o.source = c.source AND o.document_id = c.document_id
        AND o.text_sha256 = c.text_sha256 AND o.space_id = c.space_id AND o.visible_to IS NULL
    WHERE i.is_reindexed
) again ON true
LEFT JOIN (
    SELECT k.document_id,
           array_agg(c.chunk_id ORDER BY k.ordinal) AS chunk_ids,
           array_agg(k.start ORDER BY k.ordinal) AS chunk_starts,
           array_agg(coalesce(k.heading, '') ORDER BY k.ordinal) AS chunk_headings
    FROM incoming_chunk k
    JOIN freshet.chunk c ON c.source = %(source)s AND c.document_id = k.document_id AND c.text_sha256 = k.text_sha256
                        AND c.space_id = %(space_id)s AND c.visible_to IS NULL
    GROUP BY k.document_id
) p ON p.document_id = i.document_id
WHERE i.decision = 'upsert';

-- name: keep_columns
-- The large columns of the versions that the batch opens, in place of those of the version before. Those of a deleted
-- document stay until it is purged: a document whose key changed is deleted, and comes back under another id. Of one
-- that was deleted before, a newer version may have come and gone within the batch.
INSERT INTO freshet.kept_columns (source, document_id, columns, kept_at, is_deleted, tombstone)
SELECT %(source)s, i.document_id, i.kept_columns, %(published_at)s, i.decision <> 'upsert',
       CASE WHEN i.decision IN ('tombstone', 'gone') THEN i.tombstone::jsonb END
FROM incoming_document i
WHERE i.kept_columns IS NOT NULL
  AND (i.decision IN ('upsert', 'delete', 'tombstone')
       OR i.decision = 'gone'
           AND i.version > (SELECT h.version FROM freshet.document h WHERE h.document_key = i.head_key))
  AND NOT (i.decision IN ('tombstone', 'gone') AND i.tombstone IS NOT DISTINCT FROM '[]')
ON CONFLICT (source, document_id)
DO UPDATE SET columns = excluded.columns, kept_at = excluded.kept_at, is_deleted = excluded.is_deleted,
    tombstone = excluded.tombstone;

-- name: keep_deleted_columns
-- From when on the columns of deleted documents may be purged, and which tombstone deleted them. Where a newer delete
-- follows a delete, what was written between them could not be used, and what is kept is of before: no row may be
-- completed with it. A tombstone that names the same next document is the one before, sent again; `[]` stands for
-- several different ones.
WITH outdated AS (
    DELETE FROM freshet.kept_columns k
    USING incoming_document i JOIN freshet.document h ON h.document_key = i.head_key
    WHERE k.source = %(source)s AND k.document_id = i.document_id
      AND (k.is_deleted AND i.kept_columns IS NULL AND i.decision = 'delete'
           AND h.kind = 'tombstone' AND h.version < i.new_version
           OR i.decision IN ('tombstone', 'gone') AND i.tombstone = '[]'
           OR k.is_deleted AND i.decision = 'gone' AND (i.tombstone::jsonb ->> 2)::bigint > (k.tombstone ->> 2)::bigint
              AND NOT coalesce(i.tombstone::jsonb ->> 3 = k.tombstone ->> 3, false))
)
UPDATE freshet.kept_columns k SET is_deleted = true, kept_at = %(published_at)s,
    tombstone = CASE i.decision WHEN 'tombstone' THEN i.tombstone::jsonb END
FROM incoming_document i
WHERE k.source = %(source)s AND k.document_id = i.document_id AND i.decision IN ('delete', 'tombstone')
  AND NOT k.is_deleted AND i.tombstone IS DISTINCT FROM '[]';

-- name: keep_fetched
-- How the versions that the batch opens were fetched, in place of how the versions before were.
WITH gone AS (
    DELETE FROM freshet.fetched f USING incoming_document i
    WHERE f.source = %(source)s AND f.document_id = i.document_id
      AND (i.decision IN ('delete', 'tombstone') OR i.decision = 'upsert' AND i.fetched IS NULL)
)
INSERT INTO freshet.fetched (source, document_id, host, url_sha256, url, content_sha256, etag, last_modified,
    fetched_at)
SELECT %(source)s, i.document_id, f.host, decode(f.url_sha256, 'hex'), f.url, i.content_sha256, f.etag, f.last_modified,
       %(published_at)s
FROM incoming_document i
CROSS JOIN LATERAL jsonb_to_record(i.fetched::jsonb)
    AS f (host text, url_sha256 text, url text, etag text, last_modified text)
WHERE i.decision = 'upsert' AND i.fetched IS NOT NULL
ON CONFLICT (source, document_id)
DO UPDATE SET host = excluded.host, url_sha256 = excluded.url_sha256, url = excluded.url,
    content_sha256 = excluded.content_sha256, etag = excluded.etag, last_modified = excluded.last_modified,
    fetched_at = excluded.fetched_at, asked_at = NULL, answer = NULL, backfill = NULL, read_again = 0;

-- name: text_account
-- What became of the text of the versions that the batch opens: sums, how many documents lost all or much of it, and
-- how many have their source's language since no other was known; of the notes, sums of numbers, and how many documents
-- have each of the others. Versions from before the account was kept have none
-- and are in no sum.
WITH opened AS (
    SELECT received_characters, kept_characters, dropped, tokens, unknown_tokens, unknown_characters, language_note,
           notes, freshet.readable_characters(received_characters, dropped) AS readable_characters
    FROM freshet.document
    WHERE source = %(source)s AND batch = %(batch)s AND kind = 'document'
)
SELECT coalesce(sum(received_characters), 0)::bigint AS received_characters,
       coalesce(sum(kept_characters), 0)::bigint AS kept_characters,
       coalesce(sum(tokens), 0)::bigint AS tokens,
       coalesce(sum(unknown_tokens), 0)::bigint AS unknown_tokens,
       coalesce(sum(unknown_characters), 0)::bigint AS unknown_characters,
       count(*) FILTER (
           WHERE unknown_characters > kept_characters * %(max_unknown_ratio)s::double precision
       ) AS documents_unknown,
       count(*) FILTER (WHERE kept_characters = 0 AND readable_characters > 0) AS documents_empty,
       count(*) FILTER (
           WHERE kept_characters < readable_characters * %(min_kept_ratio)s::double precision
       ) AS documents_lossy,
       count(*) FILTER (WHERE language_note = 'unknown') AS languages_unknown,
       count(*) FILTER (WHERE language_note = 'unsure') AS languages_unsure,
       coalesce((
           SELECT json_object_agg(rule, characters) FROM (
               SELECT rule, sum(dropped_characters::bigint) AS characters
               FROM opened, jsonb_each_text(dropped) AS each_rule (rule, dropped_characters) GROUP BY rule
           ) per_rule
       ), '{}')::text AS dropped,
       coalesce((
           SELECT json_object_agg(note, amount) FROM (
               SELECT note, sum(CASE jsonb_typeof(noted) WHEN 'number' THEN noted::bigint ELSE 1 END) AS amount
               FROM opened, jsonb_each(notes) AS each_note (note, noted) GROUP BY note
           ) per_note
       ), '{}')::text AS notes
FROM opened;

-- name: open_renewed
-- Open versions again that were sent again: with their content, and what the records of the version add to it. The
-- record that is named is the new one where it says the same, else the one whose content it is.
INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, uri, title, content_type,
    metadata, acl, raw_sha256, content_sha256, cleaned_sha256, content_bytes, pipeline, space_id, chunk_ids,
    chunk_starts, chunk_headings, event_at, observed_at, verified_at, expires_at, batch, topic, partition,
    record_offset, received_characters, kept_characters, dropped, tokens, unknown_tokens, unknown_characters, language,
    language_from, language_note, stated_language, first_record, grants, written, deletes,
    notes, parts)
SELECT h.source, h.document_id, h.version, 'document', true, %(published_at)s, h.uri, h.title, h.content_type,
       h.metadata, i.acl, h.raw_sha256, h.content_sha256, h.cleaned_sha256, h.content_bytes, h.pipeline, h.space_id,
       ARRAY(
           SELECT coalesce(o.chunk_id, c.chunk_id) FROM unnest(h.chunk_ids) WITH ORDINALITY AS place (chunk_id, n)
           JOIN freshet.chunk c ON c.chunk_id = place.chunk_id
           LEFT JOIN freshet.chunk o ON o.source = c.source AND o.document_id = c.document_id
               AND o.text_sha256 = c.text_sha256 AND o.space_id = c.space_id AND o.visible_to IS NULL
           ORDER BY place.n
       ),
       h.chunk_starts, h.chunk_headings, h.event_at, i.observed_at, h.verified_at, i.expires_at, %(batch)s,
       named.topic, named.partition, named.record_offset, h.received_characters, h.kept_characters, h.dropped,
       h.tokens, h.unknown_tokens, h.unknown_characters, h.language, h.language_from, h.language_note,
       h.stated_language,
       least(h.first_record, CASE WHEN named.is_new THEN i.first_record::jsonb END), i.grants::jsonb,
       i.written::jsonb, i.deletes::jsonb, h.notes, h.parts
FROM incoming_document i
JOIN freshet.document h ON h.document_key = i.head_key
CROSS JOIN LATERAL (
    SELECT true AS is_new, i.topic, i.partition, i.record_offset WHERE i.says_the_same
    UNION ALL
    SELECT false, h.topic, h.partition, h.record_offset WHERE NOT i.says_the_same
) named
WHERE i.decision = 'renewed';

-- name: open_ended
-- Give withdrawn versions their later end, which has passed, too: in a row that was never visible, since what a search
-- as of an instant before the withdrawal returns follows from the end that was known then.
INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, visible_to, end_reason,
    end_detail, uri, title, content_type, metadata, acl, raw_sha256, content_sha256, cleaned_sha256, content_bytes,
    pipeline, space_id, chunk_ids, chunk_starts, chunk_headings, event_at, observed_at, verified_at, expires_at, batch,
    topic, partition, record_offset, received_characters, kept_characters, dropped, tokens, unknown_tokens,
    unknown_characters, language, language_from, language_note, stated_language, first_record, grants, written,
    deletes, purged_at, notes, parts)
SELECT h.source, h.document_id, h.version, h.kind, true, h.visible_to, h.visible_to, h.end_reason, h.end_detail, h.uri,
       h.title, h.content_type, h.metadata, i.acl, h.raw_sha256, h.content_sha256, h.cleaned_sha256, h.content_bytes,
       h.pipeline, h.space_id, h.chunk_ids, h.chunk_starts, h.chunk_headings, h.event_at, i.observed_at, h.verified_at,
       i.expires_at, h.batch, h.topic, h.partition, h.record_offset, h.received_characters, h.kept_characters,
       h.dropped, h.tokens, h.unknown_tokens, h.unknown_characters, h.language, h.language_from, h.language_note,
       h.stated_language, h.first_record, i.grants::jsonb, i.written::jsonb, i.deletes::jsonb, h.purged_at,
       h.notes, h.parts
FROM incoming_document i
JOIN freshet.document h ON h.document_key = i.head_key
WHERE i.decision = 'ended';

-- name: open_tombstones
-- Remember deletions: under their own version, or under the version that they deleted. Lineage names the record that
-- deletes: of the marks, if the version has none of its own. Counts those whose document is known; a delete of what was
-- never there is remembered under version -1, since a record that was written before it may still come.
WITH opened AS (
    INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, visible_to, end_reason,
        end_batch, metadata, acl, raw_sha256, event_at, observed_at, batch, topic, partition, record_offset,
        first_record, grants, written, deletes)
    SELECT %(source)s, i.document_id, i.new_version, 'tombstone', true, %(published_at)s, %(published_at)s, 'deleted',
           %(batch)s, '{}', i.acl, CASE WHEN own.is_named THEN i.raw_sha256 END,
           CASE WHEN own.is_named THEN i.event_at END,
           least(
               coalesce(CASE WHEN own.is_named THEN i.record_at ELSE marked.at END, %(published_at)s),
               %(published_at)s
           ),
           %(batch)s, CASE WHEN own.is_named THEN i.topic ELSE split_part(marked.log, '/', 1) END,
           CASE WHEN own.is_named THEN i.partition ELSE split_part(marked.log, '/', 2)::integer END,
           CASE WHEN own.is_named THEN i.record_offset ELSE marked.record_offset END,
           CASE i.decision WHEN 'delete' THEN i.first_record::jsonb END, i.grants::jsonb, i.written::jsonb,
           i.deletes::jsonb
    FROM incoming_document i
    CROSS JOIN LATERAL (SELECT i.decision <> 'tombstone' AS is_named) own
    LEFT JOIN LATERAL (
        SELECT d.log, (i.deletes::jsonb -> d.log ->> 0)::bigint AS record_offset,
               to_timestamp(((i.deletes::jsonb -> d.log ->> 1)::bigint >> 20) / 1000.0) AS at
        FROM (SELECT freshet.deleting(i.written::jsonb, i.deletes::jsonb) AS log) d
    ) marked ON NOT own.is_named
    WHERE i.decision IN ('delete', 'tombstone', 'remembered')
    RETURNING version
)
SELECT count(*) FILTER (WHERE version >= 0) - (
    SELECT count(*) FROM incoming_document WHERE head_key IS NULL AND decision = 'delete'
) AS documents FROM opened;

-- name: observe_heads
-- What records that did not become the head add to it: when it was last observed, and what later records are compared
-- with. Of a tombstone also the greatest version that it deletes, and who may read what it deletes.
UPDATE freshet.document d
SET observed_at = coalesce(i.observed_at, d.observed_at),
    version = i.new_version,
    first_record = CASE
        WHEN i.new_version <> d.version THEN NULL
        WHEN i.decision IN ('unchanged', 'gone_again') THEN least(d.first_record, i.first_record::jsonb)
        ELSE d.first_record END,
    written = coalesce(i.written::jsonb, d.written),
    grants = i.grants::jsonb,
    acl = i.acl,
    access_id = i.access_id,
    deletes = i.deletes::jsonb
FROM incoming_document i
WHERE d.document_key = i.head_key AND i.decision IN ('unchanged', 'superseded', 'gone', 'gone_again')
  AND (i.observed_at > d.observed_at OR i.new_version <> d.version
       OR i.written::jsonb IS DISTINCT FROM d.written OR i.deletes::jsonb IS DISTINCT FROM d.deletes
       OR i.grants::jsonb IS DISTINCT FROM freshet.grants_of(d)
       OR (i.decision IN ('unchanged', 'gone_again') AND i.first_record::jsonb < d.first_record));

-- name: settle_events
-- The final outcome of every event (promise 4): of the newest delete without a version, of the winner, of the one that
-- says who may read, and of the winner sent again, which is unchanged only where the head says what it says. An event
-- that changes who may read is applied.
UPDATE incoming_event e
SET outcome = CASE
        WHEN (e.topic, e.partition, e.record_offset) = (i.tombstone_topic, i.tombstone_partition, i.tombstone_offset)
        THEN CASE
            WHEN i.decision = 'tombstone' THEN 'applied'
            WHEN i.decision IN ('remembered', 'gone', 'gone_again') THEN 'unchanged'
            ELSE 'superseded' END
        WHEN e.outcome = 'unchanged' THEN 'superseded'
        ELSE CASE
            WHEN i.decision IN ('upsert', 'delete') THEN 'applied'
            WHEN i.decision = 'renewed' AND i.op = 'upsert' THEN 'applied'
            WHEN i.decision = 'tombstone' AND i.tombstone_offset IS NULL THEN 'applied'
            WHEN i.decision = 'ended' AND i.is_regranted THEN 'applied'
            WHEN i.decision = 'gone_again' OR i.decision = 'unchanged' AND i.acl_stands THEN 'unchanged'
            ELSE 'superseded' END
        END
FROM incoming_document i
WHERE e.document_id = i.document_id
  AND (e.outcome = 'event'
       OR (e.outcome = 'unchanged' AND (i.decision IN ('superseded', 'ended')
                                        OR (i.decision = 'renewed' AND NOT i.says_the_same)
                                        OR (i.decision = 'unchanged' AND NOT i.acl_stands))));

-- name: count_events
-- Outcomes of a batch.
SELECT outcome, count(*) AS events FROM incoming_event GROUP BY outcome;

-- name: insert_dead_letters
-- Keep the events that cannot be used, with their bytes. One that was read before and is kept keeps its row, also where
-- a person has discarded it. One that was redriven, or mended by a backfill, fails anew: it has an open row again.
INSERT INTO freshet.dead_letter (source, batch, topic, partition, record_offset, document_id, reason, detail, key,
    value, headers, record_at, topic_id, access_id, version)
SELECT %(source)s, %(batch)s, e.topic, e.partition, e.record_offset, e.document_id, e.reason, coalesce(e.detail, ''),
       e.key, e.value, coalesce(e.headers, '[]')::jsonb, e.record_at, p.topic_id,
       freshet.stated_access(%(source)s, e.value, e.headers), e.version
FROM incoming_event e
LEFT JOIN freshet.source_position p
    ON p.source = %(source)s AND p.topic = e.topic AND p.partition = e.partition
WHERE e.outcome = 'dead_letter' AND NOT EXISTS (
    SELECT FROM freshet.dead_letter l
    WHERE l.source = %(source)s AND l.topic = e.topic AND l.partition = e.partition
      AND l.record_offset = e.record_offset AND l.topic_id = p.topic_id AND l.state <> 'redriven'
);

-- name: insert_waiting_fetches
-- The dead letters of the batch that are tried again by themselves.
INSERT INTO freshet.waiting_fetch (dead_letter, source, host, waits_since, retry_at)
SELECT l.dead_letter, l.source, e.waits_for, coalesce(e.waits_since_at, %(published_at)s),
       %(published_at)s::timestamptz + make_interval(secs => e.retry_seconds)
FROM incoming_event e
JOIN freshet.dead_letter l
    ON l.source = %(source)s AND l.batch = %(batch)s AND l.topic = e.topic AND l.partition = e.partition
   AND l.record_offset = e.record_offset
WHERE e.outcome = 'dead_letter' AND e.retry_seconds IS NOT NULL
ON CONFLICT (dead_letter) DO NOTHING;

-- name: count_embedded
-- Texts that were embedded for this batch, and for batches before it that failed. They are counted where they are
-- written, since a killed attempt reports nothing, and each is counted once.
WITH counted AS (DELETE FROM freshet.uncounted_texts WHERE source = %(source)s RETURNING texts)
SELECT coalesce(sum(texts), 0)::bigint AS texts FROM counted;

-- name: count_deletes_without_document
-- Documents of the batch that are deleted and were never there: their keys may name other documents than was meant.
SELECT count(*) AS documents FROM incoming_document WHERE head_key IS NULL AND decision IN ('delete', 'remembered');

-- name: insert_ledger
-- Write the batch to the ledger.
INSERT INTO freshet.batch (source, batch, kind, state, records, applied, unchanged, superseded, dead_lettered, ignored,
    documents_written, documents_deleted, documents_expired, chunks_opened, chunks_closed, chunks_reused,
    texts_embedded, reason, workflow_id, run_id, pipeline, space_id, staged_at, published_at, received_characters,
    kept_characters, dropped, tokens, unknown_tokens, documents_empty, documents_lossy, deletes_without_document,
    unknown_characters, documents_unknown, languages_unknown, languages_unsure, traceparent, notes)
VALUES (%(source)s, %(batch)s, %(kind)s, %(state)s, %(records)s, %(applied)s, %(unchanged)s, %(superseded)s,
    %(dead_lettered)s, %(ignored)s, %(documents_written)s, %(documents_deleted)s, %(documents_expired)s,
    %(chunks_opened)s, %(chunks_closed)s, %(chunks_reused)s, %(texts_embedded)s, %(reason)s, %(workflow_id)s,
    %(run_id)s, %(pipeline)s, %(space_id)s, %(staged_at)s, %(published_at)s, %(received_characters)s,
    %(kept_characters)s, %(dropped)s::jsonb, %(tokens)s, %(unknown_tokens)s, %(documents_empty)s,
    %(documents_lossy)s, %(deletes_without_document)s, %(unknown_characters)s, %(documents_unknown)s,
    %(languages_unknown)s, %(languages_unsure)s, %(traceparent)s, %(notes)s::jsonb);

-- name: insert_range
-- Write the offsets of the batch in one partition.
INSERT INTO freshet.batch_range (source, batch, topic, partition, epoch, first_offset, next_offset, records, topic_id)
SELECT source, %(batch)s, topic, partition, %(epoch)s, %(first_offset)s, %(next_offset)s, %(records)s, topic_id
  FROM freshet.source_position
 WHERE source = %(source)s AND topic = %(topic)s AND partition = %(partition)s;

-- name: move_position
-- The position moves with the effects (promise 5), and with it the newest record time; one in the future is no news.
-- Offsets without a record may be those of tombstones that compaction has removed, if the time since everything before
-- was known is longer than the topic keeps them (`ingest.consume.compaction`): the longest such time is kept.
UPDATE freshet.source_position
   SET next_offset = %(next_offset)s, updated_at = now(),
       hole_at = CASE WHEN %(absent)s > 0 THEN %(published_at)s ELSE hole_at END,
       hole_since = CASE
           WHEN %(absent)s > 0 AND freshet.unknown_for(source_position, %(published_at)s) > coalesce(hole_seconds, -1)
           THEN greatest(begun_at, newest_at, reconciled_at) ELSE hole_since END,
       hole_seconds = CASE
           WHEN %(absent)s > 0 THEN greatest(hole_seconds, freshet.unknown_for(source_position, %(published_at)s))
           ELSE hole_seconds END,
       newest_at = greatest(
           newest_at,
           (
               SELECT max(least(record_at, %(published_at)s)) FROM incoming_event
                WHERE topic = %(topic)s AND partition = %(partition)s AND record_at IS NOT NULL
           )
       )
 WHERE source = %(source)s AND topic = %(topic)s AND partition = %(partition)s AND next_offset = %(first_offset)s;

-- name: replace_outcomes
-- Forget what became of records that the batch has read again, after the position was moved back.
DELETE FROM freshet.record_outcome
 WHERE ctid = ANY(ARRAY(
     SELECT o.place FROM freshet.batch_range r
      CROSS JOIN LATERAL (  -- range by range, however many a batch of this number seems to have
          SELECT n.ctid AS place FROM freshet.record_outcome n
           WHERE n.source = r.source AND n.topic = r.topic AND n.partition = r.partition AND n.topic_id = r.topic_id
             AND n.first_offset >= r.first_offset AND n.first_offset < r.next_offset
          OFFSET 0
      ) o
      WHERE r.source = %(source)s AND r.batch = %(batch)s
 ));

-- name: insert_outcomes
-- Keep what became of every record, for waits: one row per partition.
INSERT INTO freshet.record_outcome (source, topic, partition, topic_id, first_offset, next_offset, batch, published_at,
    offsets, outcomes, ops, document_ids, versions, reasons)
SELECT r.source, r.topic, r.partition, r.topic_id, r.first_offset, r.next_offset, r.batch, %(published_at)s,
       coalesce(e.offsets, '{}'), coalesce(e.outcomes, '{}'), coalesce(e.ops, '{}'), coalesce(e.document_ids, '{}'),
       coalesce(e.versions, '{}'), coalesce(e.reasons, '{}')
  FROM freshet.batch_range r
  LEFT JOIN (
      SELECT topic, partition, array_agg(record_offset ORDER BY record_offset) AS offsets,
             array_agg(outcome ORDER BY record_offset) AS outcomes, array_agg(op ORDER BY record_offset) AS ops,
             array_agg(document_id ORDER BY record_offset) AS document_ids,
             array_agg(version ORDER BY record_offset) AS versions,
             array_agg(reason ORDER BY record_offset) AS reasons
        FROM incoming_event GROUP BY topic, partition
  ) e ON e.topic = r.topic AND e.partition = r.partition
 WHERE r.source = %(source)s AND r.batch = %(batch)s;

-- name: sweep_outcomes
-- Forget what became of records of long ago: a few rows with each batch, the oldest first, so that it costs little.
DELETE FROM freshet.record_outcome
 WHERE ctid = ANY(ARRAY(
     SELECT ctid FROM freshet.record_outcome
      WHERE source = %(source)s AND published_at < %(published_at)s::timestamptz - make_interval(days => %(kept_days)s)
      ORDER BY published_at LIMIT %(most)s
 ));

-- name: remember_refused_event
-- An event that PostgreSQL refused, for the next preparation of its batch.
INSERT INTO freshet.refused_event (source, topic, topic_id, partition, record_offset, detail, is_bare)
VALUES (%(source)s, %(topic)s, %(topic_id)s, %(partition)s, %(record_offset)s, %(detail)s, %(is_bare)s)
ON CONFLICT (source, topic, topic_id, partition, record_offset)
DO UPDATE SET detail = excluded.detail, is_bare = freshet.refused_event.is_bare OR excluded.is_bare;

-- name: forget_refused_events
-- The position has moved over them: they are dead letters now, or of an earlier log of the topic.
WITH begun AS (
    DELETE FROM freshet.begun_event
    WHERE source = %(source)s AND topic = %(topic)s AND partition = %(partition)s AND record_offset < %(next_offset)s
)
DELETE FROM freshet.refused_event
WHERE source = %(source)s AND topic = %(topic)s AND partition = %(partition)s AND record_offset < %(next_offset)s;

-- name: source_published
-- Record the source's newest batch and its instant, and the highest version that it has accepted.
UPDATE freshet.source SET last_batch = greatest(last_batch, %(batch)s), last_published_at = %(published_at)s,
    highest_version = greatest(highest_version, %(highest_version)s::bigint)
WHERE source = %(source)s;

-- name: count_subscribers
-- How many subscribers are notified of the source's batches.
SELECT count(*) AS subscribers FROM freshet.subscription WHERE source = %(source)s AND state = 'active';

-- name: close_corrected
-- Close the head of a document whose version was a mistake; no row where it has another version by now.
UPDATE freshet.document
SET is_head = false, end_batch = coalesce(end_batch, %(batch)s), end_reason = coalesce(end_reason, 'replaced'),
    visible_to = coalesce(visible_to, %(published_at)s)
WHERE source = %(source)s AND document_id = %(document_id)s AND is_head AND version = %(old_version)s
RETURNING document_key;

-- name: open_corrected
-- Open a head again under the version that a person gave it: visible with its chunks if it was visible, and otherwise
-- as withdrawn or deleted as it was. No record of that version replaces its content; what was deleted stays so. And who
-- may read it is what was said last: of the records of that version, only one that is written later changes it.
INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, visible_to, end_reason,
    end_detail, end_batch, uri, title, content_type, metadata, acl, raw_sha256, content_sha256, cleaned_sha256,
    content_bytes, pipeline, space_id, chunk_ids, chunk_starts, chunk_headings, event_at, observed_at, verified_at,
    expires_at, batch, topic, partition, record_offset, received_characters, kept_characters, dropped, tokens,
    unknown_tokens, unknown_characters, language, language_from, language_note, stated_language, first_record, grants,
    written, deletes, purged_at, notes, parts)
SELECT h.source, h.document_id, %(new_version)s, h.kind, true, %(published_at)s,
       CASE WHEN NOT was.visible THEN %(published_at)s::timestamptz END,
       CASE WHEN NOT was.visible THEN h.end_reason END,
       CASE WHEN NOT was.visible THEN h.end_detail END, CASE WHEN NOT was.visible THEN h.end_batch END, h.uri, h.title,
       h.content_type, h.metadata, h.acl, h.raw_sha256, h.content_sha256, h.cleaned_sha256, h.content_bytes, h.pipeline,
       h.space_id, h.chunk_ids, h.chunk_starts, h.chunk_headings, h.event_at, h.observed_at, h.verified_at,
       h.expires_at, %(batch)s, h.topic, h.partition, h.record_offset, h.received_characters, h.kept_characters,
       h.dropped, h.tokens,
       h.unknown_tokens, h.unknown_characters, h.language, h.language_from, h.language_note, h.stated_language, NULL,
       freshet.grants_of(h), freshet.written_of(h), h.deletes, h.purged_at, h.notes, h.parts
FROM freshet.document h
CROSS JOIN LATERAL (SELECT h.end_batch = %(batch)s AND h.end_reason = 'replaced' AS visible) was
WHERE h.document_key = %(head_key)s;

-- name: remember_correction
-- A version that was a mistake, so that no replay brings it back; who corrected it, and why.
INSERT INTO freshet.document_correction (source, document_id, old_version, new_version, batch, reason, requested_by,
    corrected_at)
VALUES (%(source)s, %(document_id)s, %(old_version)s, %(new_version)s, %(batch)s, %(reason)s, %(requested_by)s,
    %(published_at)s)
ON CONFLICT (source, document_id, old_version) DO UPDATE
SET new_version = excluded.new_version, batch = excluded.batch, reason = excluded.reason,
    requested_by = excluded.requested_by, corrected_at = excluded.corrected_at;

-- name: middle_version
-- The version in the middle of those of a source's other documents; without those that may be made of records. Where
-- there is none, the one that a person gave, unless it is 0, which says nothing of the scale.
SELECT coalesce(
           percentile_disc(0.5) WITHIN GROUP (ORDER BY version),
           nullif(%(new_version)s::bigint, 0)
       ) AS version
FROM freshet.document
WHERE source = %(source)s AND is_head AND document_id <> %(document_id)s
  AND version BETWEEN 0 AND 1152921504606846975;

-- name: highest_within
-- The highest version of the source's documents up to a limit.
SELECT max(version) AS version FROM freshet.document
WHERE source = %(source)s AND is_head AND version <= %(limit)s::bigint;

-- name: set_highest_version
-- The highest version that the source has accepted, without one that was a mistake.
UPDATE freshet.source SET highest_version = least(highest_version, %(highest)s::bigint) WHERE source = %(source)s;

-- name: count_overdue
-- What an expiry judges; see freshet.overdue. `waiting`: documents that were sent again and wait to be published.
SELECT o.documents, o.ended, o.aged, o.gone, o.withdrawn, o.arrived, s.state,
       extract(epoch FROM %(published_at)s - freshet.newest_event(s.source))::double precision AS newest_seconds
FROM freshet.source s,
     freshet.overdue(s.source, %(published_at)s, %(expire_after)s::double precision, %(waiting)s::text[]) o
WHERE s.source = %(source)s;

-- name: expire_documents
-- Withdraw what is past its own end; with `by_age` what is past the source's age and cannot be asked for at its origin;
-- with `by_origin` what its origin said is gone. The head stays, so that only a newer event, or the same event sent
-- again, brings it back.
WITH origin AS MATERIALIZED (
    SELECT o.document_key, o.is_kept
    FROM freshet.due_at_origin(%(source)s, %(published_at)s, %(expire_after)s::double precision) o
), due AS MATERIALIZED (
    SELECT document_key FROM freshet.document
    WHERE source = %(source)s AND visible_to IS NULL AND expires_at <= %(published_at)s
    UNION ALL
    SELECT document_key FROM freshet.document
    WHERE source = %(source)s AND visible_to IS NULL AND expires_at IS NULL AND document_id <> ALL (%(waiting)s::text[])
      AND greatest(observed_at, verified_at)
          <= %(published_at)s - make_interval(secs => %(expire_after)s::double precision)
      AND (
          %(by_age)s AND document_key NOT IN (SELECT document_key FROM origin)
          OR %(by_origin)s AND document_key IN (SELECT document_key FROM origin WHERE NOT is_kept)
      )
), ended AS (
    UPDATE freshet.document d
    SET visible_to = %(published_at)s, end_reason = 'expired', end_detail = %(rule)s, end_batch = %(batch)s
    FROM due
    WHERE d.document_key = due.document_key AND d.visible_to IS NULL
      -- Again of the row as it is when it is locked: its origin may have been asked meanwhile.
      AND (
          d.expires_at <= %(published_at)s
          OR d.expires_at IS NULL AND greatest(d.observed_at, d.verified_at)
             <= %(published_at)s - make_interval(secs => %(expire_after)s::double precision)
      )
    RETURNING document_id
), closed AS (
    UPDATE freshet.chunk c SET visible_to = %(published_at)s, end_batch = %(batch)s
    FROM ended WHERE c.source = %(source)s AND c.document_id = ended.document_id AND c.visible_to IS NULL
    RETURNING c.chunk_id
)
SELECT (SELECT count(*) FROM ended) AS documents, (SELECT count(*) FROM closed) AS chunks;

-- name: load_source
-- The values that a source's entity starts from; `due`: subscribers that have a batch to be notified of.
SELECT s.spec, s.epoch, s.state, coalesce(s.state_reason, '') AS reason,
       greatest(
           s.last_batch, coalesce((SELECT max(batch) FROM freshet.batch b WHERE b.source = s.source), 0)
       ) AS last_batch,
       (
           SELECT count(*) FROM freshet.subscription u LEFT JOIN freshet.delivery d USING (subscriber, source)
           WHERE u.source = s.source AND u.state = 'active' AND coalesce(d.cursor_batch, u.from_batch) < s.last_batch
       ) AS due
FROM freshet.source s WHERE s.source = %(source)s;

-- name: rewind_source
-- Let consumers seek to the position rows again; with `halt`, stop the source until a person resumes it. For entities
-- of versions before 2026-11-26, which do not name the epoch in which the batch failed.
UPDATE freshet.source
SET epoch = epoch + 1,
    state = CASE WHEN %(halt)s AND state <> 'retired' THEN 'halted' ELSE state END,
    state_reason = CASE WHEN %(halt)s AND state <> 'retired' THEN %(reason)s ELSE state_reason END,
    updated_at = now()
WHERE source = %(source)s RETURNING epoch, state = 'halted' AS halted;

-- name: rewind_source_of_epoch
-- The same, for a batch that failed in an epoch. In a newer one a person has resumed the source since, or an attempt
-- before this one has rewound it: consumers seek already, and a halt would stop what the person has resumed. (In an
-- older one, an older database was restored; it is then not halted for what another database did.)
UPDATE freshet.source
SET epoch = CASE WHEN epoch = %(epoch)s THEN epoch + 1 ELSE epoch END,
    state = CASE WHEN %(halt)s AND epoch = %(epoch)s AND state <> 'retired' THEN 'halted' ELSE state END,
    state_reason = CASE WHEN %(halt)s AND epoch = %(epoch)s AND state <> 'retired' THEN %(reason)s
                        ELSE state_reason END,
    updated_at = now()
WHERE source = %(source)s RETURNING epoch, state = 'halted' AS halted;

-- name: truncations_in_batch
-- Truncated tables of the batch whose documents a person has decided to delete. The decision may be missing after a
-- restore.
SELECT e.topic, e.partition, e.record_offset, t.own_version, t.record_version, t.topic_id
FROM incoming_event e
LEFT JOIN freshet.truncation t
    ON t.source = %(source)s AND t.topic = e.topic AND t.partition = e.partition
    AND t.record_offset = e.record_offset AND t.decision = 'delete'
WHERE e.reason = %(rule)s;

-- name: truncate_documents
-- Deletes for every document of a truncated table that was there: under the version of the database's log, or, where it
-- says none, as a delete without a version. The fence judges them as it judges every delete. What the batch itself says
-- of a document is from after the truncation.
INSERT INTO incoming_document (document_id, topic, partition, record_offset, record_at, op, version, first_record,
    written, observed_at, deletes, tombstone_topic, tombstone_partition, tombstone_offset, tombstone_floor)
SELECT h.document_id, e.topic, e.partition, e.record_offset, e.record_at,
       CASE WHEN own.is_known THEN 'delete' END, %(own_version)s::bigint,
       CASE WHEN own.is_known THEN place.first END,
       CASE WHEN own.is_known THEN place.mark END, CASE WHEN own.is_known THEN e.record_at END,
       CASE WHEN NOT own.is_known THEN place.mark END,
       CASE WHEN NOT own.is_known THEN e.topic END, CASE WHEN NOT own.is_known THEN e.partition END,
       CASE WHEN NOT own.is_known THEN e.record_offset END, CASE WHEN NOT own.is_known THEN -1 END
FROM incoming_event e
CROSS JOIN LATERAL (SELECT %(own_version)s::bigint IS NOT NULL AS is_known) own
CROSS JOIN LATERAL (
    SELECT jsonb_build_array(%(record_version)s::bigint, e.topic, e.partition, e.record_offset)::text AS first,
           jsonb_build_object(
               concat_ws('/', e.topic, e.partition, %(topic_id)s::text),
               jsonb_build_array(e.record_offset, %(record_version)s::bigint)
           )::text AS mark
) place
JOIN freshet.document h
    ON h.source = %(source)s AND h.is_head AND h.kind = 'document' AND h.topic = e.topic
WHERE (e.topic, e.partition, e.record_offset) = (%(topic)s::text, %(partition)s::integer, %(record_offset)s::bigint)
  -- A version that is made of a record is compared with the record.
  AND (freshet.is_own(h.version, freshet.written_of(h)) OR h.version < %(record_version)s::bigint)
  AND NOT EXISTS (SELECT FROM incoming_document i WHERE i.document_id = h.document_id);

-- name: truncation_applied
-- How many documents a truncation deleted, in which batch.
UPDATE freshet.truncation
SET documents = (
        SELECT count(*) FROM incoming_document i
        WHERE (i.topic, i.partition, i.record_offset) = (%(topic)s::text, %(partition)s::integer,
            %(record_offset)s::bigint) AND i.decision IN ('delete', 'tombstone')
    ), batch = %(batch)s, applied_at = %(published_at)s
WHERE source = %(source)s AND (topic, partition, record_offset) = (%(topic)s::text, %(partition)s::integer,
    %(record_offset)s::bigint) AND topic_id = %(topic_id)s::text;
