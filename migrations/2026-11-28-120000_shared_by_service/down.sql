ALTER TABLE changes NO FORCE ROW LEVEL SECURITY;
DELETE FROM changes WHERE action IN ('reopened', 'escalated', 'closed_with_parent', 'time_logged', 'solution_linked', 'solution_unlinked',
    'invited', 'replied');
ALTER TABLE changes FORCE ROW LEVEL SECURITY;
ALTER TABLE changes DROP CONSTRAINT changes_action_check, ADD CONSTRAINT changes_action_check CHECK (action IN (
    'created', 'updated', 'commented', 'comment_edited', 'comment_deleted', 'file_added', 'file_deleted',
    'converted', 'unconverted', 'merged', 'unmerged'));
DROP INDEX record_followers_membership_id_idx;
DROP TABLE record_reminders, record_leads, record_attendees, record_counters;
