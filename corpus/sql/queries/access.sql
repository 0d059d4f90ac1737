-- name: read_as
-- Until the transaction ends, it is this reader's; lists in JSON. No policy of the database reads these settings yet.
SELECT set_config('freshet.reader', %(reader)s, true) AS reader,
       set_config('freshet.sources', %(sources)s, true) AS sources,
       set_config('freshet.groups', %(groups)s, true) AS groups;
