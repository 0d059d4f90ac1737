-- 0001 initial: the whole corpus: sources, positions, ledger, documents, chunks, vectors, subscriptions, freshness.
-- Why: first version. Locks: none (new tables). Phase: pre (apply before new code runs).

CREATE SCHEMA IF NOT EXISTS freshet;

-- ── where documents come from ───────────────────────────────────────────────────────────────────────────────────
-- One row a configured source. `spec` is the validated configuration that workers read; `revision` counts its changes.
CREATE TABLE freshet.source (
    source            text PRIMARY KEY CHECK (source ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    spec              jsonb NOT NULL,
    revision          integer NOT NULL DEFAULT 1,
    state             text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'halted', 'retired')),
    state_reason      text,                                   -- why paused or halted, with the gap named
    epoch             bigint NOT NULL DEFAULT 0,              -- rises when consumers must seek to the position rows again
    last_batch        bigint NOT NULL DEFAULT 0,              -- number of the newest published batch
    last_published_at timestamptz,                            -- strictly rising a source, so that as-of is exact
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);

-- The truth about position: moved only in the transaction that publishes the effects.
-- Moved by anything but progress (a rewind, an accepted gap), `source.epoch` rises and consumers seek again.
CREATE TABLE freshet.source_position (
    source      text NOT NULL REFERENCES freshet.source,
    cluster_id  text NOT NULL,
    topic       text NOT NULL,
    topic_id    text NOT NULL,                                -- Kafka's own; changes when a topic is recreated
    partition   integer NOT NULL CHECK (partition >= 0),
    next_offset bigint NOT NULL CHECK (next_offset >= 0),     -- first offset whose effect is not yet in the corpus
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, topic, partition)
);

-- ── embedding spaces and the embedding store ────────────────────────────────────────────────────────────────────
-- Vectors are comparable only inside one space; the fingerprint covers everything that changes a vector.
CREATE TABLE freshet.embedding_space (
    space_id    smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    model       text NOT NULL,
    weights     text NOT NULL,                                -- revision or digest of the weights
    pooling     text NOT NULL,
    prefix      text NOT NULL,
    dimensions  integer NOT NULL CHECK (dimensions BETWEEN 1 AND 16000),
    normalised  boolean NOT NULL,
    token_limit integer NOT NULL CHECK (token_limit > 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (space_id, dimensions)
);

-- Every text ever embedded, once a space: written as soon as the vector exists, so a crash loses at most the shard
-- in flight, and two batches (or sources) that need one text share it.
CREATE TABLE freshet.embedding (
    space_id    smallint NOT NULL,
    text_sha256 bytea NOT NULL CHECK (octet_length(text_sha256) = 32),
    dimensions  integer NOT NULL,
    embedding   vector NOT NULL,
    source      text NOT NULL,                                -- for whose batch it was embedded
    batch       bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, text_sha256),
    FOREIGN KEY (space_id, dimensions) REFERENCES freshet.embedding_space (space_id, dimensions),
    CHECK (vector_dims(embedding) = dimensions)
);
-- Keep a row in one piece up to a page: vectors do not compress, and a detour through TOAST costs every read.
ALTER TABLE freshet.embedding SET (toast_tuple_target = 8160);
CREATE INDEX embedding_batch ON freshet.embedding (source, batch);

-- ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────────
-- One row a batch. The five outcomes add up to the records read: every event is accounted for (promise 4).
CREATE TABLE freshet.batch (
    source            text NOT NULL REFERENCES freshet.source,
    batch             bigint NOT NULL CHECK (batch > 0),      -- counts up by one a source
    kind              text NOT NULL CHECK (kind IN ('ingest', 'expiry', 'erasure', 'reembed')),
    state             text NOT NULL CHECK (state IN ('published', 'held', 'rejected', 'withdrawn')),
    records           bigint NOT NULL DEFAULT 0,              -- consumed records (or documents judged, for other kinds)
    applied           bigint NOT NULL DEFAULT 0,
    unchanged         bigint NOT NULL DEFAULT 0,
    superseded        bigint NOT NULL DEFAULT 0,
    dead_lettered     bigint NOT NULL DEFAULT 0,
    ignored           bigint NOT NULL DEFAULT 0,
    documents_written bigint NOT NULL DEFAULT 0,              -- document versions opened
    documents_deleted bigint NOT NULL DEFAULT 0,
    documents_expired bigint NOT NULL DEFAULT 0,
    chunks_opened     bigint NOT NULL DEFAULT 0,
    chunks_closed     bigint NOT NULL DEFAULT 0,
    chunks_reused     bigint NOT NULL DEFAULT 0,              -- kept open, untouched, in a new document version
    texts_embedded    bigint NOT NULL DEFAULT 0,              -- texts that were embedded for this batch, however often it was tried
    reason            text,                                   -- for expiry, erasure: the rule
    workflow_id       text NOT NULL,
    run_id            text NOT NULL,
    pipeline          text NOT NULL DEFAULT '',               -- fingerprint of the preparation
    space_id          smallint REFERENCES freshet.embedding_space,
    approver          text,
    staged_at         timestamptz NOT NULL,                   -- when its oldest reference reached the source
    published_at      timestamptz NOT NULL,
    PRIMARY KEY (source, batch),
    CHECK (applied + unchanged + superseded + dead_lettered + ignored = records)
);
CREATE INDEX batch_published ON freshet.batch (source, published_at DESC);

