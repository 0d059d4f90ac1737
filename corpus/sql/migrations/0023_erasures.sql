-- 0023 erasures: orders to forget documents, what is remembered so that they do not come back, and receipts.
-- Why: nothing could be forgotten: a delete leaves the versions before it, their chunks, vectors, dead letters and staged files.
-- Locks: none (new tables and functions). Phase: pre. Old code does not know what is erased and would publish it again: order no
-- erasure before the last process of it has ended.

-- The keys of this installation, made here. One row. A copy of the database has them, too.
CREATE TABLE freshet.erasure_key (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    inner_pad   bytea NOT NULL CHECK (octet_length(inner_pad) = 64),     -- HMAC-SHA256 (RFC 2104), of the hashes of ids
    outer_pad   bytea NOT NULL CHECK (octet_length(outer_pad) = 64),
    signing_key bytea NOT NULL CHECK (octet_length(signing_key) = 32)    -- Ed25519, of the receipts
);

CREATE FUNCTION freshet.hmac_pad(p_key bytea, p_byte integer) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT decode(string_agg(lpad(to_hex(
        (CASE WHEN n < octet_length(p_key) THEN get_byte(p_key, n) ELSE 0 END) # p_byte), 2, '0'), '' ORDER BY n), 'hex')
    FROM generate_series(0, 63) n
$$;

WITH made AS (
    -- Three random UUIDs have 366 random bits; a hash of them is a key of 256.
    SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) AS hash_key,
           sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) AS signing_key
)
INSERT INTO freshet.erasure_key (inner_pad, outer_pad, signing_key)
SELECT freshet.hmac_pad(hash_key, 54), freshet.hmac_pad(hash_key, 92), signing_key FROM made;

-- One row per order. The plain ids are here until the receipt is written, and nowhere afterwards.
CREATE TABLE freshet.erasure (
    erasure       uuid PRIMARY KEY,
    source        text NOT NULL REFERENCES freshet.source,
    document_ids  text[],                                     -- null: the receipt is written
    documents     bigint NOT NULL CHECK (documents > 0),
    dead_letters  bigint[] NOT NULL DEFAULT '{}',             -- that cannot be read, and that a person chose to go with them
    reason        text NOT NULL,
    requested_by  text NOT NULL,                              -- user and machine of the command
    requested_at  timestamptz NOT NULL DEFAULT now(),
    out_of_reach  jsonb NOT NULL,                             -- stores that Freshet does not erase from, and until when
    batch         bigint,                                     -- that removed the rows; null: not carried out yet
    erased_at     timestamptz,                                -- instant of that batch
    removed       jsonb NOT NULL DEFAULT '{}',                -- store -> how many
    probes        jsonb NOT NULL DEFAULT '{}',                -- way of retrieval -> how many it still finds
    staged_files  text[] NOT NULL DEFAULT '{}',               -- names of those that were removed
    waits_for     text,                                       -- why there is no receipt yet
    receipt       jsonb,
    finished_at   timestamptz
);
CREATE INDEX erasure_source ON freshet.erasure (source, requested_at DESC);
CREATE INDEX erasure_unfinished ON freshet.erasure (erasure) WHERE receipt IS NULL;

-- What must not come back: keyed hashes of ids, and of unreadable records that were of such a document.
CREATE TABLE freshet.erased_document (
    source        text NOT NULL REFERENCES freshet.source,
    document_hash bytea NOT NULL CHECK (octet_length(document_hash) = 32),
    erasure       uuid NOT NULL REFERENCES freshet.erasure,
    record_of     bytea,                                      -- the hash is of a record; this one is of its document
    access_id     integer,                                    -- who could read it may know that it is erased
    erased_at     timestamptz NOT NULL,
    lifted_at     timestamptz,                                -- set: it may come again
    lifted_by     text,
    lift_reason   text,
    PRIMARY KEY (source, document_hash)
);

-- Chunks that were erased, so that lineage can say so of one that an application remembers.
CREATE TABLE freshet.erased_chunk (
    chunk_id bigint PRIMARY KEY,
    erasure  uuid NOT NULL REFERENCES freshet.erasure
);

-- Hashes of erased texts, until a storer has removed their vectors where no chunk needs them.
CREATE TABLE freshet.erased_text (
    text_sha256 bytea PRIMARY KEY,
    erasure     uuid                                          -- that counts them; null: of a batch that was prepared before it
);

-- The keyed hash of a document's id, or of a record, in UTF-8. Its caller needs no right to the key; who publishes may call it.
CREATE FUNCTION freshet.erased_hash(p_source text, p_name bytea) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sha256(k.outer_pad || sha256(k.inner_pad || convert_to(p_source, 'UTF8') || '\x0a'::bytea || p_name))
    FROM freshet.erasure_key k
$$;

-- The key that signs receipts, for who publishes.
CREATE FUNCTION freshet.signing_key() RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.signing_key FROM freshet.erasure_key k
$$;

-- The batch that erased a document, for who could read it.
CREATE FUNCTION freshet.erasure_of(p_source text, p_document_id text) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.batch
    FROM freshet.reading() r, freshet.erased_document x JOIN freshet.erasure e ON e.erasure = x.erasure
    WHERE x.source = p_source AND x.lifted_at IS NULL
      AND x.document_hash = freshet.erased_hash(p_source, convert_to(p_document_id, 'UTF8'))
      AND (r.sees_all OR freshet.is_readable(x.access_id, x.source, r.defaults, r.lists))
$$;

-- A text without these ids: in quotes, or, where they are not too short to be anything else, as whole words.
CREATE FUNCTION freshet.without_ids(p_text text, p_ids text[]) RETURNS text LANGUAGE plpgsql
IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    v_text text := p_text;
    v_id text;
BEGIN
    FOREACH v_id IN ARRAY p_ids LOOP
        IF strpos(v_text, v_id) > 0 THEN
            v_text := replace(replace(v_text, quote_literal(v_id), '(erased)'), '"' || v_id || '"', '(erased)');
            IF length(v_id) > 3 THEN
                v_text := regexp_replace(
                    v_text, '(?<![[:alnum:]])' || regexp_replace(v_id, '([^[:alnum:][:space:]])', '\\\1', 'g')
                    || '(?![[:alnum:]])', '(erased)', 'g');
            END IF;
        END IF;
    END LOOP;
    RETURN v_text;
END $$;
