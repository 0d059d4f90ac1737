-- 0021 who may read: the access list of every document, who reads, and what they see; enforced by the database.
-- Why: an event's access list was kept and never used, so that whoever could search saw everything.
-- Locks: ACCESS EXCLUSIVE on document and chunk for a moment (columns without a default, triggers); where chunk is small,
-- also while an index of it is built (one scan). Where it is large, a storer builds it beside all publishing. Phase: pre.
-- Old code survives: triggers give what it writes its access lists; where the owner of the tables is no superuser, an
-- audit by it fails (COPY into a table with forced policies), so audit again when its last process has ended. Rows that
-- were there before get them afterwards, page by page (`corpus/sessions/access_lists.py`), and then row-level security
-- and the grants of the roles come
-- (`corpus/sessions/roles.py`), since the roles belong to the server and not to this database.

-- ── access lists ────────────────────────────────────────────────────────────────────────────────────────────────
-- Each access list once per source. Rows of documents and chunks refer to it; null there: the source's `default_acl`.
CREATE TABLE freshet.access_list (
    access_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source    text NOT NULL REFERENCES freshet.source,
    acl       text[] NOT NULL                                 -- groups, sorted, each once; empty: nobody
);

-- A list is found by its hash: an entry of an index holds at most 2,704 bytes, and a list of 100 groups may be longer.
CREATE FUNCTION freshet.acl_sha256(p_acl text[]) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT sha256(convert_to(p_acl::text, 'UTF8'))
$$;
CREATE UNIQUE INDEX access_list_acl ON freshet.access_list (source, freshet.acl_sha256(acl));

-- What the logins of SQL clients (members of freshet_reader) may read.
CREATE TABLE freshet.reader_grant (
    login      text PRIMARY KEY,                              -- as `session_user` has it
    role_id    oid,                                           -- of it; null: there was none. Not of another one with its name
    sources    text[] NOT NULL,
    groups     text[] NOT NULL DEFAULT '{}',
    granted_at timestamptz NOT NULL DEFAULT now(),
    granted_by text NOT NULL DEFAULT session_user
);

