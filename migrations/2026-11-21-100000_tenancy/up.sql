-- What every tenant table is built with.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS unaccent;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO crm_app;
-- Readiness compares the schema with the program.
GRANT SELECT ON __diesel_schema_migrations TO crm_app;

-- The second floor of tenancy: forced row-level security with one policy for all verbs, and the grants the application needs.
CREATE PROCEDURE protect_tenant_table(target regclass, verbs text)
LANGUAGE plpgsql SET client_min_messages = warning AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('DROP POLICY IF EXISTS tenant_isolation ON %s', target);
    EXECUTE format(
        'CREATE POLICY tenant_isolation ON %s '
        'USING (org_id = nullif(current_setting(''app.current_org'', true), '''')::uuid) '
        'WITH CHECK (org_id = nullif(current_setting(''app.current_org'', true), '''')::uuid)', target);
    EXECUTE format('GRANT %s ON %s TO crm_app', verbs, target);
END
$$;
REVOKE ALL ON PROCEDURE protect_tenant_table(regclass, text) FROM PUBLIC;
