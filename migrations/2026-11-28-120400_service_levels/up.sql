-- Within how many business hours a case of a priority is answered and resolved; without a row, as by default.
CREATE TABLE sla_targets (
    org_id uuid NOT NULL CONSTRAINT sla_targets_org_id_fkey REFERENCES organizations (id),
    priority text NOT NULL CONSTRAINT sla_targets_priority_check CHECK (priority IN ('Low', 'Normal', 'High', 'Urgent')),
    first_response_hours integer NOT NULL CONSTRAINT sla_targets_first_response_hours_check CHECK (first_response_hours BETWEEN 1 AND 8760),
    resolution_hours integer NOT NULL CONSTRAINT sla_targets_resolution_hours_check CHECK (resolution_hours BETWEEN 1 AND 8760),
    PRIMARY KEY (org_id, priority)
);
CALL protect_tenant_table('sla_targets', 'SELECT, INSERT, UPDATE');

-- Whether a customer's reply opens a closed case again; without a row, as by default.
CREATE TABLE reopen_policies (
    org_id uuid NOT NULL CONSTRAINT reopen_policies_org_id_fkey REFERENCES organizations (id),
    is_enabled boolean NOT NULL DEFAULT true,
    reopen_window_days integer NOT NULL DEFAULT 7 CONSTRAINT reopen_policies_reopen_window_days_check CHECK (reopen_window_days BETWEEN 1 AND 365),
    reopen_to_status text NOT NULL DEFAULT 'Pending' CONSTRAINT reopen_policies_reopen_to_status_check
        CHECK (reopen_to_status IN ('New', 'Assigned', 'Pending')),
    notify_assigned boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id)
);
CALL protect_tenant_table('reopen_policies', 'SELECT, INSERT, UPDATE');

-- What is done about a case of a priority whose deadline has passed.
CREATE TABLE escalation_policies (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    priority text NOT NULL CONSTRAINT escalation_policies_priority_check CHECK (priority IN ('Low', 'Normal', 'High', 'Urgent')),
    first_response_action text NOT NULL DEFAULT 'notify' CONSTRAINT escalation_policies_first_response_action_check
        CHECK (first_response_action IN ('notify', 'reassign', 'notify_and_reassign')),
    first_response_target_id uuid,
    resolution_action text NOT NULL DEFAULT 'notify' CONSTRAINT escalation_policies_resolution_action_check
        CHECK (resolution_action IN ('notify', 'reassign', 'notify_and_reassign')),
    resolution_target_id uuid,
    -- Told beside the target, or instead of one.
    notify_team_id uuid,
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, id),
    CONSTRAINT escalation_policies_org_id_priority_key UNIQUE (org_id, priority),
    CONSTRAINT escalation_policies_first_response_target_id_fkey FOREIGN KEY (org_id, first_response_target_id) REFERENCES memberships (org_id, id),
    CONSTRAINT escalation_policies_resolution_target_id_fkey FOREIGN KEY (org_id, resolution_target_id) REFERENCES memberships (org_id, id),
    CONSTRAINT escalation_policies_notify_team_id_fkey FOREIGN KEY (org_id, notify_team_id)
        REFERENCES teams (org_id, id) ON DELETE SET NULL (notify_team_id),
    CONSTRAINT escalation_policies_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT escalation_policies_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT escalation_policies_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX escalation_policies_notify_team_id_idx ON escalation_policies (org_id, notify_team_id) WHERE notify_team_id IS NOT NULL;
CALL protect_tenant_table('escalation_policies', 'SELECT, INSERT, UPDATE');
