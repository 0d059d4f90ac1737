-- name: sources_active
-- The sources that the consumer reads. A specification comes only where its digest is not known: with thousands of
-- sources, reading all of them every two seconds would take longer than that.
SELECT source, epoch, digest, CASE WHEN digest <> ALL(%(known)s::text[]) THEN spec END AS spec
  FROM freshet.source WHERE state = 'active' ORDER BY source;

-- name: positions_of_sources
-- The positions of these sources.
SELECT source, topic, partition, cluster_id, topic_id, next_offset
  FROM freshet.source_position
 WHERE source = ANY(%(sources)s::text[]);

-- name: skips_of_sources
-- What operators have told these sources to pass, where the position has not passed it yet.
SELECT k.source, k.topic, k.partition, k.topic_id, k.first_offset, k.next_offset, k.reason
  FROM freshet.skipped_records k
  JOIN freshet.source_position p USING (source, topic, partition, topic_id)
 WHERE k.source = ANY(%(sources)s::text[]) AND p.next_offset < k.next_offset;

-- name: skip_records
-- An operator has a source pass some records.
INSERT INTO freshet.skipped_records (source, topic, topic_id, partition, first_offset, next_offset, reason)
VALUES (%(source)s, %(topic)s, %(topic_id)s, %(partition)s, %(first_offset)s, %(next_offset)s, %(reason)s)
ON CONFLICT (source, topic, topic_id, partition, first_offset)
DO UPDATE SET next_offset = excluded.next_offset, reason = excluded.reason, skipped_at = now();

-- name: begin_position
-- The first position of a partition that was never read.
INSERT INTO freshet.source_position (source, cluster_id, topic, topic_id, partition, next_offset, begun_at)
VALUES (%(source)s::text, %(cluster_id)s::text, %(topic)s::text, %(topic_id)s::text, %(partition)s::integer,
    %(next_offset)s::bigint, now())
ON CONFLICT DO NOTHING;

-- name: unknown_deletes
-- For how long deletes of each log may be unknown: now, and when a hole in its offsets was published.
SELECT source, topic, partition, next_offset, freshet.unknown_for(p, now()) AS unknown_seconds,
       greatest(begun_at, newest_at, reconciled_at) AS known_until, hole_seconds, hole_since
  FROM freshet.source_position p
 WHERE source = ANY(%(sources)s::text[])
 ORDER BY source, topic, partition;

-- name: deletes_reconciled
-- The corpus of a source was compared with its whole logs, which were read from an instant on: what was deleted before
-- is known. A hole that was published since stays.
UPDATE freshet.source_position
   SET reconciled_at = greatest(reconciled_at, %(before)s::timestamptz),
       hole_since = CASE WHEN hole_at > %(before)s::timestamptz THEN hole_since END,
       hole_seconds = CASE WHEN hole_at > %(before)s::timestamptz THEN hole_seconds END
 WHERE source = %(source)s::text;

-- name: halt_source
-- Stop an active source with a reason; a source that is already stopped keeps its first reason.
UPDATE freshet.source
   SET state = 'halted', state_reason = %(reason)s::text, updated_at = now()
 WHERE source = %(source)s::text AND state = 'active' AND epoch = %(epoch)s::bigint;

-- name: sources_configured
-- Every source with its state, for `freshet apply`.
SELECT source, spec, revision, state, state_reason FROM freshet.source ORDER BY source;

-- name: sources_named
-- The sources of these names that there are, with their states: what one change of `freshet apply` compares again.
SELECT source, spec, revision, state, state_reason FROM freshet.source WHERE source = ANY(%(sources)s) ORDER BY source;

-- name: sources_with_ends
-- Sources with visible documents that have an end of their own: also when retired, they are checked to withdraw these.
SELECT s.source, s.spec FROM freshet.source s
CROSS JOIN LATERAL (
    SELECT FROM freshet.document d WHERE d.source = s.source AND d.visible_to IS NULL AND d.expires_at IS NOT NULL
    LIMIT 1
) one
ORDER BY s.source;

-- name: has_document_with_end
-- Whether a source has visible documents that have an end of their own.
SELECT EXISTS (
    SELECT FROM freshet.document d WHERE d.source = %(source)s AND d.visible_to IS NULL AND d.expires_at IS NOT NULL
) AS has_end;

-- name: sources_with_documents
-- Sources that have documents in the corpus, visible or not.
SELECT s.source FROM freshet.source s
WHERE EXISTS (SELECT FROM freshet.document d WHERE d.source = s.source AND d.is_head AND d.kind = 'document');

