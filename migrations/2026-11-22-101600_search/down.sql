DROP FUNCTION search_ranked(text, text[], uuid[], boolean, integer), search_records(text, text[], uuid[], uuid, integer),
    search_among(text), search_condition(text, text[]), search_patterns(text[], boolean), search_escape(text), search_terms(text[]),
    search_reindex(text, uuid[], text[], text[], text[]), search_index(uuid, text, text, text, text), search_body(text, text),
    search_title(text);

CREATE OR REPLACE FUNCTION search_fold(p_text text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN lower(unaccent('unaccent'::regdictionary, p_text));
END
$$;

CREATE FUNCTION search_body(p_text text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN ' ' || search_fold(p_text);
END
$$;

CREATE FUNCTION search_index(p_record_id uuid, p_kind text, p_title text, p_subtitle text, p_text text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
BEGIN
    IF v_org IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'search_index needs an organization';
    END IF;
    INSERT INTO search_documents (org_id, record_id, kind, title, subtitle, body)
    VALUES (v_org, p_record_id, p_kind, p_title, p_subtitle, search_body(p_text))
    ON CONFLICT (org_id, record_id) DO UPDATE SET title = excluded.title, subtitle = excluded.subtitle, body = excluded.body
        WHERE (search_documents.title, search_documents.subtitle, search_documents.body)
            <> (excluded.title, excluded.subtitle, excluded.body);
END
$$;

CREATE FUNCTION search_records(p_kind text, p_terms text[], p_before uuid, p_limit integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
    v_query text := 'SELECT record_id FROM search_documents WHERE org_id = $1 AND kind = $2';
    v_term text;
BEGIN
    IF v_org IS NULL THEN
        RETURN;
    END IF;
    FOREACH v_term IN ARRAY p_terms LOOP
        v_term := regexp_replace(search_fold(v_term), '([\\%_])', '\\\1', 'g');
        v_query := v_query || format(' AND body LIKE %L', CASE WHEN length(v_term) < 3 THEN '% ' ELSE '%' END || v_term || '%');
    END LOOP;
    IF p_before IS NOT NULL THEN
        v_query := v_query || ' AND record_id < $3';
    END IF;
    -- The patterns are literals, so the planner weighs the trigram index against a walk from the newest.
    RETURN QUERY EXECUTE v_query || ' ORDER BY record_id DESC LIMIT $4' USING v_org, p_kind, p_before, p_limit;
END
$$;

REVOKE ALL ON FUNCTION search_body(text), search_index(uuid, text, text, text, text),
    search_records(text, text[], uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_index(uuid, text, text, text, text), search_records(text, text[], uuid, integer) TO crm_app;

ALTER TABLE search_documents DROP COLUMN title_folded;
