DROP INDEX leads_position_idx, opportunities_stage_idx, leads_open_idx, leads_in_stage_idx, opportunities_stage_changed_at_idx,
    opportunities_out_of_use_idx, opportunities_won_idx;
