-- A meeting, a call or a task of somebody's plan. Its attendees stand in record_attendees, record_contacts and record_leads, its reminders
-- in record_reminders.
CREATE TABLE planner_entries (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT planner_entries_name_check CHECK (length(name) BETWEEN 1 AND 64),
    event_type text NOT NULL CONSTRAINT planner_entries_event_type_check CHECK (event_type IN ('Meeting', 'Task', 'Call')),
    status text CONSTRAINT planner_entries_status_check CHECK (status IN (
        'Planned', 'Held', 'Not Held', 'Not Started', 'Started', 'Completed', 'Canceled', 'Deferred')),
    direction text CONSTRAINT planner_entries_direction_check CHECK (direction IN ('Outbound', 'Inbound')),
    start_date timestamptz NOT NULL,
    close_date timestamptz,
    -- In seconds.
    duration integer CONSTRAINT planner_entries_duration_check CHECK (duration > 0),
    priority text CONSTRAINT planner_entries_priority_check CHECK (priority IN ('Low', 'Normal', 'High', 'Urgent')),
    -- When it is over: the close date, or the start and the duration of a call.
    ends_at timestamptz NOT NULL,
    -- What it is about: one of these at most; a contact only for a task.
    account_id uuid,
    contact_id uuid,
    lead_id uuid,
    opportunity_id uuid,
    case_id uuid,
    description text CONSTRAINT planner_entries_description_check CHECK (length(description) <= 100000),
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, id),
    CONSTRAINT planner_entries_meeting_check CHECK (event_type <> 'Meeting'
        OR close_date IS NOT NULL AND duration IS NOT NULL AND direction IS NULL AND priority IS NULL AND contact_id IS NULL),
    CONSTRAINT planner_entries_task_check CHECK (event_type <> 'Task'
        OR close_date IS NOT NULL AND priority IS NOT NULL AND duration IS NULL AND direction IS NULL),
    CONSTRAINT planner_entries_call_check CHECK (event_type <> 'Call'
        OR duration IS NOT NULL AND direction IS NOT NULL AND close_date IS NULL AND priority IS NULL AND contact_id IS NULL),
    CONSTRAINT planner_entries_period_check CHECK (close_date >= start_date AND ends_at >= start_date),
    CONSTRAINT planner_entries_parent_check CHECK (num_nonnulls(account_id, contact_id, lead_id, opportunity_id, case_id) <= 1),
    CONSTRAINT planner_entries_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id) ON DELETE SET NULL (account_id),
    CONSTRAINT planner_entries_contact_id_fkey FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT planner_entries_lead_id_fkey FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id) ON DELETE SET NULL (lead_id),
    CONSTRAINT planner_entries_opportunity_id_fkey FOREIGN KEY (org_id, opportunity_id)
        REFERENCES opportunities (org_id, id) ON DELETE SET NULL (opportunity_id),
    CONSTRAINT planner_entries_case_id_fkey FOREIGN KEY (org_id, case_id) REFERENCES cases (org_id, id) ON DELETE SET NULL (case_id),
    CONSTRAINT planner_entries_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT planner_entries_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT planner_entries_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX planner_entries_created_by_idx ON planner_entries (org_id, created_by, id);
CREATE INDEX planner_entries_event_type_idx ON planner_entries (org_id, event_type, id);
CREATE INDEX planner_entries_status_idx ON planner_entries (org_id, status, id);
CREATE INDEX planner_entries_period_idx ON planner_entries (org_id, ends_at, start_date, id);
CREATE INDEX planner_entries_start_date_idx ON planner_entries (org_id, start_date, id);
CREATE INDEX planner_entries_name_idx ON planner_entries (org_id, name, id);
CREATE INDEX planner_entries_created_at_idx ON planner_entries (org_id, created_at, id);
CREATE INDEX planner_entries_updated_at_idx ON planner_entries (org_id, updated_at, id);
CREATE INDEX planner_entries_account_id_idx ON planner_entries (org_id, account_id) WHERE account_id IS NOT NULL;
CREATE INDEX planner_entries_contact_id_idx ON planner_entries (org_id, contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX planner_entries_lead_id_idx ON planner_entries (org_id, lead_id) WHERE lead_id IS NOT NULL;
CREATE INDEX planner_entries_opportunity_id_idx ON planner_entries (org_id, opportunity_id) WHERE opportunity_id IS NOT NULL;
CREATE INDEX planner_entries_case_id_idx ON planner_entries (org_id, case_id) WHERE case_id IS NOT NULL;
CALL protect_tenant_table('planner_entries', 'SELECT, INSERT, UPDATE');
