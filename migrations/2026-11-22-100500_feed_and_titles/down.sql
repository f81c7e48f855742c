DROP FUNCTION search_index(uuid, text, text, text, text),
    record_created(uuid, uuid, text, uuid, uuid, timestamptz, text, text, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text, text, text);

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

REVOKE ALL ON FUNCTION search_index(uuid, text, text), record_created(uuid, uuid, text, uuid, uuid, timestamptz, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_index(uuid, text, text), record_created(uuid, uuid, text, uuid, uuid, timestamptz, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text) TO crm_app;

ALTER TABLE search_documents DROP COLUMN title, DROP COLUMN subtitle;
DROP INDEX changes_tx_idx, deletions_tx_idx;
ALTER TABLE changes DROP COLUMN tx;
ALTER TABLE deletions DROP COLUMN tx;
