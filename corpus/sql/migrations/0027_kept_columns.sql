-- 0027 kept columns: large columns of a table's rows, as the newest version of each document had them.
-- Why: the log of a database leaves out a large column that an update did not touch, so its text can only be taken
-- from the version before; the corpus had it in cleaned pieces only.
-- Locks: none (a new table). Phase: pre. Old code does not fill it: documents that it writes have no kept columns,
-- and a change that leaves one of theirs out becomes a dead letter.

CREATE TABLE freshet.kept_columns (
    source      text NOT NULL,
    document_id text NOT NULL,
    columns     text NOT NULL,                                -- JSON: values by name
    kept_at     timestamptz NOT NULL DEFAULT now(),           -- when the version, or its deletion, was published
    is_deleted  boolean NOT NULL DEFAULT false,               -- the document is; its key may have changed
    PRIMARY KEY (source, document_id)
);

CREATE INDEX kept_columns_deleted ON freshet.kept_columns (source, kept_at) WHERE is_deleted;