-- The offsets of a batch. `absent` counts holes that Kafka itself leaves (compaction, transaction markers).
CREATE TABLE freshet.batch_range (
    source       text NOT NULL,
    batch        bigint NOT NULL,
    topic        text NOT NULL,
    partition    integer NOT NULL,
    epoch        bigint NOT NULL,                             -- of the source: a recreated topic begins at 0 again, in a new epoch
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,                             -- exclusive
    records      bigint NOT NULL,
    absent       bigint GENERATED ALWAYS AS (next_offset - first_offset - records) STORED CHECK (absent >= 0),
    PRIMARY KEY (source, batch, topic, partition),
    FOREIGN KEY (source, batch) REFERENCES freshet.batch,
    CHECK (next_offset > first_offset)
);
-- No offset is accounted for twice, and none between two batches is left out: the next range starts here.
CREATE UNIQUE INDEX batch_range_start ON freshet.batch_range (source, topic, partition, epoch, first_offset);

-- ── documents and chunks ────────────────────────────────────────────────────────────────────────────────────────
-- One row a document *version*. The head is the newest version known, visible or not: it is the fence (promise 3).
-- Visible: visible_from <= t AND (visible_to IS NULL OR t < visible_to). A tombstone is a head that was never visible.
CREATE TABLE freshet.document (
    document_key   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source         text NOT NULL REFERENCES freshet.source,
    document_id    text NOT NULL,
    version        bigint NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('document', 'tombstone')),
    is_head        boolean NOT NULL,
    visible_from   timestamptz NOT NULL,
    visible_to     timestamptz,
    end_reason     text CHECK (end_reason IN ('replaced', 'deleted', 'expired', 'erased')),
    end_detail     text,                                      -- the rule that ended it, for expiry and erasure
    end_batch      bigint,
    uri            text,
    title          text,
    content_type   text,
    metadata       jsonb NOT NULL DEFAULT '{}',
    acl            text[],
    raw_sha256     bytea,                                     -- the Kafka value as it came: same bytes, nothing to do
    content_sha256 bytea,                                     -- the content as received
    cleaned_sha256 bytea,                                     -- the text after cleaning: same meaning, nothing to embed
    content_bytes  bigint,
    pipeline       text NOT NULL DEFAULT '',
    space_id       smallint REFERENCES freshet.embedding_space,
    chunk_ids      bigint[] NOT NULL DEFAULT '{}',            -- in reading order; a text that repeats stands repeatedly
    chunk_starts   integer[] NOT NULL DEFAULT '{}',           -- character offset of each in the cleaned text
    chunk_headings text[] NOT NULL DEFAULT '{}',              -- headings above each, joined by ' > '; a chunk's place is its document's
    event_at       timestamptz,                               -- the source's own time of the change
    observed_at    timestamptz NOT NULL,                      -- last time the source sent it (record time)
    verified_at    timestamptz,                               -- last time it was asked for at its origin
    expires_at     timestamptz,                               -- the event's own end, if it has one
    batch          bigint NOT NULL,
    topic          text,
    partition      integer,
    record_offset  bigint,
    FOREIGN KEY (source, batch) REFERENCES freshet.batch DEFERRABLE INITIALLY DEFERRED,
    CHECK (visible_to IS NULL OR visible_to >= visible_from),
    CHECK ((visible_to IS NULL) = (end_reason IS NULL)),
    CHECK (cardinality(chunk_ids) = cardinality(chunk_starts)),
    CHECK (cardinality(chunk_ids) = cardinality(chunk_headings))
);
CREATE UNIQUE INDEX document_head ON freshet.document (source, document_id) WHERE is_head;
CREATE UNIQUE INDEX document_visible ON freshet.document (source, document_id) WHERE visible_to IS NULL;
CREATE INDEX document_history ON freshet.document (source, document_id, visible_from);
CREATE INDEX document_metadata ON freshet.document USING gin (metadata jsonb_path_ops) WHERE visible_to IS NULL;
CREATE INDEX document_batch ON freshet.document (source, batch);

