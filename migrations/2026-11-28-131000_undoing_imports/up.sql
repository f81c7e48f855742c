-- What an import did to one record: asked for each batch that is taken back.
CREATE INDEX import_rows_record_id_idx ON import_rows (org_id, import_id, record_id) WHERE record_id IS NOT NULL;

-- Has nothing be hung on these records until the transaction ends: whoever deletes them has looked whether they are used.
CREATE FUNCTION records_lock(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := nullif(current_setting('app.current_org', true), '')::uuid;
BEGIN
    PERFORM r.id FROM records r WHERE r.org_id = v_org AND r.id = ANY (p_ids) ORDER BY r.id FOR UPDATE;
END
$$;

REVOKE ALL ON FUNCTION records_lock(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION records_lock(uuid[]) TO crm_app;
