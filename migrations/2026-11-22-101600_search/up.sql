-- The title as it is compared with what is searched for. Rows of before have none until `crm-admin search rebuild`.
ALTER TABLE search_documents ADD COLUMN title_folded text NOT NULL DEFAULT '';
CREATE INDEX search_documents_title_idx ON search_documents (org_id, kind, title_folded text_pattern_ops, record_id DESC);

-- Lower case without accents, one space between words: for both sides of every comparison. A space before each letter or digit that
-- follows another sign makes a word begin where it begins for the trigram index; whatever contained what still does.
CREATE OR REPLACE FUNCTION search_fold(p_text text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN regexp_replace(
        btrim(regexp_replace(lower(unaccent('unaccent'::regdictionary, p_text)), '\s+', ' ', 'g')),
        '([^[:alnum:] ])([[:alnum:]])', '\1 \2', 'g');
END
$$;

-- Short enough for an index.
CREATE FUNCTION search_title(p_title text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN left(search_fold(p_title), 200);
END
$$;

-- The text as it is stored: with a space in front, so that the first word begins like any other. A title that is not part of the
-- text comes before it.
DROP FUNCTION search_body(text);
CREATE FUNCTION search_body(p_title text, p_text text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_title text := search_fold(p_title);
    v_text text := search_fold(p_text);
BEGIN
    RETURN ' ' || CASE WHEN strpos(v_text, v_title) > 0 THEN v_text ELSE v_title || ' ' || v_text END;
END
$$;

-- Tells whether anything changed.
DROP FUNCTION search_index(uuid, text, text, text, text);
CREATE FUNCTION search_index(p_record_id uuid, p_kind text, p_title text, p_subtitle text, p_text text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
BEGIN
    IF v_org IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'search_index needs an organization';
    END IF;
    INSERT INTO search_documents AS known (org_id, record_id, kind, title, subtitle, title_folded, body)
    VALUES (v_org, p_record_id, p_kind, p_title, p_subtitle, search_title(p_title), search_body(p_title, p_text))
    ON CONFLICT (org_id, record_id) DO UPDATE SET kind = excluded.kind, title = excluded.title, subtitle = excluded.subtitle,
            title_folded = excluded.title_folded, body = excluded.body
        WHERE (known.kind, known.title, known.subtitle, known.title_folded, known.body)
            <> (excluded.kind, excluded.title, excluded.subtitle, excluded.title_folded, excluded.body);
    RETURN FOUND;
END
$$;

-- The same for many records of a kind: how many of them changed.
CREATE FUNCTION search_reindex(p_kind text, p_record_ids uuid[], p_titles text[], p_subtitles text[], p_texts text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (
        SELECT count(*) FROM unnest(p_record_ids, p_titles, p_subtitles, p_texts) AS described (record_id, title, subtitle, words)
        WHERE search_index(record_id, p_kind, title, subtitle, words));
END
$$;

CREATE FUNCTION search_terms(p_words text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN array_remove(ARRAY(SELECT search_fold(word) FROM unnest(p_words) word), '');
END
$$;

CREATE FUNCTION search_escape(p_text text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN regexp_replace(p_text, '([\\%_])', '\\\1', 'g');
END
$$;

-- A pattern for each term: anywhere, or where a word begins. One or two characters make no trigram, so they are looked for where a
-- word begins only.
CREATE FUNCTION search_patterns(p_terms text[], p_anywhere boolean) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT CASE WHEN p_anywhere AND length(term) > 2 THEN '%' ELSE '% ' END || search_escape(term) || '%' FROM unnest(p_terms) term);
END
$$;

-- The patterns as a condition in SQL: literals, so that the planner can weigh the trigram index against a walk.
CREATE FUNCTION search_condition(p_text text, p_patterns text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (SELECT coalesce(string_agg(format('%s LIKE %L', p_text, pattern), ' AND '), 'true') FROM unnest(p_patterns) pattern);
END
$$;

-- The documents of some records, fetched one by one: behind OFFSET 0 no other index comes into question.
CREATE FUNCTION search_among(p_ids text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN format('(SELECT d.* FROM unnest(%s) id CROSS JOIN LATERAL (
        SELECT * FROM search_documents WHERE org_id = $1 AND record_id = id OFFSET 0) d) among', p_ids);
END
$$;

-- For lists: the newest records of a kind whose text contains every term, older than p_before, among p_among where that is given.
DROP FUNCTION search_records(text, text[], uuid, integer);
CREATE FUNCTION search_records(p_kind text, p_words text[], p_among uuid[], p_before uuid, p_limit integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
    v_query text := format('SELECT record_id FROM %s WHERE org_id = $1 AND kind = $2 AND %s',
        CASE WHEN p_among IS NULL THEN 'search_documents' ELSE search_among('$3') END,
        search_condition('body', search_patterns(search_terms(p_words), true)));
BEGIN
    IF v_org IS NULL THEN
        RETURN;
    END IF;
    IF p_before IS NOT NULL THEN
        v_query := v_query || ' AND record_id < $4';
    END IF;
    RETURN QUERY EXECUTE v_query || ' ORDER BY record_id DESC LIMIT $5' USING v_org, p_kind, p_among, p_before, p_limit;
END
$$;

-- For the search of everything: records of a kind with their rank, some of them twice.
--   0 is called just that, 1 begins with it, 2 every term begins a word of the title, 3 of the text, 4 is part of the text
-- p_own are the newest records of who sees no others, all of them if p_own_only: these are looked at one by one. Otherwise the work is
-- bounded. Titles that begin with what is searched for come from their index, 500 at most, and p_enough of them end the search. Terms
-- that are frequent among the newest 500 records are then looked for in the newest 5,000, or in p_own; of those that are not, up to
-- 5,000 matches come from the trigram index.
CREATE FUNCTION search_ranked(p_kind text, p_words text[], p_own uuid[], p_own_only boolean, p_enough integer)
RETURNS TABLE (record_id uuid, title text, subtitle text, rank integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    c_most CONSTANT integer := 5000;
    c_few CONSTANT integer := 500;
    c_frequent CONSTANT integer := 3;
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
    v_terms text[] := search_terms(p_words);
    v_title text := search_title(array_to_string(p_words, ' '));
    v_word_patterns text[] := search_patterns(v_terms, false);
    v_part_patterns text[] := search_patterns(v_terms, true);
    v_begins text := format('title_folded LIKE %L', search_escape(v_title) || '%');
    v_words text := search_condition('body', v_word_patterns);
    v_parts text := search_condition('body', v_part_patterns);
    v_here text := ' FROM search_documents WHERE org_id = $1 AND kind = $2 ';
    v_newest text := format(' FROM (SELECT * %s ORDER BY record_id DESC LIMIT $3) newest ', v_here);
    v_ranked text := format(
        'SELECT record_id, title, subtitle,
            CASE WHEN title_folded = %L THEN 0 WHEN %s THEN 1 WHEN %s THEN 2 WHEN %s THEN 3 ELSE 4 END',
        v_title, v_begins, search_condition(''' '' || title_folded', v_word_patterns), v_words);
    v_seen integer;
    v_with_words integer;
    v_with_parts integer;
    v_indexed text[] := v_part_patterns;
    v_rows integer;
BEGIN
    IF v_org IS NULL OR v_terms = '{}' THEN
        RETURN;
    END IF;
    IF p_own IS NOT NULL THEN
        RETURN QUERY EXECUTE
            format('%s FROM %s WHERE kind = $2 AND (%s OR %s)', v_ranked, search_among('$3'), v_begins, v_parts)
            USING v_org, p_kind, p_own;
        IF p_own_only THEN
            RETURN;
        END IF;
    END IF;

    RETURN QUERY EXECUTE format('%s %s AND %s ORDER BY title_folded USING ~<~, record_id DESC LIMIT $3', v_ranked, v_here, v_begins)
        USING v_org, p_kind, c_few;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows >= p_enough AND v_rows < c_few THEN
        RETURN;
    END IF;

    EXECUTE format('SELECT count(*), count(*) FILTER (WHERE %s), count(*) FILTER (WHERE %s) %s', v_words, v_parts, v_newest)
        INTO v_seen, v_with_words, v_with_parts USING v_org, p_kind, c_few;
    IF v_with_parts >= c_frequent THEN
        v_indexed := CASE WHEN v_with_words < c_frequent THEN v_word_patterns END;
    END IF;
    v_rows := NULL;
    -- Without a pattern that makes trigrams the index would give every record of the organization.
    IF v_seen = c_few AND EXISTS (SELECT FROM unnest(v_indexed) pattern WHERE pattern ~ '^% [[:alnum:]]|[[:alnum:]]{3}') THEN
        RETURN QUERY EXECUTE format('%s %s AND %s LIMIT $3', v_ranked, v_here, search_condition('body', v_indexed))
            USING v_org, p_kind, c_most;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
    END IF;
    IF v_rows = c_most OR p_own IS NULL AND (v_with_parts >= c_frequent OR v_rows IS NULL) THEN
        RETURN QUERY EXECUTE format('%s %s WHERE %s', v_ranked, v_newest, v_parts) USING v_org, p_kind, c_most;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION search_title(text), search_body(text, text), search_index(uuid, text, text, text, text),
    search_reindex(text, uuid[], text[], text[], text[]), search_terms(text[]), search_escape(text),
    search_patterns(text[], boolean), search_condition(text, text[]), search_among(text),
    search_records(text, text[], uuid[], uuid, integer), search_ranked(text, text[], uuid[], boolean, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_index(uuid, text, text, text, text), search_reindex(text, uuid[], text[], text[], text[]),
    search_records(text, text[], uuid[], uuid, integer), search_ranked(text, text[], uuid[], boolean, integer) TO crm_app;
