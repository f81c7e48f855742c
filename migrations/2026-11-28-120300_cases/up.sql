-- What a customer needs done.
CREATE TABLE cases (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    -- Counts up in the organization, from record_counters.
    number bigint NOT NULL CONSTRAINT cases_number_check CHECK (number >= 1),
    name text NOT NULL CONSTRAINT cases_name_check CHECK (length(name) BETWEEN 1 AND 64),
    name_normalized text NOT NULL,
    status text NOT NULL DEFAULT 'New' CONSTRAINT cases_status_check CHECK (status IN (
        'New', 'Assigned', 'Pending', 'Closed', 'Rejected', 'Duplicate')),
    priority text NOT NULL DEFAULT 'Normal' CONSTRAINT cases_priority_check CHECK (priority IN ('Low', 'Normal', 'High', 'Urgent')),
    case_type text CONSTRAINT cases_case_type_check CHECK (case_type IN ('Question', 'Incident', 'Problem')),
    description text CONSTRAINT cases_description_check CHECK (length(description) <= 100000),
    account_id uuid,
    -- Three levels at most, which whoever links them sees to.
    parent_id uuid,
    -- What other cases have in common.
    is_problem boolean NOT NULL DEFAULT false,
    stage_id uuid,
    position text COLLATE "C" NOT NULL CONSTRAINT cases_position_check CHECK (length(position) BETWEEN 1 AND 500),
    closed_on date,
    resolved_at timestamptz,
    -- When a colleague first said something that the customer may read.
    first_response_at timestamptz,
    -- What the priority promised when the case was made.
    sla_first_response_hours integer NOT NULL CONSTRAINT cases_sla_first_response_hours_check CHECK (sla_first_response_hours BETWEEN 1 AND 8760),
    sla_resolution_hours integer NOT NULL CONSTRAINT cases_sla_resolution_hours_check CHECK (sla_resolution_hours BETWEEN 1 AND 8760),
    -- Until when, by the business hours; of a paused case, as it was when the pause began.
    first_response_sla_deadline timestamptz NOT NULL,
    resolution_sla_deadline timestamptz NOT NULL,
    -- Since when it waits for the customer.
    sla_paused_at timestamptz,
    -- For how long it waited before, or was closed: in seconds of business hours, which the deadlines have moved by.
    sla_paused_seconds bigint NOT NULL DEFAULT 0 CONSTRAINT cases_sla_paused_seconds_check CHECK (sla_paused_seconds >= 0),
    -- When it was found that a deadline had passed.
    first_response_breached_at timestamptz,
    resolution_breached_at timestamptz,
    escalation_count integer NOT NULL DEFAULT 0 CONSTRAINT cases_escalation_count_check CHECK (escalation_count >= 0),
    last_escalation_fired_at timestamptz,
    reopen_count integer NOT NULL DEFAULT 0 CONSTRAINT cases_reopen_count_check CHECK (reopen_count >= 0),
    reopened_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    is_sample boolean NOT NULL DEFAULT false,
    custom_fields jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, id),
    CONSTRAINT cases_org_id_number_key UNIQUE (org_id, number),
    CONSTRAINT cases_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT cases_parent_check CHECK (parent_id <> id),
    -- Whatever closes a case says when, and nothing else does.
    CONSTRAINT cases_closed_check CHECK ((status <> 'Closed' OR closed_on IS NOT NULL) AND (status = 'Closed') = (resolved_at IS NOT NULL)),
    CONSTRAINT cases_paused_check CHECK ((status = 'Pending') = (sla_paused_at IS NOT NULL)),
    -- An account with cases is not deleted under them.
    CONSTRAINT cases_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id),
    CONSTRAINT cases_parent_id_fkey FOREIGN KEY (org_id, parent_id) REFERENCES cases (org_id, id) ON DELETE SET NULL (parent_id),
    CONSTRAINT cases_stage_id_fkey FOREIGN KEY (org_id, stage_id) REFERENCES case_stages (org_id, id),
    CONSTRAINT cases_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT cases_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT cases_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX cases_created_by_idx ON cases (org_id, created_by, id);
CREATE INDEX cases_account_id_idx ON cases (org_id, account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX cases_parent_id_idx ON cases (org_id, parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX cases_status_idx ON cases (org_id, status, id);
CREATE INDEX cases_priority_idx ON cases (org_id, priority, id);
CREATE INDEX cases_case_type_idx ON cases (org_id, case_type, id);
CREATE INDEX cases_status_position_idx ON cases (org_id, status, position, id) WHERE stage_id IS NULL;
CREATE INDEX cases_stage_position_idx ON cases (org_id, stage_id, position, id) WHERE stage_id IS NOT NULL;
CREATE INDEX cases_name_idx ON cases (org_id, name, id);
CREATE INDEX cases_closed_on_idx ON cases (org_id, closed_on, id);
CREATE INDEX cases_created_at_idx ON cases (org_id, created_at, id);
CREATE INDEX cases_updated_at_idx ON cases (org_id, updated_at, id);
-- What runs out next.
CREATE INDEX cases_first_response_due_idx ON cases (org_id, first_response_sla_deadline, id)
    WHERE first_response_at IS NULL AND status IN ('New', 'Assigned', 'Pending');
CREATE INDEX cases_resolution_due_idx ON cases (org_id, resolution_sla_deadline, id) WHERE status IN ('New', 'Assigned', 'Pending');
-- DELETE, because a merge takes the row away and leaves the record, whose history stays.
CALL protect_tenant_table('cases', 'SELECT, INSERT, UPDATE, DELETE');