-- The number of an access list; null: the document states none.
CREATE FUNCTION freshet.access_of(p_source text, p_acl text[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_acl text[];
    v_sha256 bytea;
    v_access integer;
BEGIN
    IF p_acl IS NULL THEN RETURN NULL; END IF;
    SELECT coalesce(array_agg(DISTINCT g.name COLLATE "C"), '{}') INTO v_acl FROM unnest(p_acl) AS g (name);
    v_sha256 := freshet.acl_sha256(v_acl);
    SELECT a.access_id INTO v_access FROM freshet.access_list a
    WHERE a.source = p_source AND freshet.acl_sha256(a.acl) = v_sha256;
    IF FOUND THEN RETURN v_access; END IF;
    INSERT INTO freshet.access_list (source, acl) VALUES (p_source, v_acl) ON CONFLICT DO NOTHING
    RETURNING access_id INTO v_access;
    IF v_access IS NULL THEN
        SELECT a.access_id INTO v_access FROM freshet.access_list a
        WHERE a.source = p_source AND freshet.acl_sha256(a.acl) = v_sha256;
    END IF;
    RETURN v_access;
END $$;

-- The number of the access list that a record states which cannot be used; null: it states none, as far as it can be read.
-- One that cannot be read is for nobody.
CREATE FUNCTION freshet.stated_access(p_source text, p_value bytea) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_acl jsonb;
    v_groups text[] := '{}';
BEGIN
    IF p_value IS NULL OR position('"acl"'::bytea IN p_value) = 0 THEN RETURN NULL; END IF;
    BEGIN
        v_acl := convert_from(p_value, 'UTF8')::jsonb -> 'acl';
        IF coalesce(v_acl, 'null') = 'null' THEN RETURN NULL; END IF;
        v_groups := ARRAY(SELECT jsonb_array_elements_text(v_acl));
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        NULL;  -- for nobody
    END;
    RETURN freshet.access_of(p_source, v_groups);
END $$;

SET LOCAL lock_timeout = '10s';
ALTER TABLE freshet.dead_letter
    ADD COLUMN access_id integer;                             -- of the access list that the record states
UPDATE freshet.dead_letter l SET access_id = freshet.stated_access(l.source, l.value)
WHERE position('"acl"'::bytea IN l.value) > 0;
ALTER TABLE freshet.document
    ADD COLUMN access_id  integer,                            -- of `acl`
    -- the last upserts of this version: {"topic/partition/topic id": [offset, record version, access list]}; null: old code
    ADD COLUMN grants jsonb;
ALTER TABLE freshet.chunk
    ADD COLUMN access_id integer;                             -- of its document while it is visible; then as it was

-- ── which record of a version says who may read ─────────────────────────────────────────────────────────────────
-- The rule is that of corpus/versions/grants.py. Grants as old code implies them: of the first records of a version.
CREATE FUNCTION freshet.grants_from(p_written jsonb, p_acl text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_object_agg(w.key, w.value || jsonb_build_array(to_jsonb(p_acl))) FROM jsonb_each(p_written) w
$$;

CREATE FUNCTION freshet.grants_of(p_head freshet.document) RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_head.grants, freshet.grants_from(freshet.written_of(p_head), p_head.acl))
$$;

-- The last of both, per log, with the greatest record version; of the same record, what the other says.
CREATE FUNCTION freshet.latest_grants(p_one jsonb, p_other jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_object_agg(log, jsonb_build_array(record_offset, record_version, acl)) FROM (
        SELECT DISTINCT ON (g.log) g.log, g.record_offset, g.acl,
               max(g.record_version) OVER (PARTITION BY g.log) AS record_version
        FROM (
            SELECT key AS log, (value ->> 0)::bigint AS record_offset, (value ->> 1)::bigint AS record_version,
                   value -> 2 AS acl, 1 AS nth
            FROM jsonb_each(p_one)
            UNION ALL
            SELECT key, (value ->> 0)::bigint, (value ->> 1)::bigint, value -> 2, 2 FROM jsonb_each(p_other)
        ) g
        -- Redriven records have no order but their times.
        ORDER BY g.log, CASE right(g.log, 1) WHEN '/' THEN g.record_version END DESC, g.record_offset DESC, g.nth DESC
    ) last
$$;

-- A head that an audit found to be wrong yields to any record of its version: its first record is after all others.
CREATE FUNCTION freshet.last_place() RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '[9223372036854775807, "", 0, 0]'::jsonb
$$;

CREATE FUNCTION freshet.yields(p_first_record jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_first_record = freshet.last_place(), false)
$$;

-- {"version": of what the document's records come to, "grants": marks of those that say who may read}
ALTER TABLE freshet.audit_finding ADD COLUMN floor jsonb;

-- The access list that was stated last.
CREATE FUNCTION freshet.granted_acl(p_grants jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(g.value -> 2)
               WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(g.value -> 2)) END
    FROM jsonb_each(p_grants) g ORDER BY (g.value ->> 1)::bigint DESC, g.key COLLATE "C" DESC LIMIT 1
$$;

DO $$
BEGIN
    IF pg_relation_size('freshet.chunk') < 200 * 1024 * 1024 THEN
        CREATE INDEX chunk_access ON freshet.chunk (access_id) WHERE visible_to IS NULL AND access_id IS NOT NULL;
    END IF;
END $$;

-- The planner's estimates are of all rows, and anybody who may read a table can ask for them: no values of texts are in its
-- statistics. Naming the type again forgets those that it has; nothing is rewritten.
ALTER TABLE freshet.document
    ALTER COLUMN title TYPE text, ALTER COLUMN title SET STATISTICS 0,
    ALTER COLUMN uri TYPE text, ALTER COLUMN uri SET STATISTICS 0;
ALTER TABLE freshet.chunk ALTER COLUMN text TYPE text, ALTER COLUMN text SET STATISTICS 0;

-- A row that says that a document was deleted is for those who could read the document.
CREATE FUNCTION freshet.note_access() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.kind = 'tombstone' AND NEW.acl IS NULL THEN
        SELECT d.acl INTO NEW.acl FROM freshet.document d
        WHERE d.source = NEW.source AND d.document_id = NEW.document_id ORDER BY d.document_key DESC LIMIT 1;
    END IF;
    NEW.access_id := freshet.access_of(NEW.source, NEW.acl);
    RETURN NEW;
END $$;
CREATE TRIGGER document_access BEFORE INSERT ON freshet.document
    FOR EACH ROW WHEN (NEW.acl IS NOT NULL OR NEW.kind = 'tombstone') EXECUTE FUNCTION freshet.note_access();

-- The chunks that stay in a new version get its access list.
CREATE FUNCTION freshet.pass_access_on() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE freshet.chunk c SET access_id = o.access_id
    FROM (
        SELECT n.source, n.document_id, n.access_id FROM opened n
        WHERE n.visible_to IS NULL AND n.kind = 'document' AND (n.access_id IS NOT NULL OR EXISTS (
            SELECT FROM freshet.document d
            WHERE d.source = n.source AND d.document_id = n.document_id AND d.access_id IS NOT NULL))
    ) o
    WHERE c.source = o.source AND c.document_id = o.document_id AND c.visible_to IS NULL
      AND c.access_id IS DISTINCT FROM o.access_id;
    RETURN NULL;
END $$;
CREATE TRIGGER document_access_passed_on AFTER INSERT ON freshet.document
    REFERENCING NEW TABLE AS opened FOR EACH STATEMENT EXECUTE FUNCTION freshet.pass_access_on();

-- ── who reads ───────────────────────────────────────────────────────────────────────────────────────────────────
-- The role that a statement runs as, also inside of functions that run with the rights of their owner.
CREATE FUNCTION freshet.acting_role() RETURNS oid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.oid FROM pg_roles r
    WHERE r.rolname = CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END
$$;

-- What the reader of this statement may see. `defaults`: the sources of which it sees the documents that state no access
-- list. Who publishes sees everything. The gateway says on whose behalf it reads, in settings
-- (`corpus/access/reader.py`); they are believed of members of freshet_gateway only. For members of freshet_reader,
-- `reader_grant` says it. Nobody else sees anything.
CREATE FUNCTION freshet.reading(
    OUT sees_all boolean, OUT sources text[], OUT groups text[], OUT defaults text[], OUT lists integer[]
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_role oid := freshet.acting_role();
    v_setting text;
BEGIN
    SELECT r.rolsuper OR r.rolbypassrls OR coalesce(pg_has_role(v_role, to_regrole('freshet_writer'), 'USAGE'), false)
           OR pg_has_role(v_role, c.relowner, 'USAGE')
    INTO sees_all FROM pg_roles r, pg_class c WHERE r.oid = v_role AND c.oid = 'freshet.chunk'::regclass;
    sees_all := coalesce(sees_all, false);
    IF sees_all THEN RETURN; END IF;
    IF pg_has_role(v_role, to_regrole('freshet_gateway'), 'USAGE') THEN
        v_setting := nullif(current_setting('freshet.sources', true), '');
        sources := ARRAY(SELECT jsonb_array_elements_text(v_setting::jsonb));
        v_setting := nullif(current_setting('freshet.groups', true), '');
        groups := ARRAY(SELECT jsonb_array_elements_text(v_setting::jsonb));
    ELSIF pg_has_role(v_role, to_regrole('freshet_reader'), 'USAGE') THEN
        SELECT g.sources, g.groups INTO sources, groups FROM freshet.reader_grant g
        WHERE g.login = session_user AND g.role_id = (SELECT r.oid FROM pg_roles r WHERE r.rolname = session_user);
    END IF;
    sources := coalesce(sources, '{}');
    groups := coalesce(groups, '{}');
    defaults := ARRAY(
        SELECT s.source FROM freshet.source s
        WHERE s.source = ANY(sources) AND freshet.allows(s.spec -> 'default_acl', groups));
    lists := ARRAY(
        SELECT a.access_id FROM freshet.access_list a WHERE a.source = ANY(sources) AND a.acl && groups);
END $$;

-- Whether a source's `default_acl` lets one of the groups read; without one, every reader of the source may.
CREATE FUNCTION freshet.allows(p_default jsonb, p_groups text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_default IS NULL OR p_default = 'null' THEN true ELSE p_default ?| p_groups END
$$;

-- Whether a row with this access list can be read.
CREATE FUNCTION freshet.is_readable(p_access integer, p_source text, p_defaults text[], p_lists integer[])
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_access IS NULL THEN p_source = ANY(p_defaults) ELSE p_access = ANY(p_lists) END
$$;

-- As sets, which policies look up by hash. What a policy calls pins what names mean: it runs in the session of the reader, who
-- may own a schema.
CREATE FUNCTION freshet.granted_sources() RETURNS SETOF text LANGUAGE sql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp AS $$
    SELECT unnest(r.sources) FROM freshet.reading() r
$$;
CREATE FUNCTION freshet.readable_defaults() RETURNS SETOF text LANGUAGE sql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp AS $$
    SELECT unnest(r.defaults) FROM freshet.reading() r
$$;
CREATE FUNCTION freshet.readable_lists() RETURNS SETOF integer LANGUAGE sql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp AS $$
    SELECT unnest(r.lists) FROM freshet.reading() r
$$;

-- The newest access list of a document governs all its versions, beside their own. Whether this reader can read it.
CREATE FUNCTION freshet.head_is_readable(p_source text, p_document_id text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((
        SELECT r.sees_all OR freshet.is_readable(h.access_id, h.source, r.defaults, r.lists)
        FROM freshet.document h, freshet.reading() r
        WHERE h.source = p_source AND h.document_id = p_document_id AND h.is_head
    ), false)
$$;

-- The condition that chunks `c` can be read, as text: now by the chunk, as of an instant ($5) by the version of then and
-- the head.
CREATE FUNCTION freshet.readable_chunks(
    p_sees_all boolean, p_defaults text[], p_is_now boolean, p_defaults_name text, p_lists_name text
) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_readable text := 'CASE WHEN %1$s.access_id IS NULL THEN %1$s.source = ANY(%2$s) '
        'ELSE %1$s.access_id = ANY(%3$s) END';
BEGIN
    IF p_sees_all THEN RETURN ''; END IF;
    IF cardinality(p_defaults) = 0 THEN v_readable := '%1$s.access_id = ANY(%3$s)'; END IF;
    IF p_is_now THEN RETURN ' AND ' || format(v_readable, 'c', p_defaults_name, p_lists_name); END IF;
    RETURN format(
        ' AND EXISTS (SELECT FROM freshet.document v WHERE v.source = c.source AND v.document_id = c.document_id'
        ' AND v.visible_from <= $5 AND (v.visible_to IS NULL OR v.visible_to > $5) AND %s)'
        ' AND EXISTS (SELECT FROM freshet.document h WHERE h.source = c.source AND h.document_id = c.document_id'
        ' AND h.is_head AND %s)',
        format(v_readable, 'v', p_defaults_name, p_lists_name), format(v_readable, 'h', p_defaults_name, p_lists_name));
END $$;

-- ── what they see: functions ────────────────────────────────────────────────────────────────────────────────────
-- These run with the rights of their owner and say themselves what can be read: PostgreSQL evaluates no index condition
-- before a policy unless its operator is leakproof, and those of text search and of jsonb are not. They look up names in
-- pg_catalog only: in another schema, a function that fits better than one of PostgreSQL would run with these rights.

-- A text search configuration by its name, as sessions of Freshet know it; null: there is none.
CREATE FUNCTION freshet.text_config(p_name text) RETURNS regconfig
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT g.oid::regconfig FROM pg_ts_config g JOIN pg_namespace n ON n.oid = g.cfgnamespace
    WHERE g.oid::regconfig::text = p_name OR g.cfgname = p_name AND n.nspname IN ('freshet', 'public')
    ORDER BY array_position('{pg_catalog, freshet, public}'::name[], n.nspname) LIMIT 1
$$;

-- As in 0016, with who reads.
CREATE OR REPLACE FUNCTION freshet.vector_candidates(
    p_query vector, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, distance double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET hnsw.iterative_scan = 'strict_order' SET hnsw.ef_search = 200 SET hnsw.max_scan_tuples = 40000
AS $$
DECLARE
    v_schema text;                                            -- of the extension, quoted
    v_dimensions integer;
    v_query_dimensions integer;
    v_from text;
    v_reading record;
    v_is_small boolean := false;
    v_ids bigint[] := '{}';
    v_distances double precision[];
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    SELECT quote_ident(n.nspname) INTO v_schema
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';
    SELECT dimensions INTO v_dimensions FROM freshet.embedding_space WHERE space_id = p_space;
    EXECUTE format('SELECT %s.vector_dims($1)', v_schema) INTO v_query_dimensions USING p_query;
    IF v_dimensions IS NULL THEN
        RAISE EXCEPTION 'there is no embedding space %', p_space USING ERRCODE = 'FR001';
    ELSIF p_query IS NULL THEN
        RAISE EXCEPTION 'a search by vector wants a query vector' USING ERRCODE = 'FR002';
    ELSIF v_query_dimensions <> v_dimensions THEN
        RAISE EXCEPTION 'the query has % dimensions, embedding space % has %', v_query_dimensions, p_space, v_dimensions
            USING ERRCODE = 'FR001', HINT = 'Embed the query with the model of the space.';
    END IF;
    v_from := format('FROM freshet.chunk c WHERE c.space_id = %s', p_space)
        || CASE WHEN p_as_of IS NULL THEN ' AND c.visible_to IS NULL'
                ELSE ' AND c.visible_from <= $5 AND (c.visible_to IS NULL OR c.visible_to > $5)' END
        || CASE WHEN p_sources IS NULL THEN '' ELSE ' AND c.source = ANY($3)' END
        || CASE WHEN p_metadata IS NULL THEN '' ELSE
            ' AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source AND d.document_id = c.document_id AND d.metadata @> $4'
            || CASE WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL)'
                    ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5))' END END
        || freshet.readable_chunks(v_reading.sees_all, v_reading.defaults, p_as_of IS NULL, '$7', '$8');
    IF NOT v_reading.sees_all AND cardinality(v_reading.defaults) = 0 THEN
        SELECT count(*) <= 3000 INTO v_is_small FROM (
            SELECT FROM freshet.chunk c
            WHERE c.visible_to IS NULL AND c.access_id = ANY(v_reading.lists) LIMIT 3001) bounded;
    END IF;
    IF p_as_of IS NULL AND NOT v_is_small THEN  -- of a few, the nearest are found faster without the vector index
        -- Kept at hand: a second scan of the index may give other rows while somebody writes.
        EXECUTE format(
            'SELECT array_agg(n.chunk_id ORDER BY n.distance), array_agg(n.distance ORDER BY n.distance) FROM '
            '(SELECT c.chunk_id, (c.embedding::%3$s.vector(%1$s)) OPERATOR(%3$s.<=>) $1 AS distance %2$s '
            'ORDER BY (c.embedding::%3$s.vector(%1$s)) OPERATOR(%3$s.<=>) $1 LIMIT $2) n',
            v_dimensions, v_from, v_schema) INTO v_ids, v_distances
            USING p_query, p_limit, p_sources, p_metadata, p_as_of, NULL::bigint[], v_reading.defaults, v_reading.lists;
        v_ids := coalesce(v_ids, '{}');
        RETURN QUERY SELECT n.id, n.distance FROM unnest(v_ids, v_distances) AS n (id, distance);
        IF cardinality(v_ids) >= p_limit THEN RETURN; END IF;
    END IF;
    -- Fewer than asked for: the rest, if there is any, in exact order behind what was found.
    RETURN QUERY EXECUTE format('SELECT c.chunk_id, c.embedding OPERATOR(%2$s.<=>) $1 AS distance %1$s AND c.chunk_id <> ALL($6) '
        'ORDER BY c.embedding OPERATOR(%2$s.<=>) $1 LIMIT $2', v_from, v_schema)
        USING p_query, p_limit - cardinality(v_ids), p_sources, p_metadata, p_as_of, v_ids,
              v_reading.defaults, v_reading.lists;
END $$;

-- As in 0011, with who reads.
CREATE OR REPLACE FUNCTION freshet.text_candidates_in(
    p_text text, p_languages text[], p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb, p_as_of timestamptz
) RETURNS TABLE (chunk_id bigint, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_visible text := CASE WHEN p_as_of IS NULL THEN 'c.visible_to IS NULL'
        ELSE 'c.visible_from <= $5 AND (c.visible_to IS NULL OR c.visible_to > $5)' END;
    v_filter text;
    v_reading record;
    v_score text;
    v_total double precision;
    v_terms_of jsonb;                                         -- dictionary -> its terms
    v_terms text[];
    v_idf double precision[];
    v_rare tsquery;
    v_any tsquery;
    v_ids bigint[];
    v_scores double precision[];
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    SELECT jsonb_object_agg(l.language, to_jsonb(freshet.search_terms(freshet.text_config(l.language), p_text))) INTO v_terms_of
    FROM unnest(p_languages) AS l (language);
    SELECT array_agg(DISTINCT t.term) INTO v_terms
    FROM jsonb_each(v_terms_of) AS l (language, terms) CROSS JOIN LATERAL jsonb_array_elements_text(l.terms) AS t (term);
    IF coalesce(cardinality(v_terms), 0) = 0 THEN RETURN; END IF;
    v_filter := v_visible || format(' AND c.space_id = %s', p_space)
        || CASE WHEN p_sources IS NULL THEN '' ELSE ' AND c.source = ANY($3)' END;
    -- How many chunks there are: the planner's estimate, which says nothing while there are few.
    SELECT reltuples INTO v_total FROM pg_class WHERE oid = 'freshet.chunk_search_text'::regclass;
    -- For who does not see all of them, a score must not depend on the others.
    IF v_total < 50000 THEN
        EXECUTE 'SELECT count(*) FROM (SELECT FROM freshet.chunk c WHERE c.visible_to IS NULL'
            || freshet.readable_chunks(v_reading.sees_all, v_reading.defaults, true, '$1', '$2') || ' LIMIT 50000) bounded'
        INTO v_total USING v_reading.defaults, v_reading.lists;
    ELSIF NOT v_reading.sees_all THEN
        v_total := 50000;
    END IF;
    -- How often each term occurs, counted up to a bound that makes it common anyway.
    EXECUTE format($q$
        WITH counted AS (
            SELECT term, place, (SELECT count(*) FROM (SELECT 1 FROM freshet.chunk c WHERE %s
                    AND c.search_text @@ (quote_literal(term))::tsquery LIMIT 20000) bounded) AS n
            FROM unnest($1) WITH ORDINALITY AS t (term, place)
        ), rising AS (
            SELECT term, place, n, sum(n) OVER (ORDER BY n, term) AS upto, row_number() OVER (ORDER BY n, term) AS nth
            FROM counted WHERE n > 0
        )
        SELECT array_agg(term ORDER BY place), array_agg(ln(1 + (greatest($2, n) - n + 0.5) / (n + 0.5)) ORDER BY place),
               string_agg(quote_literal(term), ' | ') FILTER (WHERE nth = 1 OR upto <= 1000)::tsquery,
               string_agg(quote_literal(term), ' | ')::tsquery
        FROM rising $q$,
        v_filter || freshet.readable_chunks(v_reading.sees_all, v_reading.defaults, p_as_of IS NULL, '$6', '$7'))
    INTO v_terms, v_idf, v_rare, v_any
    USING v_terms, v_total, p_sources, p_metadata, p_as_of, v_reading.defaults, v_reading.lists;
    IF v_rare IS NULL THEN RETURN; END IF;
    v_score := format($q$
        WITH holding AS MATERIALIZED (
            SELECT c.chunk_id, c.source, c.language, c.search_text, c.token_count FROM freshet.chunk c
            WHERE %s AND c.search_text @@ $6 %s AND c.chunk_id <> ALL($9) LIMIT $10
        ), average AS (SELECT greatest(avg(token_count), 1) AS tokens FROM holding), scored AS (
        SELECT h.chunk_id, sum(t.idf * o.n * 2.2 / (o.n + 1.2 * (0.25 + 0.75 * h.token_count / a.tokens)))::double precision AS score
        FROM holding h CROSS JOIN average a %s
        CROSS JOIN LATERAL (SELECT lexeme, greatest(cardinality(positions), 1) AS n FROM unnest(h.search_text)
                            WHERE lexeme = ANY($7) %s) o
        JOIN unnest($7, $8) AS t (term, idf) ON t.term = o.lexeme
        GROUP BY h.chunk_id ORDER BY score DESC, h.chunk_id LIMIT $2)
        SELECT array_agg(s.chunk_id ORDER BY s.score DESC, s.chunk_id), array_agg(s.score ORDER BY s.score DESC, s.chunk_id) FROM scored s $q$,
        v_filter || freshet.readable_chunks(v_reading.sees_all, v_reading.defaults, p_as_of IS NULL, '$12', '$13'),
        CASE WHEN p_metadata IS NULL THEN '' ELSE
            'AND EXISTS (SELECT FROM freshet.document d WHERE d.source = c.source AND d.document_id = c.document_id AND d.metadata @> $4'
            || CASE WHEN p_as_of IS NULL THEN ' AND d.visible_to IS NULL)'
                    ELSE ' AND d.visible_from <= $5 AND (d.visible_to IS NULL OR d.visible_to > $5))' END END,
        CASE WHEN cardinality(p_languages) = 1 THEN '' ELSE 'JOIN freshet.source own ON own.source = h.source' END,
        CASE WHEN cardinality(p_languages) = 1 THEN '' ELSE
            $q$AND ($11 -> coalesce(h.language, own.spec ->> 'text_search_language', 'english')) ? lexeme$q$ END);
    EXECUTE v_score INTO v_ids, v_scores
        USING p_text, p_limit, p_sources, p_metadata, p_as_of, v_rare, v_terms, v_idf, '{}'::bigint[], NULL::bigint, v_terms_of,
              v_reading.defaults, v_reading.lists;
    v_ids := coalesce(v_ids, '{}');
    RETURN QUERY SELECT n.id, n.score FROM unnest(v_ids, v_scores) AS n (id, score);
    IF cardinality(v_ids) >= p_limit OR v_any::text = v_rare::text THEN RETURN; END IF;
    -- Whatever else holds a term, up to a bound: common terms tell little, so any of them will do.
    EXECUTE v_score INTO v_ids, v_scores
        USING p_text, p_limit - cardinality(v_ids), p_sources, p_metadata, p_as_of, v_any, v_terms, v_idf, v_ids, 20000::bigint,
              v_terms_of, v_reading.defaults, v_reading.lists;
    RETURN QUERY SELECT n.id, n.score FROM unnest(v_ids, v_scores) AS n (id, score);
END $$;

CREATE OR REPLACE FUNCTION freshet.languages_of(p_sources text[]) RETURNS text[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(l.language ORDER BY l.language), '{}') FROM (
        SELECT coalesce(s.spec ->> 'text_search_language', 'english') AS language
        FROM freshet.source s, freshet.reading() r
        WHERE (p_sources IS NULL OR s.source = ANY(p_sources)) AND (r.sees_all OR s.source = ANY(r.sources))
        UNION
        SELECT n.language FROM freshet.source_language n, freshet.reading() r
        WHERE (p_sources IS NULL OR n.source = ANY(p_sources)) AND (r.sees_all OR n.source = ANY(r.sources))
    ) l WHERE freshet.text_config(l.language) IS NOT NULL
$$;

-- As in 0004, with who reads.
CREATE OR REPLACE FUNCTION freshet.ended_chunks(p_sources text[], p_as_of timestamptz) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(ended.chunk_id), '{}') FROM (
        SELECT listed.chunk_id FROM freshet.reading() r, freshet.document d CROSS JOIN LATERAL unnest(d.chunk_ids) AS listed (chunk_id)
        WHERE d.expires_at <= coalesce(p_as_of, clock_timestamp()) AND (p_sources IS NULL OR d.source = ANY(p_sources))
          AND CASE WHEN p_as_of IS NULL THEN d.visible_to IS NULL
                   ELSE d.visible_from <= p_as_of AND (d.visible_to IS NULL OR d.visible_to > p_as_of) END
          AND (r.sees_all OR freshet.is_readable(d.access_id, d.source, r.defaults, r.lists))
        LIMIT 5000) ended
$$;

CREATE OR REPLACE FUNCTION freshet.search(
    p_query       vector,                     -- of the space's dimensions; NULL for mode text
    p_text        text,                       -- NULL for mode vector
    p_k           integer DEFAULT 10,
    p_mode        text DEFAULT 'hybrid',
    p_space       smallint DEFAULT NULL,      -- NULL: the only one there is
    p_sources     text[] DEFAULT NULL,
    p_metadata    jsonb DEFAULT NULL,         -- contained in the document's metadata
    p_as_of       timestamptz DEFAULT NULL,
    p_language    regconfig DEFAULT NULL      -- NULL: that of each source
) RETURNS TABLE (
    score double precision, source text, document_id text, version bigint, ordinal integer, start integer, heading text, text text,
    title text, uri text, metadata jsonb, chunk_id bigint, batch bigint, topic text, partition integer, record_offset bigint,
    event_at timestamptz, observed_at timestamptz, verified_at timestamptz, expires_at timestamptz, visible_from timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space smallint := p_space;
    v_reading record;
    v_ended bigint[] := freshet.ended_chunks(p_sources, p_as_of);
    v_depth integer := CASE p_mode WHEN 'hybrid' THEN greatest(50, 4 * p_k) ELSE p_k END + cardinality(v_ended);
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    IF p_k < 1 OR p_mode NOT IN ('vector', 'text', 'hybrid') THEN
        RAISE EXCEPTION 'search wants k >= 1 and a mode of vector, text, hybrid; got k = %, mode = %', p_k, p_mode USING ERRCODE = 'FR002';
    END IF;
    IF v_space IS NULL THEN
        IF (SELECT count(*) FROM freshet.embedding_space) > 1 THEN
            RAISE EXCEPTION 'there are several embedding spaces; name one' USING ERRCODE = 'FR001';
        END IF;
        SELECT space_id INTO v_space FROM freshet.embedding_space;
        IF v_space IS NULL THEN RETURN; END IF;
    END IF;
    RETURN QUERY
    WITH by_vector AS (
        SELECT v.chunk_id, v.distance, row_number() OVER (ORDER BY v.distance, v.chunk_id) AS nth
        FROM freshet.vector_candidates(p_query, v_depth, v_space, p_sources, p_metadata, p_as_of) v
        WHERE p_mode <> 'text' AND v.chunk_id <> ALL (v_ended)
    ), text_matches AS (
        SELECT t.chunk_id, t.score
        FROM freshet.text_candidates(p_text, p_language, v_depth, v_space, p_sources, p_metadata, p_as_of) t
        WHERE p_mode <> 'vector' AND p_language IS NOT NULL
        UNION ALL
        SELECT t.chunk_id, t.score
        FROM freshet.text_candidates_by_language(p_text, v_depth, v_space, p_sources, p_metadata, p_as_of) t
        WHERE p_mode <> 'vector' AND p_language IS NULL
    ), by_text AS (
        SELECT t.chunk_id, t.score, row_number() OVER (ORDER BY t.score DESC, t.chunk_id) AS nth FROM text_matches t
        WHERE t.chunk_id <> ALL (v_ended)
    ), ranked AS (
        SELECT coalesce(v.chunk_id, t.chunk_id) AS chunk_id,
               CASE p_mode WHEN 'vector' THEN 1 - v.distance WHEN 'text' THEN t.score
                    ELSE coalesce(1.0 / (60 + v.nth), 0) + coalesce(1.0 / (60 + t.nth), 0) END AS score
        FROM by_vector v FULL JOIN by_text t ON t.chunk_id = v.chunk_id
        ORDER BY 2 DESC, 1 LIMIT p_k
    )
    SELECT r.score, c.source, c.document_id, d.version, array_position(d.chunk_ids, c.chunk_id) - 1,
           d.chunk_starts[array_position(d.chunk_ids, c.chunk_id)], nullif(d.chunk_headings[array_position(d.chunk_ids, c.chunk_id)], ''),
           c.text, d.title, d.uri, d.metadata, c.chunk_id, d.batch, d.topic, d.partition, d.record_offset, d.event_at, d.observed_at,
           d.verified_at, d.expires_at, d.visible_from
    FROM ranked r
    JOIN freshet.chunk c ON c.chunk_id = r.chunk_id
    JOIN freshet.document d ON d.source = c.source AND d.document_id = c.document_id
        AND CASE WHEN p_as_of IS NULL THEN d.visible_to IS NULL
                 ELSE d.visible_from <= p_as_of AND (d.visible_to IS NULL OR d.visible_to > p_as_of) END
    WHERE v_reading.sees_all OR freshet.is_readable(d.access_id, d.source, v_reading.defaults, v_reading.lists)
    ORDER BY r.score DESC, c.chunk_id;
END $$;

CREATE OR REPLACE FUNCTION freshet.settle(p_as_of timestamptz, p_sources text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_publishing text[];
    v_source text;
BEGIN
    IF p_as_of > clock_timestamp() + interval '2 seconds' THEN
        RAISE EXCEPTION 'as of % lies in the future: it is % now', p_as_of, clock_timestamp() USING ERRCODE = 'FR002';
    ELSIF p_as_of >= clock_timestamp() THEN  -- rounding, or a clock a little ahead
        PERFORM pg_sleep(extract(epoch FROM p_as_of - clock_timestamp()) + 0.001);
    END IF;
    -- Batches that begin from now on get later instants.
    SELECT array_agg(s.source ORDER BY s.source) INTO v_publishing FROM freshet.source s, freshet.reading() r
    WHERE (p_sources IS NULL OR s.source = ANY(p_sources)) AND (r.sees_all OR s.source = ANY(r.sources))
      AND (s.last_published_at IS NULL OR s.last_published_at < p_as_of)
      AND hashtext(s.source)::bigint & 4294967295 IN (
          SELECT l.objid::bigint FROM pg_locks l
          WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.classid::bigint = hashtext('freshet.publish')::bigint & 4294967295 AND l.objsubid = 2
            AND l.mode = 'ExclusiveLock' AND l.granted);
    FOREACH v_source IN ARRAY coalesce(v_publishing, '{}') LOOP
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(hashtext('freshet.publish'), hashtext(v_source));
            RAISE EXCEPTION 'published' USING ERRCODE = 'FR003';
        EXCEPTION
            WHEN SQLSTATE 'FR003' THEN NULL;
            WHEN lock_not_available THEN
                RAISE EXCEPTION 'source % is publishing a batch whose instant may lie before %', v_source, p_as_of
                    USING ERRCODE = 'lock_not_available', HINT = 'Search again later, or as of an earlier instant.';
        END;
    END LOOP;
    -- The clock may go back, for instance in a failover: `lock_source` reads this.
    -- Who cannot read for others does not hold the row: publishing and every search as of an instant would wait for it.
    IF NOT current_setting('transaction_read_only')::boolean AND (
        (SELECT r.sees_all FROM freshet.reading() r)
        OR pg_has_role(freshet.acting_role(), to_regrole('freshet_gateway'), 'USAGE')
    ) THEN
        UPDATE freshet.as_of_answered SET instant = p_as_of WHERE instant < p_as_of;
    END IF;
END $$;

-- Whether this reader may know of an event: it can read its document, or the document is not known and the reader sees
-- those of the source that state no access list.
CREATE FUNCTION freshet.event_is_readable(p_source text, p_document_id text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((
        SELECT freshet.head_is_readable(p_source, p_document_id)
        FROM freshet.document h WHERE h.source = p_source AND h.document_id = p_document_id AND h.is_head
    ), p_source IN (SELECT freshet.readable_defaults()))
$$;

-- Whether this reader may know of a dead letter. Readers ask of one that there is, and of no id: the answer for an id that
-- is not known would differ from that for a document which they cannot read.
CREATE FUNCTION freshet.dead_letter_is_readable(p_dead_letter bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((
        SELECT freshet.event_is_readable(l.source, l.document_id)
               AND (l.access_id IS NULL OR l.access_id IN (SELECT freshet.readable_lists()))
        FROM freshet.dead_letter l WHERE l.dead_letter = p_dead_letter
    ), false)
$$;

-- What became of a record, while it is kept. Of a document that this reader cannot read, and of an event that may be one
-- of such a document, it says what it says of an offset without a record.
CREATE FUNCTION freshet.outcome_of(
    p_source text, p_topic text, p_partition integer, p_topic_id text, p_offset bigint,
    OUT batch bigint, OUT outcome text, OUT op text, OUT document_id text, OUT version bigint, OUT reason text
) RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.batch, t.outcome, t.op, t.document_id, t.version, t.reason
    FROM freshet.reading() r, (
        SELECT * FROM freshet.record_outcome k
        WHERE k.source = p_source AND k.topic = p_topic AND k.partition = p_partition AND k.topic_id = p_topic_id
          AND k.first_offset <= p_offset
        ORDER BY k.first_offset DESC LIMIT 1
    ) o
    CROSS JOIN LATERAL (SELECT array_position(o.offsets, p_offset) AS n) place
    LEFT JOIN LATERAL (
        SELECT o.outcomes[place.n] AS outcome, o.ops[place.n] AS op, o.document_ids[place.n] AS document_id,
               o.versions[place.n] AS version, o.reasons[place.n] AS reason
        WHERE r.sees_all OR (
            freshet.event_is_readable(p_source, o.document_ids[place.n])
            -- Of whose document an erased record was is not kept.
            AND NOT coalesce(
                o.document_ids[place.n] IS NULL AND (
                    o.outcomes[place.n] IN ('applied', 'unchanged', 'superseded') OR o.reasons[place.n] = 'erased'),
                false)
            AND (o.outcomes[place.n] IS DISTINCT FROM 'dead_letter' OR EXISTS (
                SELECT FROM freshet.dead_letter l
                WHERE l.source = p_source AND l.topic = p_topic AND l.partition = p_partition
                  AND l.record_offset = p_offset AND (l.access_id IS NULL OR l.access_id = ANY(r.lists)))))
    ) t ON true
    WHERE o.next_offset > p_offset AND (r.sees_all OR p_source = ANY(r.sources))
$$;

-- What a batch changed, as this reader sees it: the ledger's counts are of all documents.
CREATE FUNCTION freshet.batch_counts(
    p_source text, p_batch bigint, OUT documents_written bigint, OUT documents_deleted bigint,
    OUT documents_expired bigint, OUT chunks_opened bigint, OUT chunks_closed bigint
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_reading record;
BEGIN
    SELECT * INTO v_reading FROM freshet.reading();
    IF v_reading.sees_all THEN
        SELECT b.documents_written, b.documents_deleted, b.documents_expired, b.chunks_opened, b.chunks_closed
        INTO documents_written, documents_deleted, documents_expired, chunks_opened, chunks_closed
        FROM freshet.batch b WHERE b.source = p_source AND b.batch = p_batch;
        RETURN;
    END IF;
    WITH changed AS MATERIALIZED (
        SELECT d.document_id, d.kind = 'document' AND d.visible_to IS DISTINCT FROM d.visible_from AS is_written,
               d.kind = 'tombstone' AND d.version >= 0 AS is_deleted, false AS is_expired
        FROM freshet.document d
        WHERE d.source = p_source AND d.batch = p_batch AND p_source = ANY(v_reading.sources)
          AND freshet.is_readable(d.access_id, d.source, v_reading.defaults, v_reading.lists)
          AND freshet.head_is_readable(d.source, d.document_id)
        UNION ALL
        SELECT d.document_id, false, false, true FROM freshet.document d
        WHERE (SELECT b.documents_expired > 0 FROM freshet.batch b WHERE b.source = p_source AND b.batch = p_batch)
          AND d.source = p_source AND d.end_batch = p_batch AND d.end_reason = 'expired'
          AND p_source = ANY(v_reading.sources)
          AND freshet.is_readable(d.access_id, d.source, v_reading.defaults, v_reading.lists)
          AND freshet.head_is_readable(d.source, d.document_id)
    ), moved AS (
        SELECT c.batch, c.end_batch FROM (SELECT DISTINCT n.document_id FROM changed n) n
        JOIN freshet.chunk c ON c.source = p_source AND c.document_id = n.document_id
    )
    SELECT (SELECT count(*) FROM changed n WHERE n.is_written), (SELECT count(*) FROM changed n WHERE n.is_deleted),
           (SELECT count(*) FROM changed n WHERE n.is_expired),
           (SELECT count(*) FILTER (WHERE m.batch = p_batch) FROM moved m),
           (SELECT count(*) FILTER (WHERE m.end_batch = p_batch) FROM moved m)
    INTO documents_written, documents_deleted, documents_expired, chunks_opened, chunks_closed;
END $$;

-- ── what they see: tables ───────────────────────────────────────────────────────────────────────────────────────
-- Row-level security of one table, forced, with the grants of the roles. A table that is not named here is for who publishes.
-- Run by `freshet migrate` for each table, every time: it changes what is missing.
CREATE FUNCTION freshet.secure_table(p_table name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_table regclass := format('freshet.%I', p_table)::regclass;
    v_owner name := (SELECT r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = v_table);
    -- The row itself, and for what is no longer visible its newest version.
    v_readable constant text := '(CASE WHEN access_id IS NULL THEN source IN (SELECT freshet.readable_defaults()) '
        'ELSE access_id IN (SELECT freshet.readable_lists()) END) '
        'AND (visible_to IS NULL OR freshet.head_is_readable(source, document_id))';
    v_granted constant text := 'source IN (SELECT freshet.granted_sources())';
    v_reads text := CASE p_table
        WHEN 'document' THEN v_readable WHEN 'chunk' THEN v_readable
        WHEN 'dead_letter' THEN v_granted || ' AND freshet.dead_letter_is_readable(dead_letter)'
        WHEN 'document_correction' THEN v_granted || ' AND freshet.head_is_readable(source, document_id)'
        WHEN 'embedding_space' THEN 'true' WHEN 'installation' THEN 'true' END;
    -- What a reader of a source may know of it: not what is counted over all its documents.
    v_columns text := CASE p_table
        WHEN 'source' THEN 'source, spec, revision, state, state_reason, epoch, last_batch, last_published_at, '
            'created_at, updated_at'
        WHEN 'batch' THEN 'source, batch, kind, state, reason, workflow_id, run_id, pipeline, space_id, approver, '
            'staged_at, published_at, traceparent'
        WHEN 'freshness_report' THEN 'source, snapshotted_at, status' END;
    v_audited constant name[] := '{source, source_position, source_language, batch, batch_range, document, chunk, dead_letter,
        record_outcome, document_correction, skipped_records, subscription, delivery, delivered_notice, freshness_report,
        staging_sweep, uncounted_texts, installation, installation_change, audit, audit_finding, access_list, reader_grant,
        embedding_space, team, access_log, access_chain, retention, purge, erasure, erased_document, erased_chunk}';
    -- Texts, and what is made of them.
    v_texts constant name[] := '{title, uri, metadata, chunk_headings, text, search_text, headings, embedding, key, value,
        headers, detail}';
    v_without_texts text;
BEGIN
    IF p_table IN (
        'source', 'source_position', 'source_language', 'batch', 'batch_range', 'delivered_notice', 'freshness_report'
    ) THEN
        v_reads := v_granted;
    ELSIF p_table = 'team' THEN  -- for the gateway, which answers by it
        v_reads := 'true';
    END IF;
    IF NOT (SELECT c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c WHERE c.oid = v_table) THEN
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', v_table);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.oid = v_table AND p.polname = 'works' AND c.relowner = ANY(p.polroles)
    ) THEN
        EXECUTE format('DROP POLICY IF EXISTS works ON %s', v_table);
        EXECUTE format('CREATE POLICY works ON %s TO freshet_owner, freshet_writer, %I USING (true)', v_table, v_owner);
    END IF;
    IF p_table <> 'erasure_key' THEN  -- functions use it
        EXECUTE format('GRANT SELECT ON %s TO freshet_writer', v_table);
    END IF;
    IF p_table NOT IN ('reader_grant', 'access_log', 'access_chain', 'erasure_key') THEN  -- rows of the log are added by a function
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO freshet_writer', v_table);
    END IF;
    IF v_reads IS NOT NULL THEN
        -- Its condition is kept as it was written: PostgreSQL shows another text, and a later version may have another one.
        IF NOT EXISTS (
            SELECT FROM pg_policy p WHERE p.polrelid = v_table AND p.polname = 'reads'
            AND obj_description(p.oid, 'pg_policy') = v_reads
        ) THEN
            EXECUTE format('DROP POLICY IF EXISTS reads ON %s', v_table);
            EXECUTE format(
                'CREATE POLICY reads ON %s FOR SELECT TO freshet_gateway, freshet_reader USING (%s)', v_table, v_reads);
            EXECUTE format('COMMENT ON POLICY reads ON %s IS %L', v_table, v_reads);
        END IF;
        v_columns := coalesce('(' || v_columns || ')', '');
        EXECUTE format('GRANT SELECT %s ON %s TO freshet_gateway', v_columns, v_table);
        IF p_table = 'dead_letter' THEN  -- its bytes may have a narrower access list than the document that is known
            SELECT '(' || string_agg(quote_ident(a.attname), ', ') || ')' INTO v_columns FROM pg_attribute a
            WHERE a.attrelid = v_table AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (v_texts);
        END IF;
        IF p_table <> 'team' THEN
            EXECUTE format('GRANT SELECT %s ON %s TO freshet_reader', v_columns, v_table);
        END IF;
    END IF;
    IF p_table = ANY(v_audited) THEN
        IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = v_table AND p.polname = 'audits') THEN
            EXECUTE format('CREATE POLICY audits ON %s FOR SELECT TO freshet_auditor USING (true)', v_table);
        END IF;
        SELECT string_agg(quote_ident(a.attname), ', ') INTO v_without_texts FROM pg_attribute a
        WHERE a.attrelid = v_table AND a.attnum > 0 AND NOT a.attisdropped
          AND (a.attname <> ALL (v_texts) OR p_table NOT IN ('document', 'chunk', 'dead_letter'))
          AND NOT (p_table = 'erasure' AND a.attname = 'document_ids');  -- of what is to be forgotten
        EXECUTE format('GRANT SELECT (%s) ON %s TO freshet_auditor', v_without_texts, v_table);
    END IF;
END $$;

-- What every role needs to name an object of the schema. Anybody may read which migrations were applied. Run within every
-- migration, so that a function is never there for everybody.
CREATE FUNCTION freshet.secure_schema() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_roles constant text := 'freshet_writer, freshet_gateway, freshet_reader, freshet_auditor';
    v_function record;
BEGIN
    EXECUTE 'GRANT USAGE ON SCHEMA freshet TO freshet_owner, ' || v_roles;
    EXECUTE 'GRANT SELECT ON freshet.migration TO freshet_owner, ' || v_roles;
    EXECUTE 'REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA freshet FROM PUBLIC, ' || v_roles;
    FOR v_function IN
        SELECT p.oid::regprocedure AS called, CASE
            WHEN NOT p.prosecdef THEN v_roles                 -- with the rights of who calls it
            -- These ask who reads.
            WHEN p.proname IN ('batch_counts', 'dead_letter_is_readable', 'erasure_of', 'head_is_readable', 'outcome_of',
                'reading', 'search', 'settle') THEN v_roles
            WHEN p.proname = 'log_access' THEN 'freshet_writer, freshet_gateway'
            ELSE 'freshet_writer' END AS callers
        FROM pg_proc p
        -- A trigger asks nobody for a right; who may call its function puts it on a table of its own.
        WHERE p.pronamespace = 'freshet'::regnamespace AND p.prorettype <> 'trigger'::regtype
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', v_function.called, v_function.callers);
    END LOOP;
END $$;

-- ── the index of a new space ────────────────────────────────────────────────────────────────────────────────────
-- Only the owner of a table builds its indexes. While the corpus is small, who publishes has it built by this function, which
-- holds up publishing for a moment; else false: `freshet migrate` builds it beside publishing.
CREATE FUNCTION freshet.build_small_index(p_space smallint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    v_schema text;                                            -- of the extension, quoted
    v_dimensions integer;
BEGIN
    IF NOT (SELECT r.sees_all FROM freshet.reading() r) OR pg_table_size('freshet.chunk') > 16000000 THEN RETURN false; END IF;
    SELECT quote_ident(n.nspname) INTO v_schema
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';
    SELECT s.dimensions INTO v_dimensions FROM freshet.embedding_space s WHERE s.space_id = p_space;
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS chunk_embedding_space_%1$s ON freshet.chunk '
        'USING hnsw ((embedding::%2$s.vector(%3$s)) %2$s.vector_cosine_ops) WHERE visible_to IS NULL AND space_id = %1$s',
        p_space, v_schema, v_dimensions);
    RETURN true;
END $$;

-- ── owner, locks, logins ────────────────────────────────────────────────────────────────────────────────────────
-- Give what a superuser has made in the schema to freshet_owner: some functions run with the rights of their owner.
CREATE FUNCTION freshet.disown_superusers() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_statement text;
BEGIN
    FOR v_statement IN
        SELECT 'ALTER SCHEMA freshet OWNER TO freshet_owner'
        FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'freshet' AND r.rolsuper
        UNION ALL
        SELECT format('ALTER TABLE %s OWNER TO freshet_owner', c.oid::regclass)
        FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.relnamespace = 'freshet'::regnamespace AND c.relkind IN ('r', 'p') AND r.rolsuper
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO freshet_owner', p.oid::regprocedure)
        FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
        WHERE p.pronamespace = 'freshet'::regnamespace AND r.rolsuper
    LOOP
        EXECUTE v_statement;
    END LOOP;
END $$;

-- Let only Freshet's roles take advisory locks in this database: any login could stop publishing by taking the lock. A superuser
-- can do so, where the database is Freshet's alone, since the locks of other applications are taken with the same functions.
CREATE FUNCTION freshet.keep_advisory_locks() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_function regprocedure;
BEGIN
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) OR EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'freshet', 'pg_toast')
          AND n.nspname NOT LIKE 'pg\_temp\_%'
    ) THEN RETURN; END IF;
    FOR v_function IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^pg_(try_)?advisory_(xact_)?lock'
          AND has_function_privilege('public', p.oid, 'EXECUTE')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO freshet_owner, freshet_writer', v_function);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', v_function);
    END LOOP;
END $$;

-- Let this user take on freshet_gateway, where it can be given that: an installation with one user reads for others with it.
CREATE FUNCTION freshet.let_read_for_others() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT pg_has_role('freshet_gateway', 'MEMBER') THEN
        EXECUTE format('GRANT freshet_gateway TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;  -- `reading_as` says what an administrator has to run
END $$;

-- Make a login, or give one that exists its password and roles. `p_verifier`: of the password, since statements may be logged.
CREATE FUNCTION freshet.ensure_login(p_login text, p_verifier text, p_roles text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_role text;
BEGIN
    IF to_regrole(quote_ident(p_login)) IS NULL THEN
        EXECUTE format('CREATE ROLE %I LOGIN', p_login);
    END IF;
    IF p_verifier IS NOT NULL THEN
        EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', p_login, p_verifier);
    END IF;
    FOREACH v_role IN ARRAY p_roles LOOP
        EXECUTE format('GRANT %I TO %I', v_role, p_login);
    END LOOP;
    -- Of sessions that pin no limits of their own.
    EXECUTE format('ALTER ROLE %I SET lock_timeout = ''5s''', p_login);
    EXECUTE format('ALTER ROLE %I SET statement_timeout = ''600s''', p_login);
END $$;
