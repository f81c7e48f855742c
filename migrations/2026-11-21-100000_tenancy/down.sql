DROP PROCEDURE protect_tenant_table(regclass, text);
REVOKE SELECT ON __diesel_schema_migrations FROM crm_app;
REVOKE USAGE ON SCHEMA public FROM crm_app;
GRANT USAGE ON SCHEMA public TO PUBLIC;
DROP EXTENSION unaccent;
DROP EXTENSION btree_gin;
DROP EXTENSION pg_trgm;
