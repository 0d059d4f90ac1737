-- 0011 unknown text: characters that a model has no word for, of every document version, and the sums per batch.
-- Why: a sentence of Thai is one unknown token of an English model, however long it is, so the share of tokens hid that
-- nothing of the text was embedded. Null: the version is from before this migration.
-- Locks: ACCESS EXCLUSIVE on document, batch and freshness_report for a moment; columns without a volatile default
-- rewrite nothing. Phase: pre (old code leaves the columns empty).

ALTER TABLE freshet.document
    ADD COLUMN unknown_characters bigint;                     -- of the chunks, those inside tokens that are unknown

ALTER TABLE freshet.batch
    ADD COLUMN unknown_characters bigint NOT NULL DEFAULT 0,
    ADD COLUMN documents_unknown  bigint NOT NULL DEFAULT 0;  -- have more of them than max_unknown_ratio allows

ALTER TABLE freshet.freshness_report
    ADD COLUMN unknown       bigint,                          -- visible documents of more than max_unknown_ratio
    ADD COLUMN unknown_ratio double precision;                -- share of the characters of all visible documents
