REVOKE DELETE ON leads FROM crm_app;
ALTER TABLE leads DROP COLUMN stage_id, DROP COLUMN position;
DROP TABLE lead_stages, lead_pipelines;