-- name: sources_with_versions
-- Sources of whose documents the corpus knows versions, deleted ones included.
SELECT s.source FROM freshet.source s
WHERE EXISTS (SELECT FROM freshet.document d WHERE d.source = s.source AND d.is_head);

-- name: create_source
-- A source that is new in the configuration.
INSERT INTO freshet.source (source, spec) VALUES (%(source)s::text, %(spec)s::jsonb);

-- name: change_source
-- Change the specification; a source that was retired becomes active again, in a new epoch: what stopped it before is
-- over, and consumers read from the position rows.
UPDATE freshet.source
   SET spec = %(spec)s::jsonb, revision = revision + 1, updated_at = now(),
       epoch = epoch + CASE WHEN state = 'retired' THEN 1 ELSE 0 END,
       state = CASE WHEN state = 'retired' THEN 'active' ELSE state END,
       state_reason = CASE WHEN state = 'retired' THEN NULL ELSE state_reason END
 WHERE source = %(source)s::text;

-- name: retire_source
-- A source that is no longer configured: it is not consumed any more, and its documents stay.
UPDATE freshet.source
   SET state = 'retired', state_reason = 'no longer configured', updated_at = now()
 WHERE source = %(source)s::text AND state <> 'retired';

-- name: pause_source
-- Pause a source at an operator's request: the consumer releases its partitions.
UPDATE freshet.source
   SET state = 'paused', state_reason = %(reason)s::text, updated_at = now()
 WHERE source = %(source)s::text AND state IN ('active', 'paused');

-- name: resume_source
-- Resume a source. The epoch rises, so that consumers read again from the position rows.
UPDATE freshet.source
   SET state = 'active', state_reason = NULL, epoch = epoch + 1, updated_at = now()
 WHERE source = %(source)s::text AND state IN ('active', 'paused', 'halted');

-- name: skip_gap
-- An operator accepts that offsets are missing: the position moves to the first offset that the log still has.
UPDATE freshet.source_position
   SET cluster_id = %(cluster_id)s::text, topic_id = %(topic_id)s::text, next_offset = %(next_offset)s::bigint,
       newest_at = CASE WHEN topic_id = %(topic_id)s::text THEN newest_at END, updated_at = now(),
       begun_at = CASE WHEN topic_id = %(topic_id)s::text THEN begun_at ELSE now() END
 WHERE source = %(source)s::text AND topic = %(topic)s::text AND partition = %(partition)s::integer
   AND next_offset = %(was)s::bigint AND topic_id = %(was_topic_id)s::text;

