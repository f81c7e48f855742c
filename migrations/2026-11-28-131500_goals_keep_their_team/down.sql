-- Where the comments of converted leads were shown at their contacts is not known any more.
DROP INDEX sales_goals_team_id_idx;
ALTER TABLE sales_goals
    DROP CONSTRAINT sales_goals_team_id_fkey,
    ADD CONSTRAINT sales_goals_team_id_fkey FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE SET NULL (team_id);
