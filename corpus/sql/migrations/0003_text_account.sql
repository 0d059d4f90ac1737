-- 0003 text account: what cleaning kept and dropped of every document version, and the sums per batch.
-- Why: text that a rule dropped was in no figure. Null: the version is from before this migration.
-- Locks: ACCESS EXCLUSIVE on document, batch and freshness_report for a moment; columns without a volatile default rewrite nothing.
-- Phase: pre (old code leaves the columns empty).

ALTER TABLE freshet.document
    ADD COLUMN received_characters bigint,                    -- of the content, white space not counted
    ADD COLUMN kept_characters     bigint,                    -- of them, those in the cleaned text
    ADD COLUMN dropped             jsonb,                     -- characters per rule; with kept_characters they add up
    ADD COLUMN tokens              bigint,                    -- of its chunks, special tokens not counted
    ADD COLUMN unknown_tokens      bigint;                    -- of them, those that the model has no word for

ALTER TABLE freshet.freshness_report
    ADD COLUMN empty bigint,                                  -- visible documents of whose readable text nothing is left
    ADD COLUMN lossy bigint;                                  -- visible documents that keep less than min_kept_ratio

-- Characters that a person could have read: all but those of machines and of markup.
CREATE FUNCTION freshet.readable_characters(p_received bigint, p_dropped jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$
    SELECT p_received - coalesce((p_dropped ->> 'machine')::bigint, 0) - coalesce((p_dropped ->> 'markup')::bigint, 0)
$$;

-- Sums over the document versions that a batch opened.
ALTER TABLE freshet.batch
    ADD COLUMN received_characters bigint NOT NULL DEFAULT 0,
    ADD COLUMN kept_characters     bigint NOT NULL DEFAULT 0,
    ADD COLUMN dropped             jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN tokens              bigint NOT NULL DEFAULT 0,
    ADD COLUMN unknown_tokens      bigint NOT NULL DEFAULT 0,
    ADD COLUMN documents_empty     bigint NOT NULL DEFAULT 0, -- had readable text, and nothing is left
    ADD COLUMN documents_lossy     bigint NOT NULL DEFAULT 0, -- less is left than min_kept_ratio asks for
    ADD COLUMN deletes_without_document bigint NOT NULL DEFAULT 0; -- deletes of what was never there
