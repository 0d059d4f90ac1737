-- 0008 order of records: what a head needs so that the order of reading decides nothing; the log of a dead letter.
-- Why: a delete without a version acted on whatever was read before it, so partitions and cuts decided the result.
-- Locks: a short ACCESS EXCLUSIVE on document and dead_letter (columns that may be null, without a rewrite).
-- Phase: pre. Old code leaves the columns empty, and `freshet.written_of` fills in for it.

-- The rule is that of corpus/prepare/fold.py. Marks are {"topic/partition/topic id": [offset, record version]}.
ALTER TABLE freshet.document
    -- [record version, topic, partition, offset] of the record of this version that stands; null: none can replace it
    ADD COLUMN first_record jsonb,
    ADD COLUMN written jsonb,                                 -- marks: first records of this version
    ADD COLUMN deletes jsonb;                                 -- marks: last deletes without a version
-- Of the topic when the record was read: offsets of another incarnation say nothing.
ALTER TABLE freshet.dead_letter ADD COLUMN topic_id text;

-- The least of both, per log.
CREATE FUNCTION freshet.earliest(p_one jsonb, p_other jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(log, jsonb_build_array(record_offset, record_version)), '{}')
    FROM (
        SELECT key AS log, min((value ->> 0)::bigint) AS record_offset, min((value ->> 1)::bigint) AS record_version
        FROM (SELECT * FROM jsonb_each(p_one) UNION ALL SELECT * FROM jsonb_each(p_other)) both_marks GROUP BY key
    ) merged
$$;

-- The greatest of both, per log.
CREATE FUNCTION freshet.latest(p_one jsonb, p_other jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(log, jsonb_build_array(record_offset, record_version)), '{}')
    FROM (
        SELECT key AS log, max((value ->> 0)::bigint) AS record_offset, max((value ->> 1)::bigint) AS record_version
        FROM (SELECT * FROM jsonb_each(p_one) UNION ALL SELECT * FROM jsonb_each(p_other)) both_marks GROUP BY key
    ) merged
$$;

-- The log of the newest delete without a version that was written after a record of the version; null: none was.
-- Between two logs, a delete wins a tie.
-- A log whose key ends with a slash holds redriven records, which have no order among themselves.
CREATE FUNCTION freshet.deleting(p_written jsonb, p_deletes jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT d.key FROM jsonb_each(p_deletes) d
    WHERE EXISTS (
        SELECT FROM jsonb_each(p_written) w
        WHERE CASE WHEN w.key = d.key AND right(w.key, 1) <> '/' THEN (d.value ->> 0)::bigint > (w.value ->> 0)::bigint
                   ELSE (d.value ->> 1)::bigint >= (w.value ->> 1)::bigint END
    )
    ORDER BY (d.value ->> 1)::bigint DESC, d.key COLLATE "C" LIMIT 1
$$;

-- The marks of a head's version. A head of older code has none: its last record is taken for the first, in the present
-- incarnation of its topic if it lies behind the position there.
CREATE FUNCTION freshet.written_of(p_head freshet.document) RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_head.written IS NOT NULL OR p_head.kind = 'tombstone' OR p_head.record_offset IS NULL THEN p_head.written
        ELSE jsonb_build_object(
            concat_ws('/', p_head.topic, p_head.partition, coalesce((
                SELECT p.topic_id FROM freshet.source_position p
                WHERE p.source = p_head.source AND p.topic = p_head.topic AND p.partition = p_head.partition
                  AND p.next_offset > p_head.record_offset), '')),
            jsonb_build_array(
                p_head.record_offset,
                floor(extract(epoch FROM p_head.observed_at) * 1000)::bigint * 1048576 + p_head.record_offset % 1048576
            )
        ) END
$$;
