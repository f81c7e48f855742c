-- What record_updated does, for many changed records of one kind at once: a few statements for all of them instead of a few for each.
-- How they are found stays as it is.
CREATE FUNCTION records_updated(p_org_id uuid, p_kind text, p_actor_id uuid, p_at timestamptz, p_ids uuid[], p_versions bigint[],
                                p_change_ids uuid[], p_fields jsonb[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_tx bigint := feed_transaction();
BEGIN
    -- As for a single one: behind a change of the record whose id is greater, by the transaction.
    INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields, tx)
    SELECT p_org_id, n.change_id, n.id, n.version, 'updated', p_actor_id, p_at, n.fields, greatest(v_tx, (
        SELECT max(c.tx) + 1 FROM changes c WHERE c.org_id = p_org_id AND c.record_id = n.id AND c.id > n.change_id))
    FROM unnest(p_ids, p_versions, p_change_ids, p_fields) AS n (id, version, change_id, fields);
    IF EXISTS (SELECT FROM webhooks w WHERE w.org_id = p_org_id AND w.is_active) THEN
        PERFORM webhooks_tell(n.change_id, p_kind, n.id, 'updated', n.version, p_actor_id, p_at, n.fields)
        FROM unnest(p_ids, p_versions, p_change_ids, p_fields) AS n (id, version, change_id, fields);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION records_updated(uuid, text, uuid, timestamptz, uuid[], bigint[], uuid[], jsonb[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION records_updated(uuid, text, uuid, timestamptz, uuid[], bigint[], uuid[], jsonb[]) TO crm_app;
