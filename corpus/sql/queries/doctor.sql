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
SELECT s.source, s.spec ->> 'model' AS model, count(*) AS documents, setting.max_unknown_ratio,
       count(*) FILTER (WHERE d.unknown_characters > d.kept_characters * setting.max_unknown_ratio) AS unknown,
       (sum(d.unknown_characters) / greatest(sum(d.kept_characters), 1))::double precision AS unknown_ratio,
       (sum(d.tokens) / greatest(sum(d.kept_characters), 1))::double precision AS tokens_per_character
  FROM freshet.source s
 CROSS JOIN LATERAL (
       SELECT coalesce(
                  (s.spec -> 'pipeline' ->> 'max_unknown_ratio')::double precision,
                  %(max_unknown_ratio)s::double precision
              ) AS max_unknown_ratio
       ) setting
  JOIN freshet.document d ON d.source = s.source AND d.visible_to IS NULL AND d.unknown_characters IS NOT NULL
 WHERE s.state <> 'retired'
 GROUP BY s.source, s.spec, setting.max_unknown_ratio
 ORDER BY s.source;

-- name: doctor_deletes
-- How many deletes of the last week named a document, and how many one that was never there.
SELECT source, coalesce(sum(documents_deleted), 0)::bigint AS documents_deleted,
       coalesce(sum(deletes_without_document), 0)::bigint AS deletes_without_document
  FROM freshet.batch
 WHERE published_at > now() - interval '7 days' AND kind = 'ingest'
 GROUP BY source ORDER BY source;

-- name: doctor_asking_sources
-- Sources in use that have documents from addresses, which can be asked for again.
SELECT s.source, s.spec FROM freshet.source s
 WHERE s.state <> 'retired'
   AND EXISTS (SELECT FROM freshet.fetched f WHERE f.source = s.source AND f.url IS NOT NULL)
 ORDER BY s.source;