-- Immutable text with its vector. An edit closes one chunk and opens another; the rest is not touched.
CREATE TABLE freshet.chunk (
    chunk_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       text NOT NULL,
    document_id  text NOT NULL,
    text_sha256  bytea NOT NULL CHECK (octet_length(text_sha256) = 32),
    text         text NOT NULL,
    token_count  integer NOT NULL,
    truncated    boolean NOT NULL DEFAULT false,              -- longer than the model reads, by explicit choice only
    search_text  tsvector NOT NULL,
    space_id     smallint NOT NULL,
    dimensions   integer NOT NULL,
    embedding    vector NOT NULL,
    visible_from timestamptz NOT NULL,
    visible_to   timestamptz,
    batch        bigint NOT NULL,
    end_batch    bigint,
    FOREIGN KEY (space_id, dimensions) REFERENCES freshet.embedding_space (space_id, dimensions),
    CHECK (vector_dims(embedding) = dimensions),
    CHECK (visible_to IS NULL OR visible_to >= visible_from)
);
ALTER TABLE freshet.chunk SET (toast_tuple_target = 8160);
CREATE UNIQUE INDEX chunk_visible ON freshet.chunk (source, document_id, text_sha256, space_id) WHERE visible_to IS NULL;
CREATE INDEX chunk_history ON freshet.chunk (source, document_id, visible_from) WHERE visible_to IS NOT NULL;
CREATE INDEX chunk_search_text ON freshet.chunk USING gin (search_text) WHERE visible_to IS NULL;

-- The vector index covers visible rows of one space only; a space gets its own when it is registered.
CREATE FUNCTION freshet.register_space(
    p_fingerprint text, p_model text, p_weights text, p_pooling text, p_prefix text,
    p_dimensions integer, p_normalised boolean, p_token_limit integer
) RETURNS smallint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE v_space smallint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('freshet.register_space'));
    SELECT space_id INTO v_space FROM freshet.embedding_space WHERE fingerprint = p_fingerprint;
    IF v_space IS NULL THEN
        INSERT INTO freshet.embedding_space (fingerprint, model, weights, pooling, prefix, dimensions, normalised, token_limit)
        VALUES (p_fingerprint, p_model, p_weights, p_pooling, p_prefix, p_dimensions, p_normalised, p_token_limit)
        RETURNING space_id INTO v_space;
    END IF;
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS chunk_embedding_space_%s ON freshet.chunk USING hnsw ((embedding::vector(%s)) vector_cosine_ops) '
        'WHERE visible_to IS NULL AND space_id = %s', v_space, p_dimensions, v_space);
    RETURN v_space;
END $$;

-- ── dead letters ────────────────────────────────────────────────────────────────────────────────────────────────
-- An event that could not be used, with the reason and the original bytes. Produced to the dead-letter topic from here.
CREATE TABLE freshet.dead_letter (
    dead_letter   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source        text NOT NULL,
    batch         bigint NOT NULL,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint NOT NULL,
    document_id   text,                                       -- where it could be read
    reason        text NOT NULL,                              -- a DeadLetterReason
    detail        text NOT NULL DEFAULT '',
    key           bytea,
    value         bytea,
    headers       jsonb NOT NULL DEFAULT '[]',                -- [[name, base64 or null], ...]
    record_at     timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'redriven', 'discarded')),
    state_at      timestamptz,
    produced_at   timestamptz,                                -- when it stood on the dead-letter topic
    FOREIGN KEY (source, batch) REFERENCES freshet.batch DEFERRABLE INITIALLY DEFERRED,
    UNIQUE (source, topic, partition, record_offset, batch)
);
CREATE INDEX dead_letter_unproduced ON freshet.dead_letter (dead_letter) WHERE produced_at IS NULL;
CREATE INDEX dead_letter_open ON freshet.dead_letter (source, created_at) WHERE state = 'open';

-- ── who is told ─────────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE freshet.subscription (
    subscriber text NOT NULL CHECK (subscriber ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    source     text NOT NULL REFERENCES freshet.source,
    endpoint   text NOT NULL,                                 -- Nexus endpoint of the team
    from_batch bigint NOT NULL DEFAULT 0,                     -- notices start after this batch
    state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscriber, source)
);

-- One row a (subscriber, source): the cursor over the ledger, and how it stands.
CREATE TABLE freshet.delivery (
    subscriber   text NOT NULL,
    source       text NOT NULL,
    cursor_batch bigint NOT NULL DEFAULT 0,                   -- newest batch that was acknowledged
    state        text NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'delivering', 'parked')),
    last_error   text,
    delivered    bigint NOT NULL DEFAULT 0,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscriber, source),
    FOREIGN KEY (subscriber, source) REFERENCES freshet.subscription
);
-- Which notice was acknowledged when: lineage's "who was told".
CREATE TABLE freshet.delivered_notice (
    subscriber      text NOT NULL,
    source          text NOT NULL,
    batch           bigint NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscriber, source, batch)
);

-- ── freshness ───────────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE freshet.freshness_report (
    source           text NOT NULL REFERENCES freshet.source,
    snapshotted_at   timestamptz NOT NULL,
    status           text NOT NULL CHECK (status IN ('pass', 'warn', 'error', 'runtime error')),
    max_loaded_at    timestamptz,                             -- newest event of the source
    oldest_verified_at timestamptz,                           -- oldest last-observed-or-verified of a visible document
    documents        bigint,
    overdue          bigint,                                  -- documents past expire_after or expires_at
    expired          bigint,                                  -- withdrawn by this check
    error            text,                                    -- for 'runtime error'
    criteria         jsonb NOT NULL,
    duration_seconds double precision NOT NULL,
    workflow_id      text NOT NULL,
    run_id           text NOT NULL,
    PRIMARY KEY (source, snapshotted_at)
);
