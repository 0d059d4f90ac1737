-- name: imported_heads
-- What the corpus holds under some ids, with the mark that an import left in the metadata.
SELECT document_id, version, visible_to IS NULL AND kind = 'document' AS visible, metadata -> 'import' AS imported
FROM freshet.document
WHERE source = %(source)s AND is_head AND document_id = ANY(%(document_ids)s::text[]);

-- name: imported_by_root
-- The documents that readers see and that an import of this root brought.
SELECT document_id, version, true AS visible, metadata -> 'import' AS imported
FROM freshet.document
WHERE source = %(source)s AND is_head AND kind = 'document' AND visible_to IS NULL
  AND metadata @> jsonb_build_object('import', jsonb_build_object('root', %(root)s::text));

-- name: imported_dead_letters
-- The newest open dead letter of each of some documents, with the headers of its record.
SELECT DISTINCT ON (document_id) document_id, headers
FROM freshet.dead_letter
WHERE source = %(source)s AND state = 'open' AND document_id = ANY(%(document_ids)s::text[])
ORDER BY document_id, dead_letter DESC;