-- name: source_overview
-- One row per source: its documents, and the outcomes of every record that it read. What backfills read again is apart
-- (`backfilled`), so that each record of the log is counted once; texts are counted whatever they were embedded for.
SELECT s.source, s.spec, s.state, s.state_reason, s.revision, s.last_batch, s.last_published_at,
       -- A search as of an instant before it is refused; null: all history is kept.
       (SELECT r.history_from FROM freshet.retention r WHERE r.source = s.source) AS history_from,
       -- Since it was published, configured, resumed or ordered to read again: what it had before says nothing.
       extract(epoch FROM clock_timestamp() - greatest(s.last_published_at, s.updated_at))::float8
           AS published_seconds_ago,
       (
           SELECT coalesce(sum(v.documents), 0)::bigint FROM freshet.visible_documents v WHERE v.source = s.source
       ) AS documents,
       coalesce((SELECT t.chunks FROM freshet.visible_texts t WHERE t.source = s.source), 0) AS chunks,
       (SELECT count(*) FROM freshet.dead_letter l WHERE l.source = s.source AND l.state = 'open') AS dead_letters,
       w.waiting_documents, w.waiting_seconds, w.waiting_hosts,
       b.batches, b.records, b.applied, b.unchanged, b.superseded, b.dead_lettered, b.ignored,
       b.documents_deleted, b.deletes_without_document, b.backfilled,
       -- With those of batches that failed or are not published yet.
       b.texts_embedded + (
           SELECT coalesce(sum(u.texts), 0)::bigint FROM freshet.uncounted_texts u WHERE u.source = s.source
       ) AS texts_embedded
  FROM freshet.source s
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(batches) FILTER (WHERE kind = 'ingest'), 0)::bigint AS batches,
              coalesce(sum(records) FILTER (WHERE kind = 'ingest'), 0)::bigint AS records,
              coalesce(sum(applied) FILTER (WHERE kind = 'ingest'), 0)::bigint AS applied,
              coalesce(sum(unchanged) FILTER (WHERE kind = 'ingest'), 0)::bigint AS unchanged,
              coalesce(sum(superseded) FILTER (WHERE kind = 'ingest'), 0)::bigint AS superseded,
              coalesce(sum(dead_lettered) FILTER (WHERE kind = 'ingest'), 0)::bigint AS dead_lettered,
              coalesce(sum(ignored) FILTER (WHERE kind = 'ingest'), 0)::bigint AS ignored,
              coalesce(sum(documents_deleted) FILTER (WHERE kind = 'ingest'), 0)::bigint AS documents_deleted,
              coalesce(sum(deletes_without_document) FILTER (WHERE kind = 'ingest'), 0)::bigint
                  AS deletes_without_document,
              coalesce(sum(texts_embedded), 0)::bigint AS texts_embedded,
              jsonb_build_object(
                  'batches', coalesce(sum(batches) FILTER (WHERE kind = 'backfill'), 0),
                  'records', coalesce(sum(records) FILTER (WHERE kind = 'backfill'), 0),
                  'applied', coalesce(sum(applied) FILTER (WHERE kind = 'backfill'), 0),
                  'unchanged', coalesce(sum(unchanged) FILTER (WHERE kind = 'backfill'), 0),
                  'superseded', coalesce(sum(superseded) FILTER (WHERE kind = 'backfill'), 0),
                  'dead_lettered', coalesce(sum(dead_lettered) FILTER (WHERE kind = 'backfill'), 0),
                  'ignored', coalesce(sum(ignored) FILTER (WHERE kind = 'backfill'), 0)
              ) AS backfilled
         FROM freshet.ledger_totals WHERE source = s.source) b
 CROSS JOIN LATERAL (
       -- Documents that could not be fetched and are tried again; the hosts, those of most documents first.
       SELECT coalesce(sum(h.documents), 0)::bigint AS waiting_documents,
              extract(epoch FROM now() - min(h.since))::float8 AS waiting_seconds,
              coalesce(array_agg(h.host ORDER BY h.documents DESC, h.host), '{}') AS waiting_hosts
         FROM (
             SELECT f.host, count(*) AS documents, min(f.waits_since) AS since
               FROM freshet.waiting_fetch f JOIN freshet.dead_letter l USING (dead_letter)
              WHERE f.source = s.source AND f.retry_at IS NOT NULL AND l.state = 'open'
              GROUP BY f.host) h) w
 ORDER BY s.source;

-- name: sweep_progress
-- How far these sources are, one row per partition; staged files of what is behind that are not needed.
SELECT s.source, s.last_batch, p.topic, p.partition, p.next_offset,
       (s.spec -> 'retention' ->> 'staged_files_seconds')::double precision AS staged_files_seconds
  FROM freshet.source s LEFT JOIN freshet.source_position p USING (source)
 WHERE s.source = ANY(%(sources)s::text[]);

-- name: record_sweep
-- Keep what a sweep of the staging store did.
INSERT INTO freshet.staging_sweep (removed, removed_bytes, needed, unknown)
VALUES (%(removed)s::bigint, %(removed_bytes)s::bigint, %(needed)s::bigint, %(unknown)s::bigint);

-- name: staged_key
-- The key of a staged file, made where there is none; a repeated write uses the one that is there.
INSERT INTO freshet.staged_key AS k (name, key_id, sealed_key) VALUES (%(name)s, %(key_id)s, %(sealed_key)s)
ON CONFLICT (name) DO UPDATE SET made_at = now() RETURNING k.key_id, k.sealed_key;

-- name: find_key
-- The key of a staged file.
SELECT key_id, sealed_key FROM freshet.staged_key WHERE name = %(name)s;

-- name: destroy_keys
-- Remove the keys of staged files: what they encrypt is unreadable from then on, also in copies.
DELETE FROM freshet.staged_key WHERE name = ANY(%(names)s::text[]);

-- name: destroy_lost_keys
-- Remove the keys of staged files that are not in a listing that is younger than they are by far.
DELETE FROM freshet.staged_key
WHERE made_at < now() - interval '1 day' AND NOT EXISTS (
    SELECT FROM unnest(%(names)s::text[]) AS listed WHERE listed = staged_key.name);

-- name: list_sweeps
-- Newest sweeps of the staging store.
SELECT swept_at, removed, removed_bytes, needed, unknown FROM freshet.staging_sweep
 ORDER BY sweep DESC LIMIT %(limit)s::bigint;

