-- name: text_search_languages
-- The text search configurations that a source, or the event of a document, may name.
SELECT cfgname FROM pg_catalog.pg_ts_config WHERE pg_catalog.pg_ts_config_is_visible(oid) ORDER BY cfgname;

-- name: character_type
-- Which characters are letters for text search, in the words of the server's system.
SELECT datctype FROM pg_catalog.pg_database WHERE datname = current_database();

-- name: set_character_type
-- Give a database with C as its character type another one; sessions that begin from now on have it. With C as its
-- order, no index of Freshet depends on the character type. A database of another order is left as it is.
UPDATE pg_catalog.pg_database SET datctype = %(character_type)s
WHERE datname = %(database)s AND datlocprovider = 'c' AND datctype IN ('C', 'POSIX') AND datcollate IN ('C', 'POSIX')
  AND pg_encoding_to_char(encoding) = 'UTF8' AND %(character_type)s NOT IN ('C', 'POSIX');

-- name: restart_search_texts
-- With another character type every search text may be another.
UPDATE freshet.search_text_state s SET character_type = d.datctype, next_chunk = 0
FROM pg_catalog.pg_database d WHERE d.datname = current_database() AND s.character_type <> d.datctype;

-- name: rebuild_search_texts
-- Rebuild the search texts of the next chunks, those of ASCII with known headings excepted: they are the same with
-- every character type.
WITH state AS MATERIALIZED (SELECT next_chunk FROM freshet.search_text_state FOR UPDATE),
slice AS MATERIALIZED (
    SELECT c.chunk_id, c.source, c.text, c.search_text, c.language, c.headings IS NULL AS is_new,
           coalesce(c.headings, freshet.headings_above(c)) AS headings
    FROM freshet.chunk c
    WHERE c.chunk_id >= (SELECT next_chunk FROM state) ORDER BY c.chunk_id LIMIT %(limit)s
), made AS MATERIALIZED (
    SELECT n.chunk_id, n.headings, n.is_new, n.search_text AS old_text, freshet.search_text(
               coalesce(n.language, s.spec ->> 'text_search_language', 'english')::regconfig, n.text, n.headings
           ) AS new_text
    FROM slice n JOIN freshet.source s USING (source)
    WHERE n.is_new OR octet_length(n.text || n.headings) <> char_length(n.text || n.headings)
), written AS (
    UPDATE freshet.chunk c SET search_text = m.new_text, headings = m.headings FROM made m
    WHERE c.chunk_id = m.chunk_id AND (m.is_new OR m.new_text <> m.old_text) RETURNING c.chunk_id
), rebuilt AS (
    SELECT FROM written JOIN made m USING (chunk_id) WHERE m.new_text <> m.old_text
), moved AS (
    UPDATE freshet.search_text_state SET next_chunk = (SELECT max(chunk_id) + 1 FROM slice)
    WHERE EXISTS (SELECT FROM slice)
)
SELECT (SELECT count(*) FROM slice) AS looked_at, (SELECT count(*) FROM rebuilt) AS rebuilt;
