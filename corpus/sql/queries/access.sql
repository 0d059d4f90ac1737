-- name: read_as
-- Until the transaction ends, rows are those of this reader; lists in JSON. Policies and functions believe these
-- settings of members of freshet_gateway only, and a user with more rights takes on that role.
SELECT set_config('freshet.reader', %(reader)s, true) AS reader,
       set_config('freshet.sources', %(sources)s, true) AS sources,
       set_config('freshet.groups', %(groups)s, true) AS groups,
       set_config('role', 'freshet_gateway', true) AS "role";

-- name: reader_logins
-- What logins of SQL clients may read, and what hinders them: each that is granted something, or the one of a name.
SELECT g.login, g.sources, g.groups, g.granted_at, g.granted_by,
       CASE WHEN r.oid IS NULL THEN 'there is no such login'
            WHEN r.oid IS DISTINCT FROM g.role_id THEN 'granted before there was this login: grant it again'
            WHEN r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, to_regrole('freshet_writer'), 'USAGE')
                 THEN 'sees everything'
            WHEN NOT pg_has_role(r.oid, to_regrole('freshet_reader'), 'USAGE') THEN 'not a member of freshet_reader'
            ELSE 'reads' END AS state
FROM freshet.reader_grant g LEFT JOIN pg_roles r ON r.rolname = g.login
WHERE %(login)s::text IS NULL OR g.login = %(login)s::text ORDER BY g.login;

-- name: grant_reader
-- A login may read these sources, and of them the documents of these groups; what it was granted before is replaced.
INSERT INTO freshet.reader_grant (login, role_id, sources, groups)
VALUES (%(login)s::text, (SELECT r.oid FROM pg_roles r WHERE r.rolname = %(login)s::text),
        %(sources)s::text[], %(groups)s::text[])
ON CONFLICT (login) DO UPDATE
    SET role_id = excluded.role_id, sources = excluded.sources, groups = excluded.groups, granted_at = now(),
        granted_by = session_user;

-- name: revoke_reader
-- A login may read nothing any more, with its next statement.
DELETE FROM freshet.reader_grant WHERE login = %(login)s;

-- name: next_without_list
-- The first document, from one on, whose access list was stated before lists had numbers.
SELECT document_key, source FROM freshet.document
WHERE document_key >= %(from)s::bigint AND acl IS NOT NULL AND access_id IS NULL ORDER BY document_key LIMIT 1;

-- name: fill_access_lists
-- Give a page of a source's documents the numbers of their access lists, and their chunks: those that are visible as
-- the document is, and those that were closed with it. The first document whole, and others while few rows change.
WITH page AS MATERIALIZED (
    SELECT p.document_key, p.chunk_ids, p.visible_to, freshet.access_of(%(source)s::text, p.acl) AS access_id
    FROM (
        SELECT d.document_key, d.chunk_ids, d.visible_to, d.acl,
               row_number() OVER (ORDER BY d.document_key) AS nth,
               sum(1 + cardinality(d.chunk_ids)) OVER (ORDER BY d.document_key) AS rows_upto
        FROM (
            SELECT * FROM freshet.document
            WHERE source = %(source)s::text AND document_key >= %(from)s::bigint AND acl IS NOT NULL
              AND access_id IS NULL
            ORDER BY document_key LIMIT %(limit)s
        ) d
    ) p
    WHERE p.nth = 1 OR p.rows_upto <= %(limit)s
), passed_on AS (
    UPDATE freshet.chunk c SET access_id = page.access_id
    FROM page
    WHERE c.chunk_id = ANY(page.chunk_ids) AND c.visible_to IS NOT DISTINCT FROM page.visible_to
      AND c.access_id IS DISTINCT FROM page.access_id
)
UPDATE freshet.document d SET access_id = page.access_id FROM page WHERE d.document_key = page.document_key;
