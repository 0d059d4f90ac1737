-- 0024 nothing of the erased: keys of staged files, which go with them; and who could read what was erased, without its access list.
-- Why: a copy or a backup of the staging store kept what was erased; the access list of an erased document stayed, and a group may
-- be named for a person. Locks: ACCESS EXCLUSIVE on erasure and erased_document for a moment (columns that are null or have a
-- constant default). Phase: pre. Old code reads no encrypted file: where payload keys are set, restart storers, embedders and
-- preparers before the consumers.

-- Where payload keys are set, each staged file is encrypted with a key of its own.
CREATE TABLE freshet.staged_key (
    name       text PRIMARY KEY,                              -- of the file
    key_id     text NOT NULL,                                 -- of the payload key that encrypts this one
    sealed_key bytea NOT NULL,                                -- nonce, AES-256-GCM of 32 bytes; the name is authenticated with it
    made_at    timestamptz NOT NULL DEFAULT now()
);

SET LOCAL lock_timeout = '10s';
ALTER TABLE freshet.erasure
    ADD COLUMN staged_keys text[] NOT NULL DEFAULT '{}';      -- names of the staged files that had a key, which was destroyed
ALTER TABLE freshet.erased_document
    ADD COLUMN group_hashes bytea[];                          -- of its access list; null: it had none, or access_id names it

-- As in 0023; who could read it is told by hashes of groups, since its access list goes with it.
CREATE OR REPLACE FUNCTION freshet.erasure_of(p_source text, p_document_id text) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.batch
    FROM freshet.reading() r, freshet.erased_document x JOIN freshet.erasure e ON e.erasure = x.erasure
    WHERE x.source = p_source AND x.lifted_at IS NULL
      AND x.document_hash = freshet.erased_hash(p_source, convert_to(p_document_id, 'UTF8'))
      AND (r.sees_all OR CASE
          WHEN x.group_hashes IS NULL THEN freshet.is_readable(x.access_id, x.source, r.defaults, r.lists)
          ELSE x.source = ANY(r.sources) AND x.group_hashes && ARRAY(
              SELECT freshet.erased_hash(p_source, convert_to(g, 'UTF8')) FROM unnest(r.groups) AS g) END)
$$;
