-- 0037 rows of debezium: which version a dead letter is of, and what a tombstone says that its row became. How often the
-- record of a changed document was read again counts backfills that were done.
-- Why: whether a record that could not be used was written between two others was judged by its offset, which is wrong
--   where a connector sends changes again and where records are in several partitions. A tombstone without a version was
--   taken for the other half of any change of the key. A backfill that was cancelled or failed was counted when it was
--   ordered; now each is counted when it is over, so the one that was ordered last is taken off.
-- Locks: ACCESS EXCLUSIVE on dead_letter and kept_columns for a moment (columns that may be null, without a rewrite).
-- Phase: pre. Old code leaves the columns empty: such a letter is judged by its place, and such a tombstone by the time up
-- to which its partition is read. It counts when it orders: until storers are replaced, a change may be lost one check
-- too early.

SET LOCAL lock_timeout = '10s';
ALTER TABLE freshet.dead_letter
    ADD COLUMN version bigint;                                -- of the event; null: it is not known
ALTER TABLE freshet.kept_columns
    -- That deleted the row: [log, offset, record version, id of the document that the row became]. Null: none is known.
    ADD COLUMN tombstone jsonb;
UPDATE freshet.fetched SET read_again = read_again - 1 WHERE backfill IS NOT NULL AND read_again > 0;
