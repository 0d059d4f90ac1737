-- name: begin_purge
-- A new purge of a source, or the one that this run has begun; null: there is no such source.
INSERT INTO freshet.purge (source, workflow_id, run_id)
SELECT source, %(workflow_id)s::text, %(run_id)s::text FROM freshet.source WHERE source = %(source)s::text
ON CONFLICT (run_id) DO UPDATE SET state = 'running' RETURNING purge;

-- name: end_stale_purges
-- Purges of a source that no workflow continues: one runs at a time.
UPDATE freshet.purge SET state = 'failed', error = 'its workflow ended before it', finished_at = now()
 WHERE source = %(source)s::text AND state = 'running' AND purge <> %(purge)s::bigint;

-- name: move_horizon
-- From the commit of this on, a search as of an instant before the horizon is refused; rows go in later transactions.
-- It never moves back. Who was notified of a batch is no longer known for certain up to `notices_upto`.
INSERT INTO freshet.retention AS r (source, history_from, notices_upto)
SELECT w.source, w.history_from, w.notices_upto FROM freshet.purgeable(%(source)s::text, false) w
ON CONFLICT (source) DO UPDATE
   SET history_from = greatest(r.history_from, excluded.history_from),
       notices_upto = greatest(r.notices_upto, excluded.notices_upto)
RETURNING r.history_from;

-- name: note_horizon
-- Up to which horizon a purge removes history.
UPDATE freshet.purge SET history_from = %(history_from)s::timestamptz WHERE purge = %(purge)s::bigint;

-- name: purge_bounds
-- Up to which instants the pages of a purge remove, in their transaction.
SELECT source, history_from, versions_until, held_by, dead_letters_until, open_dead_letters_until, notices_until,
       notices_upto, reports_until, audits_until, embeddings_until
  FROM freshet.purgeable(%(source)s::text, true);

-- name: lock_purging
-- One page at a time, of whichever source: publishing shares the disk with one purge at most.
SELECT pg_try_advisory_xact_lock(hashtext('freshet.purge')) AS taken;

-- name: note_purged
-- Count what a page removed, in its transaction.
WITH page AS (
    SELECT key AS kind, value::bigint AS n FROM jsonb_each_text(%(removed)s::jsonb) WHERE value::bigint > 0
), sums AS (
    UPDATE freshet.retention r
       SET removed = r.removed || coalesce((
               SELECT jsonb_object_agg(p.kind, p.n + coalesce((r.removed ->> p.kind)::bigint, 0)) FROM page p), '{}')
     WHERE r.source = %(source)s::text
)
UPDATE freshet.purge u
   SET removed = u.removed || coalesce((
           SELECT jsonb_object_agg(p.kind, p.n + coalesce((u.removed ->> p.kind)::bigint, 0)) FROM page p), '{}'),
       phase = %(phase)s::text, moved_at = now()
 WHERE u.purge = %(purge)s::bigint;

-- name: purge_withdrawn
-- A page of withdrawn documents: their heads stay, as the fence and as who may read, and forget what they said. Under
-- the lock of publishing, so that no batch opens their chunks again meanwhile.
WITH gone AS (
    UPDATE freshet.document d
       SET purged_at = now(), chunk_ids = '{}', chunk_starts = '{}', chunk_headings = '{}', uri = NULL, title = NULL,
           parts = NULL, metadata = '{}', raw_sha256 = NULL, content_sha256 = NULL, cleaned_sha256 = NULL
     WHERE d.document_key = ANY(ARRAY(
         SELECT h.document_key FROM freshet.document h
          WHERE h.source = %(source)s::text AND h.visible_to <= %(history_from)s::timestamptz AND h.is_head
            AND h.kind = 'document' AND h.purged_at IS NULL
          ORDER BY h.visible_to LIMIT %(limit)s::bigint))
    RETURNING d.source, d.document_id
), columns AS (
    DELETE FROM freshet.kept_columns k USING gone g WHERE k.source = g.source AND k.document_id = g.document_id
), fetched AS (
    DELETE FROM freshet.fetched f USING gone g WHERE f.source = g.source AND f.document_id = g.document_id
)
SELECT count(*) AS looked_at, '' AS after, jsonb_build_object('withdrawn', count(*)) AS removed FROM gone;

