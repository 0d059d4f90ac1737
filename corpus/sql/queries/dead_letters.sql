-- name: dead_letters_unproduced
-- Claim dead letters that are not on their topic yet, oldest first, except those of the sources that have to wait. One
-- that another outbox has claimed is left to it until its claim ends.
WITH oldest AS (
    SELECT dead_letter FROM freshet.dead_letter
     WHERE produced_at IS NULL AND (claimed_until IS NULL OR claimed_until < now())
       AND source <> ALL(%(without)s::text[])
     ORDER BY dead_letter
     LIMIT %(most)s::integer
       FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE freshet.dead_letter l
       SET claimed_by = %(claim)s::uuid,
           claimed_until = now() + make_interval(secs => %(claim_seconds)s::double precision)
      FROM oldest WHERE l.dead_letter = oldest.dead_letter
    RETURNING l.*
)
SELECT l.dead_letter, l.source, s.spec, l.batch, l.topic, l.partition, l.record_offset, l.document_id, l.reason,
       l.detail, l.key, l.value, l.headers
  FROM claimed l JOIN freshet.source s USING (source)
 ORDER BY l.dead_letter;

-- name: dead_letters_produced
-- Mark dead letters as written to their topic.
UPDATE freshet.dead_letter SET produced_at = now(), claimed_by = NULL, claimed_until = NULL
 WHERE dead_letter = ANY(%(dead_letters)s::bigint[]) AND produced_at IS NULL;

-- name: release_dead_letters
-- End the claim on dead letters that Kafka did not accept; a claim that has ended since is another outbox's.
UPDATE freshet.dead_letter SET claimed_by = NULL, claimed_until = NULL
 WHERE dead_letter = ANY(%(dead_letters)s::bigint[]) AND claimed_by = %(claim)s::uuid AND produced_at IS NULL;

-- name: list_dead_letters
-- Dead letters without what they hold, newest first. A filter that is null does not filter.
SELECT dead_letter, source, batch, topic, partition, record_offset, document_id, reason, record_at, created_at, state,
       state_at, produced_at
  FROM freshet.dead_letter
 WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
   AND (%(reason)s::text IS NULL OR reason = %(reason)s::text)
   AND (%(state)s::text IS NULL OR state = %(state)s::text)
   AND (%(dead_letters)s::bigint[] IS NULL OR dead_letter = ANY(%(dead_letters)s::bigint[]))
 ORDER BY dead_letter DESC
 LIMIT %(most)s::bigint;

-- name: may_read_dead_letters
-- Whether this login may read what dead letters hold.
SELECT has_column_privilege('freshet.dead_letter', 'detail', 'SELECT')
       AND has_column_privilege('freshet.dead_letter', 'value', 'SELECT') AS may_read;

-- name: dead_letter_details
-- What is wrong with dead letters, in words that may quote them, and how large they are.
SELECT dead_letter, detail, octet_length(key) AS key_bytes, octet_length(value) AS value_bytes
  FROM freshet.dead_letter WHERE dead_letter = ANY(%(keys)s::bigint[]);

-- name: show_dead_letter
-- One dead letter with its bytes.
SELECT dead_letter, source, batch, topic, partition, record_offset, document_id, reason, detail, key, value, headers,
       record_at, created_at, state, state_at, produced_at, topic_id, purged_at
  FROM freshet.dead_letter WHERE dead_letter = %(dead_letter)s::bigint;

-- name: settle_dead_letters
-- Close open dead letters that an operator has dealt with. Returns those that were open.
UPDATE freshet.dead_letter
   SET state = %(state)s::text, state_at = now()
 WHERE dead_letter = ANY(%(dead_letters)s::bigint[]) AND state = 'open'
RETURNING dead_letter;

-- name: claim_due_letters
-- Dead letters whose event is to be tried again, oldest first; another consumer leaves them alone until the claim ends.
-- Those that a person has settled meanwhile are not due any more.
WITH due AS (
    SELECT w.dead_letter FROM freshet.waiting_fetch w
     WHERE w.retry_at <= now() ORDER BY w.retry_at
     LIMIT %(most)s::integer
       FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE freshet.waiting_fetch w
       SET retry_at = CASE WHEN l.state = 'open'
                           THEN now() + make_interval(secs => %(claim_seconds)s::double precision) END
      FROM due JOIN freshet.dead_letter l USING (dead_letter)
     WHERE w.dead_letter = due.dead_letter
    RETURNING w.dead_letter, w.source, w.retry_at
)
SELECT c.dead_letter, c.source FROM claimed c JOIN freshet.source s USING (source)
 WHERE c.retry_at IS NOT NULL AND s.state <> 'retired'
 ORDER BY c.dead_letter;

-- name: end_waits
-- Dead letters that were redriven are not due any more; their rows say since when the event waits.
UPDATE freshet.waiting_fetch SET retry_at = NULL WHERE dead_letter = ANY(%(dead_letters)s::bigint[]);
