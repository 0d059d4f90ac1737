-- name: read_as
-- Until the transaction ends, rows are those of this reader; lists in JSON. Policies read these settings.
SELECT set_config('freshet.reader', %(reader)s, true), set_config('freshet.sources', %(sources)s, true),
       set_config('freshet.groups', %(groups)s, true);
