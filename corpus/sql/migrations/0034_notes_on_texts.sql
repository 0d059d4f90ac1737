-- 0034 notes on texts: what a version's content was read as where something else was stated, and what of its text was
-- recognised in pictures; and the sums per batch.
-- Why: a PDF that is sent as HTML is read as PDF, and nobody could ask for it. Null: the version is from before this
-- migration.
-- Locks: ACCESS EXCLUSIVE on document and batch for a moment; columns without a volatile default rewrite nothing.
-- Phase: pre (old code leaves the columns empty).

ALTER TABLE freshet.document
    ADD COLUMN notes jsonb;                                   -- by name, those that there are (corpus.clean.account.Notes)

ALTER TABLE freshet.batch
    ADD COLUMN notes jsonb NOT NULL DEFAULT '{}';             -- sums of numbers; of the others, how many versions have one
