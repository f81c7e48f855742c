CREATE OR REPLACE FUNCTION record_created(p_org_id uuid, p_id uuid, p_kind text, p_actor_id uuid, p_change_id uuid, p_at timestamptz,
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

CREATE OR REPLACE FUNCTION record_updated(p_org_id uuid, p_id uuid, p_kind text, p_version bigint, p_action text, p_actor_id uuid,
                                          p_change_id uuid, p_at timestamptz, p_fields jsonb, p_title text, p_subtitle text, p_text text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields)
    VALUES (p_org_id, p_change_id, p_id, p_version, p_action, p_actor_id, p_at, p_fields);
    IF p_text IS NOT NULL THEN
        PERFORM search_index(p_id, p_kind, p_title, p_subtitle, p_text);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION record_deleted(p_org_id uuid, p_id uuid, p_kind text, p_actor_id uuid, p_change_id uuid, p_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO deletions (org_id, id, kind, record_id, created_by, created_at)
    VALUES (p_org_id, p_change_id, p_kind, p_id, p_actor_id, p_at);
    DELETE FROM records WHERE org_id = p_org_id AND id = p_id;
END
$$;

DROP FUNCTION webhooks_tell(uuid, text, uuid, text, bigint, uuid, timestamptz, jsonb);
DROP TABLE webhook_deliveries, webhooks;

ALTER TABLE changes ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text)::bigint;
ALTER TABLE deletions ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text)::bigint;
DROP FUNCTION feed_horizon(), feed_transaction(), feed_settle(), feed_place();
DROP TABLE feed_epoch;
