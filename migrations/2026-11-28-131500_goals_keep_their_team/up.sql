-- A goal without its team would be one of the whole organization: a team that goals are set for stays.
ALTER TABLE sales_goals
    DROP CONSTRAINT sales_goals_team_id_fkey,
    ADD CONSTRAINT sales_goals_team_id_fkey FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id);
CREATE INDEX sales_goals_team_id_idx ON sales_goals (org_id, team_id) WHERE team_id IS NOT NULL;

-- What hangs on a converted lead is not shown at its contact, whom those of other accounts look at too.
ALTER TABLE record_sources NO FORCE ROW LEVEL SECURITY;
ALTER TABLE records NO FORCE ROW LEVEL SECURITY;
DELETE FROM record_sources s USING records r, records l
WHERE r.org_id = s.org_id AND r.id = s.record_id AND r.kind = 'contact'
    AND l.org_id = s.org_id AND l.id = s.source_id AND l.kind = 'lead';
ALTER TABLE records FORCE ROW LEVEL SECURITY;
ALTER TABLE record_sources FORCE ROW LEVEL SECURITY;
