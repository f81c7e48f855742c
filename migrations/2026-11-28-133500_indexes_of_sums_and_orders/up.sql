-- Orders that a list offers.
CREATE INDEX leads_position_idx ON leads (org_id, position, id);
CREATE INDEX opportunities_stage_idx ON opportunities (org_id, stage, id);

-- Open leads from the newest, with what says whether one has been left alone.
CREATE INDEX leads_open_idx ON leads (org_id, id) INCLUDE (last_contacted, created_at)
    WHERE status IS DISTINCT FROM 'converted' AND status IS DISTINCT FROM 'closed';

-- The leads that are in a stage.
CREATE INDEX leads_in_stage_idx ON leads (org_id, stage_id) WHERE stage_id IS NOT NULL AND status IS DISTINCT FROM 'converted';

-- Open deals by how long they have been in their stage, with what sums of those that have stalled need.
CREATE INDEX opportunities_stage_changed_at_idx ON opportunities (org_id, stage, stage_changed_at)
    INCLUDE (closed_on, amount, currency, is_active)
    WHERE stage IN ('PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION');

-- The few deals that are out of use, which sums leave out.
CREATE INDEX opportunities_out_of_use_idx ON opportunities (org_id, stage, closed_on) WHERE NOT is_active;

-- Won deals, with what goals count of them.
CREATE INDEX opportunities_won_idx ON opportunities (org_id, closed_on, id) INCLUDE (currency, amount)
    WHERE stage = 'CLOSED_WON' AND is_active;
