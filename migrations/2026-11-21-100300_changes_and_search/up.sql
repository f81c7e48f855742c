-- Who changed what, field by field: append-only for the application, gone with its record.
CREATE TABLE changes (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    record_id uuid NOT NULL,
    -- The record's version afterwards; null when the record itself did not change.
    version bigint,
    action text NOT NULL CONSTRAINT changes_action_check CHECK (action IN (
        'created', 'updated', 'commented', 'comment_edited', 'comment_deleted', 'file_added', 'file_deleted')),
    created_by uuid,
    created_at timestamptz NOT NULL,
    -- Field -> [old, new].
    fields jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, id),
    CONSTRAINT changes_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT changes_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX changes_record_id_idx ON changes (org_id, record_id, id);
CALL protect_tenant_table('changes', 'SELECT, INSERT');

-- That a record was there and who removed it; its contents and history are gone.
CREATE TABLE deletions (
    org_id uuid NOT NULL CONSTRAINT deletions_org_id_fkey REFERENCES organizations (id),
    id uuid NOT NULL,
    kind text NOT NULL,
    record_id uuid NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT deletions_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('deletions', 'SELECT, INSERT');

-- The text of every record. LIKE is not leakproof, so under a policy its index would never be used: the table is for its owner alone,
-- and the two functions below, which take the organization from the transaction's context and from nowhere else, are the only way in.
CREATE TABLE search_documents (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    kind text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (org_id, record_id),
    CONSTRAINT search_documents_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE
);
CREATE INDEX search_documents_kind_idx ON search_documents (org_id, kind, record_id);
-- New rows wait in a list that every search reads through: a short one, in kB.
CREATE INDEX search_documents_body_idx ON search_documents USING gin (org_id, body gin_trgm_ops)
    WITH (gin_pending_list_limit = 128);

-- Lower case without accents, for both sides of the comparison.
CREATE FUNCTION search_fold(p_text text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN lower(unaccent('unaccent'::regdictionary, p_text));
END
$$;

-- The text as it is stored: with a space in front, so that the beginning of the first word is found like that of any other.
CREATE FUNCTION search_body(p_text text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN ' ' || search_fold(p_text);
END
$$;

CREATE FUNCTION search_index(p_record_id uuid, p_kind text, p_text text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
BEGIN
    IF v_org IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'search_index needs an organization';
    END IF;
    INSERT INTO search_documents (org_id, record_id, kind, body)
    VALUES (v_org, p_record_id, p_kind, search_body(p_text))
    ON CONFLICT (org_id, record_id) DO UPDATE SET body = excluded.body WHERE search_documents.body <> excluded.body;
END
$$;

-- The newest records of a kind whose text contains every term, older than p_before. One or two characters make no trigram: such a
-- term is looked for at the beginning of a word.
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

-- One statement for what belongs to every creation: the supertype, the change log and the search text.
CREATE FUNCTION record_created(p_org_id uuid, p_id uuid, p_kind text, p_actor_id uuid, p_change_id uuid, p_at timestamptz, p_text text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO records (org_id, id, kind) VALUES (p_org_id, p_id, p_kind);
    INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at)
    VALUES (p_org_id, p_change_id, p_id, 1, 'created', p_actor_id, p_at);
    IF p_text IS NOT NULL THEN
        PERFORM search_index(p_id, p_kind, p_text);
    END IF;
END
$$;

CREATE FUNCTION record_updated(p_org_id uuid, p_id uuid, p_kind text, p_version bigint, p_action text, p_actor_id uuid, p_change_id uuid,
                               p_at timestamptz, p_fields jsonb, p_text text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields)
    VALUES (p_org_id, p_change_id, p_id, p_version, p_action, p_actor_id, p_at, p_fields);
    IF p_text IS NOT NULL THEN
        PERFORM search_index(p_id, p_kind, p_text);
    END IF;
END
$$;

-- Deletes the record with all that hangs on it, leaving word that it was there.
CREATE FUNCTION record_deleted(p_org_id uuid, p_id uuid, p_kind text, p_actor_id uuid, p_change_id uuid, p_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO deletions (org_id, id, kind, record_id, created_by, created_at)
    VALUES (p_org_id, p_change_id, p_kind, p_id, p_actor_id, p_at);
    DELETE FROM records WHERE org_id = p_org_id AND id = p_id;
END
$$;

REVOKE ALL ON FUNCTION
    search_fold(text), search_body(text), search_index(uuid, text, text), search_records(text, text[], uuid, integer),
    record_created(uuid, uuid, text, uuid, uuid, timestamptz, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text),
    record_deleted(uuid, uuid, text, uuid, uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    search_index(uuid, text, text), search_records(text, text[], uuid, integer),
    record_created(uuid, uuid, text, uuid, uuid, timestamptz, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text),
    record_deleted(uuid, uuid, text, uuid, uuid, timestamptz) TO crm_app;