-- name: purge_chunks
-- A page of chunks that were closed before the horizon. No head that is visible lists one of them. A head that was
-- withdrawn later than its chunks, since a person has corrected its version, keeps them until it is forgotten itself.
WITH gone AS (
    DELETE FROM freshet.chunk c
     WHERE c.chunk_id = ANY(ARRAY(
         SELECT o.chunk_id FROM freshet.chunk o
          WHERE o.source = %(source)s::text AND o.visible_to <= %(history_from)s::timestamptz
            AND NOT EXISTS (
                SELECT FROM freshet.document h
                 WHERE h.source = o.source AND h.document_id = o.document_id AND h.is_head AND h.purged_at IS NULL
                   AND o.chunk_id = ANY(h.chunk_ids))
          ORDER BY o.visible_to LIMIT %(limit)s::bigint))
    RETURNING c.chunk_id
)
SELECT count(*) AS looked_at, '' AS after, jsonb_build_object('chunks', count(*)) AS removed FROM gone;

-- name: purge_versions
-- A page of document versions that ended before the horizon, in batches of which every active subscriber was notified:
-- a notice lists what its batch changed. The columns that were kept of a deleted document go with its versions.
WITH gone AS (
    DELETE FROM freshet.document d
     WHERE d.document_key = ANY(ARRAY(
         SELECT o.document_key FROM freshet.document o
          WHERE o.source = %(source)s::text AND o.visible_to <= %(versions_until)s::timestamptz AND NOT o.is_head
          ORDER BY o.visible_to LIMIT %(limit)s::bigint))
    RETURNING d.document_key
), columns AS (
    DELETE FROM freshet.kept_columns k
     WHERE k.source = %(source)s::text AND k.is_deleted AND k.kept_at <= %(versions_until)s::timestamptz
)
SELECT count(*) AS looked_at, '' AS after, jsonb_build_object('versions', count(*)) AS removed FROM gone;

-- name: purge_vectors
-- A page of the embedding store: vectors that a chunk holds as well, and those that none has held for long. Pages
-- follow the batches that the texts were embedded for.
WITH page AS (
    SELECT e.space_id, e.text_sha256, e.batch, e.created_at,
           EXISTS (
               SELECT FROM freshet.chunk c
                WHERE c.space_id = e.space_id AND c.text_sha256 = e.text_sha256 AND c.has_wrong_vector IS NULL
           ) AS is_in_chunk
      FROM (
          SELECT i.space_id, i.text_sha256, i.batch, i.created_at FROM freshet.embedding i
           WHERE i.source = %(source)s::text AND freshet.finds_vectors_of_chunks()
             AND (i.batch, i.text_sha256) > (
                 coalesce(nullif(split_part(%(after)s::text, ' ', 1), ''), '-1')::bigint,
                 decode(split_part(%(after)s::text, ' ', 2), 'hex'))
           ORDER BY i.batch, i.text_sha256 LIMIT %(limit)s::bigint
      ) e
), gone AS (
    DELETE FROM freshet.embedding e USING page p
     WHERE e.space_id = p.space_id AND e.text_sha256 = p.text_sha256
       AND (p.is_in_chunk OR p.created_at <= %(embeddings_until)s::timestamptz)
    RETURNING p.is_in_chunk
)
SELECT (SELECT count(*) FROM page) AS looked_at,
       coalesce((
           SELECT p.batch || ' ' || encode(p.text_sha256, 'hex') FROM page p ORDER BY p.batch DESC, p.text_sha256 DESC
            LIMIT 1), '') AS after,
       jsonb_build_object('vectors_stored_twice', count(*) FILTER (WHERE is_in_chunk),
                          'vectors', count(*) FILTER (WHERE NOT is_in_chunk)) AS removed
  FROM gone;

