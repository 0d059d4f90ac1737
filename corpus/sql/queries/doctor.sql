-- name: doctor_iterative_scan
-- Whether this server's pgvector can continue an index scan until enough rows pass a filter.
-- The cast loads the library, without which the setting is unknown.
SELECT '[1]'::vector IS NOT NULL AND current_setting('hnsw.iterative_scan', true) IS NOT NULL AS supported;

-- name: weights_in_use
-- The weights of each embedding space that visible chunks have vectors in; the index `chunk_vector` finds them.
SELECT s.model, s.prefix, s.context, s.weights FROM freshet.embedding_space s
 WHERE EXISTS (
       SELECT FROM freshet.chunk c
        WHERE c.space_id = s.space_id AND c.has_wrong_vector IS NULL AND c.visible_to IS NULL
       )
 ORDER BY s.space_id;

-- name: unknown_text
-- Per source that is not retired: its visible documents whose text is accounted for, those of which the model knows
-- less than the source allows, the share of all characters that it does not know, and tokens per character.
SELECT s.source, s.spec ->> 'model' AS model, t.accounted AS documents, setting.max_unknown_ratio, t.unknown,
       t.unknown_characters / greatest(t.kept_characters, 1)::double precision AS unknown_ratio,
       t.tokens / greatest(t.kept_characters, 1)::double precision AS tokens_per_character
  FROM freshet.source s
 CROSS JOIN LATERAL freshet.text_limits(s.spec) setting
  JOIN freshet.visible_texts t ON t.source = s.source AND t.accounted > 0
 WHERE s.state <> 'retired'
 ORDER BY s.source;

-- name: doctor_deletes
-- How many deletes of the last week named a document, and how many one that was never there.
SELECT s.source, sum(b.documents_deleted)::bigint AS documents_deleted,
       sum(b.deletes_without_document)::bigint AS deletes_without_document
  FROM freshet.source s
 CROSS JOIN LATERAL (  -- one step per source in the index, which has no times of all
       SELECT n.documents_deleted, n.deletes_without_document FROM freshet.batch n
        WHERE n.source = s.source AND n.published_at > now() - interval '7 days' AND n.kind = 'ingest'
       OFFSET 0
       ) b
 GROUP BY s.source ORDER BY s.source;

-- name: doctor_asking_sources
-- Sources in use that have documents from addresses, which can be asked for again.
SELECT s.source, s.spec FROM freshet.source s
 WHERE s.state <> 'retired'
   -- The first one in the order of its index: EXISTS may read all of them to join them, and LIMIT alone all of them per
   -- source, since the planner takes each source for one that has many. Where all addresses of a source are
   -- secret, all its rows are read.
   AND (
       SELECT true FROM freshet.fetched f WHERE f.source = s.source AND f.url IS NOT NULL
       ORDER BY f.document_id LIMIT 1
   )
 ORDER BY s.source;
