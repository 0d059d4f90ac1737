-- 0015 traces: a published batch keeps where its trace continues.
-- Why: a delivery reads the batch from the ledger, hours later where a team is away, and its notice continues the trace.
-- Locks: ACCESS EXCLUSIVE on batch, for a column without a default (no rewrite). Phase: pre.

ALTER TABLE freshet.batch ADD COLUMN traceparent text;  -- W3C Trace Context, of the publishing; null: no trace was made
