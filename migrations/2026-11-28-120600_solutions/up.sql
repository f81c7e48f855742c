-- An article of the knowledge base.
CREATE TABLE solutions (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    title text NOT NULL CONSTRAINT solutions_title_check CHECK (length(title) BETWEEN 1 AND 255),
    -- The title as a part of an address; given once, so that links stay good.
    slug text NOT NULL CONSTRAINT solutions_slug_check CHECK (length(slug) BETWEEN 1 AND 100),
    description text NOT NULL CONSTRAINT solutions_description_check CHECK (length(description) BETWEEN 1 AND 100000),
    status text NOT NULL DEFAULT 'draft' CONSTRAINT solutions_status_check CHECK (status IN ('draft', 'reviewed', 'approved')),
    is_published boolean NOT NULL DEFAULT false,
    -- When it was published, and by whom; null while it is not.
    published_at timestamptz,
    published_by uuid,
    PRIMARY KEY (org_id, id),
    CONSTRAINT solutions_org_id_slug_key UNIQUE (org_id, slug),
    CONSTRAINT solutions_is_published_check CHECK (NOT is_published OR status = 'approved'),
    CONSTRAINT solutions_published_at_check CHECK (is_published = (published_at IS NOT NULL)),
    CONSTRAINT solutions_published_by_fkey FOREIGN KEY (org_id, published_by) REFERENCES memberships (org_id, id),
    CONSTRAINT solutions_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT solutions_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT solutions_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX solutions_created_by_idx ON solutions (org_id, created_by, id);
CREATE INDEX solutions_title_idx ON solutions (org_id, title, id);
CREATE INDEX solutions_status_idx ON solutions (org_id, status, is_published, id);
CREATE INDEX solutions_created_at_idx ON solutions (org_id, created_at, id);
CREATE INDEX solutions_updated_at_idx ON solutions (org_id, updated_at, id);
CREATE INDEX solutions_published_idx ON solutions (org_id, updated_at, id) WHERE is_published;
CALL protect_tenant_table('solutions', 'SELECT, INSERT, UPDATE');

-- What is known about a case.
CREATE TABLE case_solutions (
    org_id uuid NOT NULL,
    case_id uuid NOT NULL,
    solution_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid,
    PRIMARY KEY (org_id, case_id, solution_id),
    CONSTRAINT case_solutions_case_id_fkey FOREIGN KEY (org_id, case_id) REFERENCES cases (org_id, id) ON DELETE CASCADE,
    CONSTRAINT case_solutions_solution_id_fkey FOREIGN KEY (org_id, solution_id) REFERENCES solutions (org_id, id) ON DELETE CASCADE,
    CONSTRAINT case_solutions_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX case_solutions_solution_id_idx ON case_solutions (org_id, solution_id, case_id);
-- UPDATE, because a merge moves them.
CALL protect_tenant_table('case_solutions', 'SELECT, INSERT, UPDATE, DELETE');

-- The words of published articles, to be suggested. A search for words is not leakproof, so under a policy its index would never be used:
-- the table is for its owner alone, like search_documents, and these functions are the only way in.
CREATE TABLE solution_texts (
    org_id uuid NOT NULL,
    solution_id uuid NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (org_id, solution_id),
    CONSTRAINT solution_texts_solution_id_fkey FOREIGN KEY (org_id, solution_id) REFERENCES solutions (org_id, id) ON DELETE CASCADE
);
CREATE INDEX solution_texts_words_idx ON solution_texts USING gin (org_id, to_tsvector('simple', body)) WITH (gin_pending_list_limit = 128);

-- Has an article of the present organization suggested from here on; without a text, no more.
CREATE FUNCTION solution_suggested(p_id uuid, p_title text, p_text text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
BEGIN
    IF v_org IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'solution_suggested needs an organization';
    END IF;
    IF p_text IS NULL THEN
        DELETE FROM solution_texts x WHERE x.org_id = v_org AND x.solution_id = p_id;
        RETURN;
    END IF;
    INSERT INTO solution_texts (org_id, solution_id, title, body)
    VALUES (v_org, p_id, search_fold(p_title), search_fold(p_title || ' ' || p_text))
    ON CONFLICT (org_id, solution_id) DO UPDATE SET title = excluded.title, body = excluded.body
        WHERE (solution_texts.title, solution_texts.body) <> (excluded.title, excluded.body);
END
$$;

-- The published articles that have most of the words, a rare word weighing more than a common one, and one in the title twice as much.
-- With p_prefix the last word may be unfinished. The work is bounded however many articles there are: what a tenth of the newest 100 have is
-- common, which is not looked up; the others are, the rarest first, until 300 articles come into question; where there are few of these,
-- the newest do too. Planned for the words' index alone, because the planner takes every word for a rare one.
CREATE FUNCTION solutions_suggest(p_words text[], p_prefix boolean, p_limit integer)
RETURNS TABLE (solution_id uuid, score bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 20 SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    c_newest CONSTANT integer := 100;
    c_common CONSTANT integer := 10;
    c_most CONSTANT integer := 300;
    c_scored CONSTANT integer := 4000;
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
    v_last text := search_fold(p_words[array_upper(p_words, 1)]);
    v_newest uuid[];
    v_words text[];
    v_seen bigint[];
    v_found uuid[];
    v_ids uuid[] := '{}';
BEGIN
    IF v_org IS NULL OR v_last IS NULL THEN
        RETURN;
    END IF;
    v_newest := ARRAY(SELECT n.solution_id FROM solution_texts n WHERE n.org_id = v_org ORDER BY n.solution_id DESC LIMIT c_newest);
    WITH words AS (
        SELECT DISTINCT unnest(tsvector_to_array(to_tsvector('simple', search_fold(given)))) AS word FROM unnest(p_words) given LIMIT 12),
    texts AS MATERIALIZED (
        SELECT left(n.body, c_scored) AS text FROM solution_texts n WHERE n.org_id = v_org AND n.solution_id = ANY (v_newest)),
    counted AS (
        SELECT words.word, (SELECT count(*) FROM texts WHERE position(words.word IN texts.text) > 0) AS seen FROM words)
    SELECT array_agg(counted.word ORDER BY seen, counted.word), array_agg(seen ORDER BY seen, counted.word)
    INTO v_words, v_seen FROM counted;
    FOR i IN 1 .. coalesce(cardinality(v_words), 0) LOOP
        EXIT WHEN cardinality(v_ids) >= c_most OR v_seen[i] > c_common AND v_seen[i] * 10 > cardinality(v_newest);
        -- Not with the words as parameters: the plan is made for each, and never for a walk through the organization's rows.
        EXECUTE 'SELECT array_agg(x.solution_id) FROM (SELECT d.solution_id FROM solution_texts d
            WHERE d.org_id = $1 AND to_tsvector(''simple'', d.body) @@ $2 LIMIT $3) x'
        INTO v_found USING v_org,
            (quote_literal(v_words[i]) || CASE WHEN p_prefix AND starts_with(v_last, v_words[i]) THEN ':*' ELSE '' END)::tsquery, c_most;
        v_ids := v_ids || coalesce(v_found, '{}');
    END LOOP;
    IF cardinality(v_ids) < p_limit THEN
        v_ids := v_ids || v_newest;
    END IF;
    RETURN QUERY
    WITH candidates AS (
        SELECT c.id FROM unnest(v_ids) AS c (id) GROUP BY c.id ORDER BY count(*) DESC, c.id DESC LIMIT c_newest),
    texts AS MATERIALIZED (
        SELECT d.solution_id, d.title, left(d.body, c_scored) AS text
        FROM candidates JOIN solution_texts d ON d.org_id = v_org AND d.solution_id = candidates.id),
    scored AS (
        SELECT texts.solution_id, (
            SELECT coalesce(sum((c_newest + 1 - w.seen) * (CASE WHEN position(w.word IN texts.text) > 0 THEN 1 ELSE 0 END
                + CASE WHEN position(w.word IN texts.title) > 0 THEN 1 ELSE 0 END)), 0)
            FROM unnest(v_words, v_seen) AS w (word, seen))::bigint AS points
        FROM texts)
    SELECT scored.solution_id, points FROM scored WHERE points > 0 ORDER BY points DESC, scored.solution_id DESC LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION solution_suggested(uuid, text, text), solutions_suggest(text[], boolean, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION solution_suggested(uuid, text, text), solutions_suggest(text[], boolean, integer) TO crm_app;
