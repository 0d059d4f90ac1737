-- 0012 text and preparation: characters that a model has no word for; which sources are prepared again.
-- Why: a sentence of Thai is one unknown token of an English model, however long it is, so the share of tokens hid that
-- nothing of the text was embedded. And a newer preparation prepared unchanged documents anew whenever they were sent,
-- without anyone asking for it, and had no way to prepare the others.
-- Locks: ACCESS EXCLUSIVE on document, batch, freshness_report and source for a moment; columns without a volatile
-- default rewrite nothing. Phase: pre (old code leaves the columns empty).

ALTER TABLE freshet.document
    ADD COLUMN unknown_characters bigint;                     -- of the chunks, those inside unknown tokens; null: before this

ALTER TABLE freshet.batch
    ADD COLUMN unknown_characters bigint NOT NULL DEFAULT 0,
    ADD COLUMN documents_unknown  bigint NOT NULL DEFAULT 0;  -- have more of them than max_unknown_ratio allows

ALTER TABLE freshet.freshness_report
    ADD COLUMN unknown       bigint,                          -- visible documents of more than max_unknown_ratio
    ADD COLUMN unknown_ratio double precision;                -- share of the characters of all visible documents

ALTER TABLE freshet.source
    ADD COLUMN prepare_again text;                            -- fingerprint of the preparation that an operator asked for
