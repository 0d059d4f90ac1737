-- 0047 one index of parts: the index of attachments that 0046 replaces is dropped.
-- Why: apart from 0046, since a transaction that has made an index of a table, and then asks for the table alone, and a
--   publisher that reads the table wait for each other.
-- Locks: ACCESS EXCLUSIVE on document for a moment.
-- Phase: pre. Old code uses the other index.

SET LOCAL lock_timeout = '10s';
DROP INDEX freshet.document_parts;
