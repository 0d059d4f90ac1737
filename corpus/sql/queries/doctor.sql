-- name: doctor_iterative_scan
-- Whether this server's pgvector can continue an index scan until enough rows pass a filter.
-- The cast loads the library, without which the setting is unknown.
SELECT '[1]'::vector IS NOT NULL AND current_setting('hnsw.iterative_scan', true) IS NOT NULL AS supported;
