DROP TABLE attachments, comment_mentions, comments, record_tags, record_teams, record_assignees, tags, team_members, teams;
ALTER TABLE roles DROP CONSTRAINT roles_created_by_fkey, DROP CONSTRAINT roles_updated_by_fkey;
DROP TABLE memberships, roles, records;
