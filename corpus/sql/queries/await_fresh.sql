-- name: await_source
-- The state of a source.
SELECT state, state_reason, last_batch FROM freshet.source WHERE source = %(source)s::text;

-- name: await_batch
-- A batch in the ledger. Its time in milliseconds is rounded up, so that a search as of then shows the batch.
SELECT batch, state, reason, ceil(extract(epoch FROM published_at) * 1000)::bigint AS published_at_ms,
       (extract(epoch FROM published_at) * 1000000)::bigint AS published_at_us
  FROM freshet.batch WHERE source = %(source)s::text AND batch = %(batch)s::bigint;

-- name: await_position
-- How far a partition is applied, and in which log of its topic.
SELECT topic_id, next_offset FROM freshet.source_position
 WHERE source = %(source)s::text AND topic = %(topic)s::text AND partition = %(partition)s::int;

-- name: await_record
-- What became of a record, while it is kept; `outcome` is null where the batch's range holds no such record.
SELECT batch, outcome, op, document_id, version, reason
  FROM freshet.outcome_of(
      %(source)s::text, %(topic)s::text, %(partition)s::int, %(topic_id)s::text, %(offset)s::bigint
  );

-- name: await_range
-- The batch that accounts for a record of a log, also where what became of the record is not kept. A range without a
-- log is of before logs were written down. One step per epoch, since ranges are found by epoch and first offset.
WITH RECURSIVE span AS (
    (
        SELECT epoch FROM freshet.batch_range
         WHERE source = %(source)s::text AND topic = %(topic)s::text AND partition = %(partition)s::int
         ORDER BY epoch DESC LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT r.epoch FROM freshet.batch_range r
         WHERE r.source = %(source)s::text AND r.topic = %(topic)s::text AND r.partition = %(partition)s::int
           AND r.epoch < span.epoch
         ORDER BY r.epoch DESC LIMIT 1
    ) FROM span WHERE span.epoch IS NOT NULL
)
SELECT r.batch FROM span
 CROSS JOIN LATERAL (
     SELECT b.batch, b.next_offset, b.topic_id FROM freshet.batch_range b
      WHERE b.source = %(source)s::text AND b.topic = %(topic)s::text AND b.partition = %(partition)s::int
        AND b.epoch = span.epoch AND b.first_offset <= %(offset)s::bigint
      ORDER BY b.first_offset DESC LIMIT 1
 ) r
 WHERE r.next_offset > %(offset)s::bigint AND coalesce(r.topic_id, %(read_id)s::text) = %(topic_id)s::text
 ORDER BY r.batch DESC LIMIT 1;

-- name: await_offset_document
-- The document version that a record of a batch became, if it became one.
SELECT document_id, version FROM freshet.document
 WHERE source = %(source)s::text AND batch = %(batch)s::bigint AND topic = %(topic)s::text
   AND partition = %(partition)s::int AND record_offset = %(offset)s::bigint LIMIT 1;

-- name: await_offset_dead_letter
-- Why a record could not be used.
SELECT reason, detail, batch FROM freshet.dead_letter
 WHERE source = %(source)s::text AND topic = %(topic)s::text AND partition = %(partition)s::int
   AND record_offset = %(offset)s::bigint AND batch = %(batch)s::bigint
 ORDER BY dead_letter DESC LIMIT 1;

-- name: await_document_version
-- The newest row of a document at one version. What is past its own end is not visible, withdrawn or not.
SELECT version, kind, visible_to IS NULL AND coalesce(expires_at > now(), true) AS visible,
       CASE WHEN visible_to IS NULL AND expires_at <= now() THEN 'expired' ELSE end_reason END AS end_reason,
       CASE WHEN visible_to IS NULL AND expires_at <= now() THEN 'its own expires_at has passed'
            ELSE end_detail END AS end_detail, batch
  FROM freshet.document
 WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND version = %(version)s::bigint
 ORDER BY document_key DESC LIMIT 1;

-- name: await_content_stands
-- Whether a version says what a record of a batch said: one that was written earlier may have replaced it since, and
-- one that only brought a later end (then the row names another) never was its content. No row: nothing is known of the
-- version as of that batch.
SELECT (n.kind, n.content_sha256, n.uri, n.title, n.content_type, n.metadata, n.stated_language)
           IS NOT DISTINCT FROM (
               t.kind, t.content_sha256, t.uri, t.title, t.content_type, t.metadata, t.stated_language
           )
       AND (t.batch <> %(batch)s::bigint OR %(outcome)s::text <> 'applied'
            OR (t.topic, t.partition, t.record_offset)
               IS NOT DISTINCT FROM (%(topic)s::text, %(partition)s::int, %(offset)s::bigint)) AS stands
  FROM (
      SELECT * FROM freshet.document
       WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND version = %(version)s::bigint
       ORDER BY document_key DESC LIMIT 1
  ) n, (
      SELECT * FROM freshet.document
       WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND version = %(version)s::bigint
         AND batch <= %(batch)s::bigint
       ORDER BY document_key DESC LIMIT 1
  ) t;

-- name: await_document_head
-- The newest version of a document.
SELECT version, kind, batch FROM freshet.document
 WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND is_head;

-- name: await_document_dead_letters
-- The newest unusable events of a document. Their version, if they have one, can only be read from their value.
SELECT reason, detail, batch, value FROM freshet.dead_letter
 WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND state = 'open'
   AND octet_length(value) <= 1000000 ORDER BY dead_letter DESC LIMIT 20;

-- name: await_erasure
-- The batch that erased a document, where this reader could read it.
SELECT batch FROM freshet.erasure_of(%(source)s::text, %(document_id)s::text) AS batch;

-- name: await_partition_behind
-- The partition of the source's topics whose newest applied record is the oldest; null: it has applied none.
SELECT p.topic, p.partition, floor(extract(epoch FROM p.newest_at) * 1000)::bigint AS newest_ms
  FROM freshet.source_position p JOIN freshet.source s ON s.source = p.source
 WHERE p.source = %(source)s::text AND s.spec -> 'topics' ? p.topic
 ORDER BY p.newest_at NULLS FIRST, p.topic, p.partition LIMIT 1;
