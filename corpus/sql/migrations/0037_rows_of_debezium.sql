-- 0037 rows of Debezium: how often the record of a changed document was read again counts backfills that were done.
-- Why: one that was cancelled or failed was counted when it was ordered. Now each is counted when it is over, so the one
--   that was ordered last is taken off.
-- Locks: none beyond those of the rows.
-- Phase: pre. Old code counts when it orders: until storers are replaced, a change may be lost one check too early.

UPDATE freshet.fetched SET read_again = read_again - 1 WHERE backfill IS NOT NULL AND read_again > 0;
