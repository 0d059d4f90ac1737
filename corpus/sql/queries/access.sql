-- name: read_as
-- Until the transaction ends, rows are those of this reader; lists in JSON. Policies and functions believe these
-- settings of members of freshet_gateway only, and a user with more rights takes on that role.
SELECT set_config('freshet.reader', %(reader)s, true) AS reader,
       set_config('freshet.sources', %(sources)s, true) AS sources,
       set_config('freshet.groups', %(groups)s, true) AS groups,
       set_config('role', 'freshet_gateway', true) AS "role";
