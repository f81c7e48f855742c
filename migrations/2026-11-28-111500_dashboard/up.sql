-- What the dashboard counts and shows of leads, each from an index alone. The conditions stand in its statements word for word.
CREATE INDEX leads_open_follow_up_idx ON leads (org_id, next_follow_up, id)
    WHERE status IS DISTINCT FROM 'converted' AND status IS DISTINCT FROM 'closed' AND next_follow_up IS NOT NULL;
CREATE INDEX leads_hot_idx ON leads (org_id, id) WHERE rating = 'HOT' AND status IN ('assigned', 'in process');
CREATE INDEX leads_hot_last_contacted_idx ON leads (org_id, last_contacted, id) INCLUDE (created_at)
    WHERE rating = 'HOT' AND status IN ('assigned', 'in process');

-- What deals of a stage are worth by their closing dates, from the index alone.
DROP INDEX opportunities_stage_closed_on_idx;
CREATE INDEX opportunities_stage_closed_on_idx ON opportunities (org_id, stage, closed_on, id) INCLUDE (currency, amount, probability);
-- How long open deals have been in their stage.
CREATE INDEX opportunities_open_stage_changed_at_idx ON opportunities (org_id, stage, stage_changed_at, id)
    WHERE stage IN ('PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION');
