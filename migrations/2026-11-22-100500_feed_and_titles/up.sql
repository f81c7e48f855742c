-- The order in which changes became visible: by transaction, then by id. Whoever reads up to the oldest transaction that is still running
-- misses nothing, although an id made earlier may be committed later. A bigint, because its comparison is leakproof.
ALTER TABLE changes ADD COLUMN tx bigint NOT NULL DEFAULT (pg_current_xact_id()::text)::bigint;
ALTER TABLE deletions ADD COLUMN tx bigint NOT NULL DEFAULT (pg_current_xact_id()::text)::bigint;
CREATE INDEX changes_tx_idx ON changes (org_id, tx, id);
CREATE INDEX deletions_tx_idx ON deletions (org_id, tx, id);

-- What a record is called where it is found.
ALTER TABLE search_documents
    ADD COLUMN title text NOT NULL DEFAULT '',
    ADD COLUMN subtitle text NOT NULL DEFAULT '';

DROP FUNCTION search_index(uuid, text, text), record_created(uuid, uuid, text, uuid, uuid, timestamptz, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text);

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

CREATE FUNCTION record_created(p_org_id uuid, p_id uuid, p_kind text, p_actor_id uuid, p_change_id uuid, p_at timestamptz,
                               p_title text, p_subtitle text, p_text text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO records (org_id, id, kind) VALUES (p_org_id, p_id, p_kind);
    INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at)
    VALUES (p_org_id, p_change_id, p_id, 1, 'created', p_actor_id, p_at);
    IF p_text IS NOT NULL THEN
        PERFORM search_index(p_id, p_kind, p_title, p_subtitle, p_text);
    END IF;
END
$$;

CREATE FUNCTION record_updated(p_org_id uuid, p_id uuid, p_kind text, p_version bigint, p_action text, p_actor_id uuid, p_change_id uuid,
                               p_at timestamptz, p_fields jsonb, p_title text, p_subtitle text, p_text text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields)
    VALUES (p_org_id, p_change_id, p_id, p_version, p_action, p_actor_id, p_at, p_fields);
    IF p_text IS NOT NULL THEN
        PERFORM search_index(p_id, p_kind, p_title, p_subtitle, p_text);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION search_index(uuid, text, text, text, text),
    record_created(uuid, uuid, text, uuid, uuid, timestamptz, text, text, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_index(uuid, text, text, text, text),
    record_created(uuid, uuid, text, uuid, uuid, timestamptz, text, text, text),
    record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text, text, text) TO crm_app;