-- name: purge_dead_letters
-- A page of dead letters whose time has come: the row stays, so that an audit knows that its record was refused, and
-- its bytes go. One that is not on its topic yet waits.
WITH gone AS (
    UPDATE freshet.dead_letter l
       SET purged_at = now(), key = NULL, value = NULL, headers = '[]', detail = '',
           state = CASE l.state WHEN 'open' THEN 'discarded' ELSE l.state END, state_at = coalesce(l.state_at, now())
     WHERE l.dead_letter = ANY(ARRAY(
         (SELECT s.dead_letter FROM freshet.dead_letter s
           WHERE s.source = %(source)s::text AND s.state <> 'open' AND s.purged_at IS NULL
             AND s.state_at <= %(dead_letters_until)s::timestamptz AND s.produced_at IS NOT NULL
           ORDER BY s.state_at LIMIT %(limit)s::bigint)
         UNION ALL
         (SELECT o.dead_letter FROM freshet.dead_letter o
           WHERE o.source = %(source)s::text AND o.state = 'open' AND o.purged_at IS NULL
             AND o.created_at <= %(open_dead_letters_until)s::timestamptz AND o.produced_at IS NOT NULL
           ORDER BY o.created_at LIMIT %(limit)s::bigint)
         LIMIT %(limit)s::bigint))
    RETURNING l.dead_letter
)
SELECT count(*) AS looked_at, '' AS after, jsonb_build_object('dead_letters', count(*)) AS removed FROM gone;

-- name: purge_notices
-- A page of acknowledgements. The cursor of a subscription stays, so what was not delivered yet is delivered.
WITH gone AS (
    DELETE FROM freshet.delivered_notice n
     WHERE (n.subscriber, n.source, n.batch) IN (
         SELECT o.subscriber, o.source, o.batch
           FROM freshet.delivered_notice o
          WHERE o.source = %(source)s::text AND o.batch <= %(notices_upto)s::bigint
            AND o.acknowledged_at <= %(notices_until)s::timestamptz
          ORDER BY o.batch LIMIT %(limit)s::bigint)
    RETURNING n.batch
)
SELECT count(*) AS looked_at, '' AS after, jsonb_build_object('notices', count(*)) AS removed FROM gone;

-- name: purge_reports
-- A page of reports of freshness checks; the newest stays.
WITH gone AS (
    DELETE FROM freshet.freshness_report f
     WHERE f.source = %(source)s::text AND f.snapshotted_at = ANY(ARRAY(
         SELECT o.snapshotted_at FROM freshet.freshness_report o
          WHERE o.source = %(source)s::text AND o.snapshotted_at <= %(reports_until)s::timestamptz
          ORDER BY o.snapshotted_at LIMIT %(limit)s::bigint))
       AND f.snapshotted_at < (
           SELECT max(n.snapshotted_at) FROM freshet.freshness_report n WHERE n.source = %(source)s::text)
    RETURNING f.snapshotted_at
)
SELECT count(*) AS looked_at, '' AS after, jsonb_build_object('reports', count(*)) AS removed FROM gone;

-- name: purge_audits
-- A page of audits with what they found; the newest with a result stays.
WITH gone AS (
    DELETE FROM freshet.audit a
     WHERE a.audit = ANY(ARRAY(
         SELECT o.audit FROM freshet.audit o
          WHERE o.source = %(source)s::text AND o.state <> 'running' AND o.finished_at <= %(audits_until)s::timestamptz
            AND o.audit IS DISTINCT FROM (
                SELECT max(n.audit) FROM freshet.audit n WHERE n.source = %(source)s::text AND n.state = 'done')
          ORDER BY o.audit LIMIT %(limit)s::bigint))
    RETURNING a.audit
)
SELECT count(*) AS looked_at, '' AS after, jsonb_build_object('audits', count(*)) AS removed FROM gone;

