-- name: version_to_correct
-- The version of a document, the ones that it had before, and the dead letters of versions that were refused.
SELECT s.spec, s.state AS source_state, h.version, freshet.written_of(h) AS written,
       CASE WHEN h.visible_to IS NULL THEN 'visible' ELSE h.end_reason END AS state,
       ARRAY(
           SELECT DISTINCT d.version FROM freshet.document d
            WHERE d.source = s.source AND d.document_id = h.document_id AND d.version BETWEEN 0 AND h.version - 1
       ) AS earlier,
       ARRAY(
           SELECT l.dead_letter FROM freshet.dead_letter l
            WHERE l.source = s.source AND l.document_id = h.document_id AND l.state = 'open'
              AND l.reason = 'version_beyond_scale'
            ORDER BY l.dead_letter
       ) AS dead_letters
  FROM freshet.source s
  LEFT JOIN freshet.document h ON h.source = s.source AND h.document_id = %(document_id)s::text AND h.is_head
 WHERE s.source = %(source)s::text;

-- name: correction_of
-- The batch that has corrected a document's version.
SELECT batch FROM freshet.document_correction
 WHERE source = %(source)s::text AND document_id = %(document_id)s::text AND old_version = %(old_version)s::bigint
   AND new_version = %(new_version)s::bigint;

-- name: list_corrections
-- Versions that persons have corrected, newest first.
SELECT source, document_id, old_version, new_version, batch, reason, requested_by, corrected_at
  FROM freshet.document_correction
 WHERE %(source)s::text IS NULL OR source = %(source)s::text
 ORDER BY corrected_at DESC, document_id LIMIT %(limit)s::bigint;
