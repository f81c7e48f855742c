-- Whom a merge made a follower is none when it is undone.
GRANT DELETE ON record_followers TO crm_app;
