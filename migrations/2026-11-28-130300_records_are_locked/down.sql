REVOKE UPDATE (kind) ON records FROM crm_app;