-- name: plan_purge
-- What a purge that begins now removes, and what it has to leave for now: versions in batches of which a subscriber was
-- not notified yet.
SELECT w.source, w.history_from, w.held_by,
       jsonb_build_object(
           'withdrawn', (
               SELECT count(*) FROM freshet.document d
                WHERE d.source = w.source AND d.visible_to <= w.history_from AND d.is_head AND d.kind = 'document'
                  AND d.purged_at IS NULL),
           'chunks', (
               SELECT count(*) FROM freshet.chunk c
                WHERE c.source = w.source AND c.visible_to <= w.history_from
                  AND NOT EXISTS (  -- as in `purge_chunks`, when withdrawn heads are forgotten
                      SELECT FROM freshet.document h
                       WHERE h.source = c.source AND h.document_id = c.document_id AND h.is_head
                         AND h.visible_to > w.history_from AND c.chunk_id = ANY(h.chunk_ids))),
           'versions', (
               SELECT count(*) FROM freshet.document d
                WHERE d.source = w.source AND d.visible_to <= w.versions_until AND NOT d.is_head),
           'vectors', (
               SELECT count(*) FROM freshet.embedding e
                WHERE e.source = w.source AND freshet.finds_vectors_of_chunks()
                  AND (e.created_at <= w.embeddings_until OR EXISTS (
                      SELECT FROM freshet.chunk c
                       WHERE c.space_id = e.space_id AND c.text_sha256 = e.text_sha256
                         AND c.has_wrong_vector IS NULL))),
           'dead_letters', (
               SELECT count(*) FROM freshet.dead_letter l
                WHERE l.source = w.source AND l.purged_at IS NULL AND l.produced_at IS NOT NULL
                  AND CASE l.state WHEN 'open' THEN l.created_at <= w.open_dead_letters_until
                           ELSE l.state_at <= w.dead_letters_until END),
           'notices', (
               SELECT count(*) FROM freshet.delivered_notice n
                WHERE n.source = w.source AND n.acknowledged_at <= w.notices_until
                  AND n.batch <= w.notices_upto),
           'reports', (
               SELECT count(*) FROM freshet.freshness_report f
                WHERE f.source = w.source AND f.snapshotted_at <= w.reports_until
                  AND f.snapshotted_at < (
                      SELECT max(n.snapshotted_at) FROM freshet.freshness_report n WHERE n.source = w.source)),
           'audits', (
               SELECT count(*) FROM freshet.audit a
                WHERE a.source = w.source AND a.state <> 'running' AND a.finished_at <= w.audits_until
                  AND a.audit IS DISTINCT FROM (
                      SELECT max(n.audit) FROM freshet.audit n WHERE n.source = w.source AND n.state = 'done'))
       ) AS removed,
       jsonb_build_object('versions', (
           SELECT count(*) FROM freshet.document d
            WHERE d.source = w.source AND d.visible_to <= w.history_from AND d.visible_to > w.versions_until
              AND NOT d.is_head)) AS held
  FROM freshet.purgeable(%(source)s::text, false) w;

-- name: finish_purge
-- The result of a purge.
UPDATE freshet.purge SET state = 'done', phase = 'done', finished_at = now(), moved_at = now()
 WHERE purge = %(purge)s::bigint RETURNING purge, source, removed;

-- name: fail_purge
-- A purge ended without a result; what its pages removed stays counted.
UPDATE freshet.purge SET state = 'failed', error = %(error)s::text, finished_at = now()
 WHERE (purge = %(purge)s::bigint OR run_id = %(run_id)s::text) AND state = 'running';

-- name: forget_old_purges
-- Keep the newest purges of a source.
DELETE FROM freshet.purge p
 WHERE p.source = %(source)s::text AND p.state <> 'running' AND p.purge NOT IN (
     SELECT n.purge FROM freshet.purge n WHERE n.source = %(source)s::text ORDER BY n.purge DESC LIMIT %(kept)s::bigint
 );

-- name: list_purges
-- Newest purges, of one source or of all.
SELECT purge, source, state, phase, started_at, finished_at,
       extract(epoch FROM coalesce(finished_at, now()) - started_at)::double precision AS seconds,
       history_from, removed, error
  FROM freshet.purge
 WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
   AND (%(purge)s::bigint IS NULL OR purge = %(purge)s::bigint)
 ORDER BY purge DESC LIMIT %(limit)s::bigint;

