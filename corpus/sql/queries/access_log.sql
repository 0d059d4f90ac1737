-- name: log_access
-- Append entries to the chains of their sources: a JSON list of {source, actor, action, detail}.
SELECT freshet.log_access(%(entries)s::jsonb);

-- name: access_log
-- The newest rows, newest first; of a source, or of all chains.
SELECT source, number, at, actor, action, detail, written_by, encode(digest, 'hex') AS digest
  FROM freshet.access_log
 WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
 ORDER BY at DESC, source, number DESC
 LIMIT %(limit)s::bigint;

-- name: access_chains
-- The newest row of each chain, as its writers left it.
SELECT source, number, encode(digest, 'hex') AS digest FROM freshet.access_chain
 WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
 ORDER BY source;

-- name: verify_access_log
-- What does not fit in the chains: rows that are missing, and rows whose digest is not that of their content after the
-- row before. Rows that changed places, or came in between, show as such rows.
WITH linked AS (
    SELECT l.*, lag(l.number, 1, 0::bigint) OVER chain AS number_before,
           lag(l.digest, 1, ''::bytea) OVER chain AS before
      FROM freshet.access_log l
     WHERE (%(source)s::text IS NULL OR l.source = %(source)s::text)
    WINDOW chain AS (PARTITION BY l.source ORDER BY l.number)
), ends AS (
    SELECT source, max(number) AS number, (array_agg(digest ORDER BY number DESC))[1] AS digest
      FROM linked GROUP BY source
)
SELECT source, number,
       CASE WHEN number <> number_before + 1 THEN 'the rows from ' || number_before + 1 || ' on before it are missing'
            ELSE 'it, or the row before it, was changed' END AS problem
  FROM linked
 WHERE number <> number_before + 1
    OR digest <> freshet.access_digest(before, source, number, at, actor, action, detail, written_by)
UNION ALL
SELECT coalesce(c.source, e.source), coalesce(e.number, 0),
       CASE WHEN c.source IS NULL THEN 'the end of its chain is not kept'
            WHEN coalesce(e.number, 0) < c.number THEN 'the rows after it, up to ' || c.number || ', are missing'
            ELSE 'it is not the row that was written last' END
  FROM freshet.access_chain c
  FULL JOIN ends e USING (source)
 WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
   AND (c.number, c.digest) IS DISTINCT FROM (coalesce(e.number, 0), coalesce(e.digest, ''::bytea))
 ORDER BY 1, 2;
