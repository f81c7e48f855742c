-- The feed's transactions count on where a database is restored into another cluster, or a cluster goes back in time: both begin an
-- epoch, and a transaction of a later epoch comes after all of the earlier ones.
CREATE TABLE feed_epoch (
    id boolean PRIMARY KEY DEFAULT true CONSTRAINT feed_epoch_id_check CHECK (id),
    epoch bigint NOT NULL,
    -- The cluster and its timeline, which a restored copy brings along from where it came.
    place text NOT NULL
);
GRANT SELECT ON feed_epoch TO crm_app;

CREATE FUNCTION feed_place() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (pg_control_system()).system_identifier || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
END
$$;
INSERT INTO feed_epoch (epoch, place) VALUES (0, feed_place());

-- Begins an epoch where the database has come to another place; answers whether it has. Nobody writes changes meanwhile.
CREATE FUNCTION feed_settle() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_place CONSTANT text := feed_place();
BEGIN
    IF EXISTS (SELECT FROM feed_epoch e WHERE e.place = v_place) THEN
        RETURN false;
    END IF;
    LOCK TABLE changes, deletions IN SHARE ROW EXCLUSIVE MODE;
    UPDATE feed_epoch e SET epoch = e.epoch + 1, place = v_place WHERE e.place <> v_place;
    RETURN FOUND;
END
$$;

-- The transaction that a change written now belongs to: the present one, or the latest that has ended, if that is later. So two
-- transactions that take turns at a record, of which the first to begin is the last to write, stand in the order of their writing.
CREATE FUNCTION feed_transaction() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (SELECT e.epoch FROM feed_epoch e) * 17592186044416 -- 2^44: more than any cluster will see
        + greatest(pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1);
END
$$;

-- Where the feed ends for the present statement: every change before it was committed or will never be.
CREATE FUNCTION feed_horizon() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (SELECT e.epoch FROM feed_epoch e) * 17592186044416 + pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
END
$$;

ALTER TABLE changes ALTER COLUMN tx SET DEFAULT feed_transaction();
ALTER TABLE deletions ALTER COLUMN tx SET DEFAULT feed_transaction();

-- Where an organization wants to be told of changes.
CREATE TABLE webhooks (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    url text NOT NULL CONSTRAINT webhooks_url_check CHECK (length(url) BETWEEN 1 AND 2000),
    -- An array of words such as "lead.created", "lead.*" or "*".
    events jsonb NOT NULL,
    description text NOT NULL DEFAULT '' CONSTRAINT webhooks_description_check CHECK (length(description) <= 1000),
    is_active boolean NOT NULL DEFAULT true,
    -- Why the program switched it off.
    disabled_reason text CONSTRAINT webhooks_disabled_reason_check CHECK (disabled_reason IN ('gone', 'failing')),
    -- Since when nothing was taken; null after a success.
    failing_since timestamptz,
    -- Both secrets sealed under the installation's key.
    secret text NOT NULL,
    previous_secret text,
    previous_secret_until timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT webhooks_disabled_check CHECK (disabled_reason IS NULL OR NOT is_active),
    CONSTRAINT webhooks_previous_secret_check CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL)),
    CONSTRAINT webhooks_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT webhooks_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT webhooks_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
-- Every write of a record asks whether there is any.
CREATE INDEX webhooks_is_active_idx ON webhooks (org_id) WHERE is_active;
CALL protect_tenant_table('webhooks', 'SELECT, INSERT, UPDATE, DELETE');

