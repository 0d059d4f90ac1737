-- 0006 wake ups: what each delivery was woken for, and up to which batch it has read the ledger.
-- Why: one wake-up per batch filled the history of a parked delivery, until Temporal refused the next one and its source
-- published nothing more. Locks: freshet.delivery, exclusively and for a moment (no row is rewritten). Phase: pre.

ALTER TABLE freshet.delivery
    ADD COLUMN read_batch  bigint NOT NULL DEFAULT 0,         -- newest batch when the delivery last read the ledger
    ADD COLUMN woken_batch bigint NOT NULL DEFAULT 0,         -- above read_batch: a wake-up is outstanding
    ADD COLUMN woken_at    timestamptz,                       -- time of the newest wake-up
    ADD COLUMN wake_ups    bigint NOT NULL DEFAULT 0;         -- wake-ups that were sent
