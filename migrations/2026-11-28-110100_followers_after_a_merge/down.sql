REVOKE DELETE ON record_followers FROM crm_app;