-- One event on its way to one webhook.
CREATE TABLE webhook_deliveries (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid,
    event text NOT NULL,
    -- Null for a test.
    change_id uuid,
    -- What is sent, the same at every attempt.
    body text NOT NULL,
    state text NOT NULL CONSTRAINT webhook_deliveries_state_check CHECK (state IN ('pending', 'delivered', 'failed')),
    -- Of the one job that may try it: another one does nothing.
    ticket uuid NOT NULL,
    -- Since the event or since somebody asked for it to be sent again.
    tries integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    delivered_at timestamptz,
    -- The latest attempts, oldest first.
    attempts jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (org_id, id),
    CONSTRAINT webhook_deliveries_webhook_id_fkey FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks (org_id, id) ON DELETE CASCADE,
    CONSTRAINT webhook_deliveries_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX webhook_deliveries_webhook_id_idx ON webhook_deliveries (org_id, webhook_id, id);
CREATE INDEX webhook_deliveries_created_at_idx ON webhook_deliveries (org_id, created_at);
CALL protect_tenant_table('webhook_deliveries', 'SELECT, INSERT, UPDATE, DELETE');

-- Has a change told to the organization's webhooks after the commit, whole: a record deleted meanwhile takes its changes with it.
CREATE FUNCTION webhooks_tell(p_change_id uuid, p_kind text, p_record_id uuid, p_action text, p_version bigint, p_actor_id uuid,
                              p_at timestamptz, p_fields jsonb)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM jobs_put(p_change_id, 'webhooks.fan_out', jsonb_build_object(
        'id', p_change_id, 'kind', p_kind, 'record_id', p_record_id, 'action', p_action, 'version', p_version,
        'created_by', p_actor_id, 'created_at', p_at, 'fields', p_fields), NULL, NULL, NULL);
END
$$;

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
    IF EXISTS (SELECT FROM webhooks w WHERE w.org_id = p_org_id AND w.is_active) THEN
        PERFORM webhooks_tell(p_change_id, p_kind, p_id, 'created', 1, p_actor_id, p_at, '{}');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION record_updated(p_org_id uuid, p_id uuid, p_kind text, p_version bigint, p_action text, p_actor_id uuid,
                                          p_change_id uuid, p_at timestamptz, p_fields jsonb, p_title text, p_subtitle text, p_text text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_tx bigint := feed_transaction();
BEGIN
    -- The clocks that ids are made from differ: behind a change of the record whose id is greater, by the transaction.
    SELECT greatest(v_tx, max(c.tx) + 1) INTO v_tx FROM changes c
    WHERE c.org_id = p_org_id AND c.record_id = p_id AND c.id > p_change_id;
    INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields, tx)
    VALUES (p_org_id, p_change_id, p_id, p_version, p_action, p_actor_id, p_at, p_fields, v_tx);
    IF p_text IS NOT NULL THEN
        PERFORM search_index(p_id, p_kind, p_title, p_subtitle, p_text);
    END IF;
    IF EXISTS (SELECT FROM webhooks w WHERE w.org_id = p_org_id AND w.is_active) THEN
        PERFORM webhooks_tell(p_change_id, p_kind, p_id, p_action, p_version, p_actor_id, p_at, p_fields);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION record_deleted(p_org_id uuid, p_id uuid, p_kind text, p_actor_id uuid, p_change_id uuid, p_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO deletions (org_id, id, kind, record_id, created_by, created_at)
    VALUES (p_org_id, p_change_id, p_kind, p_id, p_actor_id, p_at);
    DELETE FROM records WHERE org_id = p_org_id AND id = p_id;
    IF EXISTS (SELECT FROM webhooks w WHERE w.org_id = p_org_id AND w.is_active) THEN
        PERFORM webhooks_tell(p_change_id, p_kind, p_id, 'deleted', NULL, p_actor_id, p_at, '{}');
    END IF;
END
$$;

REVOKE ALL ON FUNCTION feed_place(), feed_settle(), feed_transaction(), feed_horizon(),
    webhooks_tell(uuid, text, uuid, text, bigint, uuid, timestamptz, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION feed_settle(), feed_transaction(), feed_horizon(),
    webhooks_tell(uuid, text, uuid, text, bigint, uuid, timestamptz, jsonb) TO crm_app;
