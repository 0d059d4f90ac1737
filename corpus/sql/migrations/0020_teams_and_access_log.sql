-- 0020 teams and access log: who may call over Nexus, what each team is granted, and who asked and did what.
-- Why: whoever reached the Nexus endpoint could search everything, and nobody could say afterwards who had. Locks: none
-- (new tables). Phase: pre. Old code does not use them.

-- A team that `freshet apply` has configured. Its keys are in files of the gateway, never here.
CREATE TABLE freshet.team (
    team       text PRIMARY KEY,
    spec       jsonb NOT NULL,
    state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended')),
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- Who asked and who did what, a chain per source: the digest of a row covers the row and the digest before it. Rows of no
-- source (refused callers, what concerns the installation) are the chain ''.
CREATE TABLE freshet.access_log (
    source     text NOT NULL,
    number     bigint NOT NULL CHECK (number > 0),             -- in its chain, without gaps
    at         timestamptz NOT NULL,
    actor      text NOT NULL,                                  -- "team:NAME", "login:NAME", "unclaimed"
    action     text NOT NULL,                                  -- an operation over Nexus, or a command
    detail     jsonb NOT NULL,                                 -- of a query its digest, unless the source keeps the text
    written_by text NOT NULL,                                  -- login of the process that wrote the row
    digest     bytea NOT NULL,
    PRIMARY KEY (source, number)
);
CREATE INDEX access_log_at ON freshet.access_log (at);

-- The newest row of each chain, so that a chain that lost its end shows it. Writers lock it while they append.
CREATE TABLE freshet.access_chain (
    source text PRIMARY KEY,
    number bigint NOT NULL DEFAULT 0,
    digest bytea NOT NULL DEFAULT ''
);

CREATE FUNCTION freshet.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'FR004';
END $$;
CREATE TRIGGER access_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON freshet.access_log
    FOR EACH STATEMENT EXECUTE FUNCTION freshet.refuse_change();

-- The digest of a row, after that of the row before it.
CREATE FUNCTION freshet.access_digest(
    p_before bytea, p_source text, p_number bigint, p_at timestamptz, p_actor text, p_action text, p_detail jsonb,
    p_written_by text
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(p_before || convert_to(jsonb_build_array(
        p_source, p_number, (extract(epoch FROM p_at) * 1000000)::bigint, p_actor, p_action, p_detail, p_written_by
    )::text, 'UTF8'))
$$;

-- Append entries: a list of {source, actor, action, detail}. One whose source there is not goes to the chain ''. A `query`
-- in the detail stays text only where its source says so. The chains are locked until the transaction ends.
CREATE FUNCTION freshet.log_access(p_entries jsonb) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_chain  record;
    v_entry  record;
    v_number bigint;
    v_before bytea;
    v_at     timestamptz := clock_timestamp();
    v_detail jsonb;
BEGIN
    FOR v_chain IN
        SELECT coalesce(s.source, '') AS source, coalesce(s.spec #>> '{audit,queries}' = 'text', false) AS keeps_text,
               array_agg(e.entry ORDER BY e.place) AS entries
          FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS e (entry, place)
          LEFT JOIN freshet.source s ON s.source = e.entry ->> 'source'
         GROUP BY 1, 2 ORDER BY 1
    LOOP
        INSERT INTO freshet.access_chain (source) VALUES (v_chain.source) ON CONFLICT DO NOTHING;
        SELECT c.number, c.digest INTO v_number, v_before
          FROM freshet.access_chain c WHERE c.source = v_chain.source FOR UPDATE;
        FOR v_entry IN SELECT entry FROM unnest(v_chain.entries) AS entry LOOP
            v_number := v_number + 1;
            v_detail := v_entry.entry -> 'detail';
            IF v_detail ? 'query' AND NOT v_chain.keeps_text THEN
                v_detail := (v_detail - 'query') || jsonb_build_object(
                    'query_sha256', encode(sha256(convert_to(v_detail ->> 'query', 'UTF8')), 'hex'));
            END IF;
            v_before := freshet.access_digest(v_before, v_chain.source, v_number, v_at, v_entry.entry ->> 'actor',
                                              v_entry.entry ->> 'action', v_detail, session_user::text);
            INSERT INTO freshet.access_log (source, number, at, actor, action, detail, written_by, digest)
            VALUES (v_chain.source, v_number, v_at, v_entry.entry ->> 'actor', v_entry.entry ->> 'action', v_detail,
                    session_user, v_before);
        END LOOP;
        UPDATE freshet.access_chain SET number = v_number, digest = v_before WHERE source = v_chain.source;
    END LOOP;
END $$;
