-- name: doctor_iterative_scan
-- Whether this server's pgvector can go on scanning an index until enough rows pass a filter (the cast loads the library).
SELECT '[1]'::vector IS NOT NULL AND current_setting('hnsw.iterative_scan', true) IS NOT NULL;
