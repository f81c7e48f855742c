DROP FUNCTION record_merged_away(uuid, uuid, text, uuid, uuid, timestamptz), search_forget(uuid);
ALTER TABLE changes NO FORCE ROW LEVEL SECURITY;
DELETE FROM changes WHERE action IN ('converted', 'unconverted', 'merged', 'unmerged');
ALTER TABLE changes FORCE ROW LEVEL SECURITY;
ALTER TABLE changes DROP CONSTRAINT changes_action_check, ADD CONSTRAINT changes_action_check CHECK (action IN (
    'created', 'updated', 'commented', 'comment_edited', 'comment_deleted', 'file_added', 'file_deleted'));
REVOKE UPDATE ON attachments FROM crm_app;
DROP TABLE record_merges, conversions, record_sources;