-- name: preparations
-- How many visible documents of each source were prepared how.
SELECT source, pipeline, is_mail, sum(documents)::bigint AS documents FROM freshet.visible_documents
 WHERE documents <> 0 GROUP BY 1, 2, 3;

-- name: documents_prepared_otherwise
-- The visible documents of a source that were prepared otherwise than it is prepared now, by partition: whether an
-- earlier version with the same settings prepared them, and whether Kafka can still have their record.
WITH log AS (
    SELECT * FROM unnest(
        %(topics)s::text[], %(partitions)s::integer[], %(topic_ids)s::text[], %(first_offsets)s::bigint[]
    ) AS log (topic, partition, topic_id, first_offset)
)
SELECT d.topic, d.partition, d.pipeline = ANY(%(older)s::text[]) AS is_older_version,
       coalesce(
           d.record_offset >= log.first_offset AND coalesce(r.topic_id, log.topic_id) = log.topic_id, false
       ) AS is_in_log,
       count(*) AS documents, sum(cardinality(d.chunk_ids))::bigint AS chunks, min(d.record_offset) AS first_offset,
       min(d.document_id) AS example
  FROM freshet.document d
  LEFT JOIN log ON log.topic = d.topic AND log.partition = d.partition
  LEFT JOIN freshet.batch_range r
    ON r.source = d.source AND r.batch = d.batch AND r.topic = d.topic AND r.partition = d.partition
 WHERE d.source = %(source)s::text AND d.visible_to IS NULL AND d.kind = 'document'
   AND d.pipeline <> CASE WHEN freshet.is_mail(d.content_type) THEN %(of_mails)s::text
                          ELSE %(preparation)s::text END
 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;

-- name: sample_prepared_otherwise
-- Some visible documents of a source that were prepared otherwise than it is prepared now, of the records from an
-- offset of each partition on: in no order of theirs, and the same ones each time.
SELECT d.topic, d.partition, d.record_offset AS "offset", d.content_sha256, d.content_type, d.title
  FROM freshet.document d
  JOIN unnest(%(topics)s::text[], %(partitions)s::integer[], %(first_offsets)s::bigint[])
       AS log (topic, partition, first_offset)
    ON log.topic = d.topic AND log.partition = d.partition AND d.record_offset >= log.first_offset
 WHERE d.source = %(source)s::text AND d.visible_to IS NULL AND d.kind = 'document'
   AND d.pipeline <> CASE WHEN freshet.is_mail(d.content_type) THEN %(of_mails)s::text
                          ELSE %(preparation)s::text END
 ORDER BY md5(d.document_id) LIMIT %(limit)s::bigint;

-- name: ask_to_prepare_again
-- An operator asks for the preparation as it is now. The epoch rises, so that consumers read again from the positions.
UPDATE freshet.source
   SET prepare_again = %(preparation)s::text, epoch = epoch + 1, updated_at = now()
 WHERE source = %(source)s::text AND state <> 'retired';

-- name: move_position_back
-- Let a source read a partition again from an offset.
UPDATE freshet.source_position
   SET next_offset = %(first_offset)s::bigint, updated_at = now()
 WHERE source = %(source)s::text AND topic = %(topic)s::text AND partition = %(partition)s::integer
   AND topic_id = %(topic_id)s::text AND next_offset > %(first_offset)s::bigint;

-- name: truncations_of_sources
-- What persons decided about the truncated tables of these sources.
SELECT source, topic, topic_id, partition, record_offset, decision, own_version, record_version
  FROM freshet.truncation
 WHERE source = ANY(%(sources)s::text[])
 ORDER BY source, topic, partition, record_offset;

-- name: count_documents_of_topic
-- Visible documents of a source that came of a topic, and all of them.
SELECT count(*) FILTER (WHERE topic = %(topic)s::text) AS of_topic, count(*) AS visible
  FROM freshet.document
 WHERE source = %(source)s::text AND visible_to IS NULL AND kind = 'document';

-- name: decide_truncation
-- A person decides about a truncated table; what is carried out stays as it is.
INSERT INTO freshet.truncation (source, topic, topic_id, partition, record_offset, decision, own_version,
    record_version, reason, decided_by)
VALUES (%(source)s, %(topic)s, %(topic_id)s, %(partition)s, %(record_offset)s, %(decision)s, %(own_version)s,
    %(record_version)s, %(reason)s, %(decided_by)s)
ON CONFLICT (source, topic, topic_id, partition, record_offset)
DO UPDATE SET decision = excluded.decision, reason = excluded.reason, decided_by = excluded.decided_by,
    decided_at = now()
WHERE truncation.applied_at IS NULL;