-- name: purge_standing
-- How far back the history of every source goes, what all its purges removed, and whether the next one is overdue by
-- the source's interval.
SELECT s.source, r.history_from, coalesce(r.removed, '{}') AS removed, p.purge,
       coalesce(extract(epoch FROM p.finished_at), 0)::float8 AS finished_at,
       coalesce(extract(epoch FROM r.history_from), 0)::float8 AS history_from_epoch,
       coalesce(
           greatest(p.finished_at, s.updated_at)
               < now() - make_interval(secs => %(intervals)s::double precision
                   * (s.spec -> 'retention' ->> 'every_seconds')::double precision),
           false
       ) AS is_overdue
  FROM freshet.source s
  LEFT JOIN freshet.retention r USING (source)
  LEFT JOIN LATERAL (
       SELECT n.purge, n.finished_at FROM freshet.purge n
        WHERE n.source = s.source AND n.state = 'done' ORDER BY n.purge DESC LIMIT 1
  ) p ON true
 WHERE %(source)s::text IS NULL OR s.source = %(source)s::text
 ORDER BY s.source;

-- name: chunk_indexes
-- The indexes that purges, look-ups of vectors and searches need, with their state: of chunks, and one of former
-- versions of documents. A migration leaves them to a storer where there are many rows.
SELECT w.name, CASE WHEN i.indisvalid THEN 'built'
                    WHEN i.indexrelid IS NOT NULL THEN 'interrupted'
                    ELSE 'missing' END AS state
  FROM unnest(
       '{chunk_access,chunk_closing,chunk_ended,chunk_ended_text,chunk_lifetime,chunk_open,chunk_opened,chunk_vector,'
       'document_metadata_ended}'::text[]) AS w (name)
  LEFT JOIN pg_index i ON i.indexrelid = to_regclass('freshet.' || w.name)
 ORDER BY w.name;

-- name: build_chunk_access
-- The statement that builds the index of chunks by access list, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_access ON freshet.chunk (access_id) '
       'WHERE visible_to IS NULL AND access_id IS NOT NULL' AS statement;

-- name: build_chunk_closing
-- The statement that builds the index of closed chunks that may not be in their vector index, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_closing ON freshet.chunk (visible_to) '
       'WHERE visible_to IS NOT NULL AND in_history IS NULL' AS statement;

-- name: build_chunk_ended
-- The statement that builds the index of closed chunks, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_ended ON freshet.chunk (source, visible_to) WHERE visible_to IS NOT NULL'
       AS statement;

-- name: build_chunk_ended_text
-- The statement that builds the index of the texts of closed chunks, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_ended_text ON freshet.chunk USING gin (search_text) '
       'WHERE visible_to IS NOT NULL' AS statement;

-- name: build_chunk_lifetime
-- The statement that builds the index by which closed chunks are found that were visible at an instant, beside all
-- publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_lifetime ON freshet.chunk USING gist (tstzrange(visible_from, visible_to)) '
       'WHERE visible_to IS NOT NULL' AS statement;

-- name: build_chunk_open
-- The statement that builds the index of chunks without an access list, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_open ON freshet.chunk (source) WHERE visible_to IS NULL AND access_id IS NULL'
       AS statement;

-- name: build_chunk_opened
-- The statement that builds the index of visible chunks by the instant of their opening, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_opened ON freshet.chunk (visible_from) WHERE visible_to IS NULL' AS statement;

-- name: build_chunk_vector
-- The statement that builds the index by which the vector of a text is found in chunks, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY chunk_vector ON freshet.chunk (space_id, text_sha256) WHERE has_wrong_vector IS NULL'
       AS statement;

-- name: build_document_metadata_ended
-- The statement that builds the index of former versions by their metadata, beside all publishing.
SELECT 'CREATE INDEX CONCURRENTLY document_metadata_ended ON freshet.document USING gin (metadata jsonb_path_ops) '
       'WHERE visible_to IS NOT NULL' AS statement;

-- name: drop_chunk_index
-- The statement that drops one of them, where an interrupted build left it.
SELECT 'DROP INDEX CONCURRENTLY IF EXISTS freshet.' || quote_ident(%(name)s::text) AS statement;
