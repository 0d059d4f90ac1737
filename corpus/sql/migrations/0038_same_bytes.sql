-- 0038 same bytes: documents that were fetched are found by what came.
-- Why: an origin that gives one page for everything (a login, an error with status 200) is recognised by giving the
--   same bytes for another address of its host. Without an index each batch would look through all that its source
--   fetched.
-- Locks: SHARE on fetched while the index is built: no batch of documents by reference is published meanwhile.
-- Phase: pre. Old code does not use it.

SET LOCAL lock_timeout = '10s';
CREATE INDEX fetched_content ON freshet.fetched (source, content_sha256);
