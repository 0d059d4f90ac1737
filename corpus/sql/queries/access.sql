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
            WHEN r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, to_regrole('freshet_writer'), 'USAGE')
                 THEN 'sees everything'
            WHEN NOT pg_has_role(r.oid, to_regrole('freshet_reader'), 'USAGE') THEN 'not a member of freshet_reader'
            ELSE 'reads' END AS state
FROM freshet.reader_grant g LEFT JOIN pg_roles r ON r.rolname = g.login
WHERE %(login)s::text IS NULL OR g.login = %(login)s::text ORDER BY g.login;

-- name: grant_reader
-- A login may read these sources, and of them the documents of these groups; what it was granted before is replaced.
INSERT INTO freshet.reader_grant (login, sources, groups) VALUES (%(login)s, %(sources)s::text[], %(groups)s::text[])
ON CONFLICT (login) DO UPDATE
    SET sources = excluded.sources, groups = excluded.groups, granted_at = now(), granted_by = session_user;

-- name: revoke_reader
-- A login may read nothing any more, with its next statement.
DELETE FROM freshet.reader_grant WHERE login = %(login)s;
