DROP INDEX opportunities_open_stage_changed_at_idx;
DROP INDEX opportunities_stage_closed_on_idx;
CREATE INDEX opportunities_stage_closed_on_idx ON opportunities (org_id, stage, closed_on, id);
DROP INDEX leads_hot_last_contacted_idx, leads_hot_idx, leads_open_follow_up_idx;
