-- Something to be done.
CREATE TABLE tasks (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    title text NOT NULL CONSTRAINT tasks_title_check CHECK (length(title) BETWEEN 1 AND 200),
    status text NOT NULL DEFAULT 'New' CONSTRAINT tasks_status_check CHECK (status IN ('New', 'In Progress', 'Completed')),
    priority text NOT NULL DEFAULT 'Medium' CONSTRAINT tasks_priority_check CHECK (priority IN ('Low', 'Medium', 'High')),
    -- A day in the organization's time zone.
    due_date date,
    description text CONSTRAINT tasks_description_check CHECK (length(description) <= 100000),
    -- What it is for: one of these at most. Its people stand in record_contacts.
    account_id uuid,
    lead_id uuid,
    opportunity_id uuid,
    case_id uuid,
    stage_id uuid,
    position text COLLATE "C" NOT NULL CONSTRAINT tasks_position_check CHECK (length(position) BETWEEN 1 AND 500),
    completed_at timestamptz,
    -- How it comes back, as an RRULE of RFC 5545 counted from the first day of the series; null once it does not.
    rrule text CONSTRAINT tasks_rrule_check CHECK (length(rrule) BETWEEN 1 AND 500),
    series_id uuid,
    series_starts_on date,
    -- The day of the series that this one stands for, wherever its due date went.
    occurrence_on date,
    is_active boolean NOT NULL DEFAULT true,
    is_sample boolean NOT NULL DEFAULT false,
    custom_fields jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, id),
    -- However often one is completed, the next one comes once.
    CONSTRAINT tasks_org_id_series_id_occurrence_on_key UNIQUE (org_id, series_id, occurrence_on),
    CONSTRAINT tasks_parent_check CHECK (num_nonnulls(account_id, lead_id, opportunity_id, case_id) <= 1),
    CONSTRAINT tasks_completed_check CHECK ((status = 'Completed') = (completed_at IS NOT NULL)),
    CONSTRAINT tasks_series_check CHECK (num_nonnulls(series_id, series_starts_on, occurrence_on) IN (0, 3)
        AND (rrule IS NULL OR series_id IS NOT NULL)),
    CONSTRAINT tasks_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id) ON DELETE SET NULL (account_id),
    CONSTRAINT tasks_lead_id_fkey FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id) ON DELETE SET NULL (lead_id),
    CONSTRAINT tasks_opportunity_id_fkey FOREIGN KEY (org_id, opportunity_id)
        REFERENCES opportunities (org_id, id) ON DELETE SET NULL (opportunity_id),
    CONSTRAINT tasks_case_id_fkey FOREIGN KEY (org_id, case_id) REFERENCES cases (org_id, id) ON DELETE SET NULL (case_id),
    CONSTRAINT tasks_stage_id_fkey FOREIGN KEY (org_id, stage_id) REFERENCES task_stages (org_id, id),
    CONSTRAINT tasks_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT tasks_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT tasks_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX tasks_created_by_idx ON tasks (org_id, created_by, id);
CREATE INDEX tasks_account_id_idx ON tasks (org_id, account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX tasks_lead_id_idx ON tasks (org_id, lead_id, id) WHERE lead_id IS NOT NULL;
CREATE INDEX tasks_opportunity_id_idx ON tasks (org_id, opportunity_id, id) WHERE opportunity_id IS NOT NULL;
CREATE INDEX tasks_case_id_idx ON tasks (org_id, case_id, id) WHERE case_id IS NOT NULL;
CREATE INDEX tasks_status_idx ON tasks (org_id, status, id);
CREATE INDEX tasks_priority_idx ON tasks (org_id, priority, id);
CREATE INDEX tasks_status_position_idx ON tasks (org_id, status, position, id) WHERE stage_id IS NULL;
CREATE INDEX tasks_stage_position_idx ON tasks (org_id, stage_id, position, id) WHERE stage_id IS NOT NULL;
CREATE INDEX tasks_title_idx ON tasks (org_id, title, id);
CREATE INDEX tasks_due_date_idx ON tasks (org_id, due_date, id);
CREATE INDEX tasks_open_due_date_idx ON tasks (org_id, due_date, id) WHERE status IN ('New', 'In Progress');
CREATE INDEX tasks_created_at_idx ON tasks (org_id, created_at, id);
CREATE INDEX tasks_updated_at_idx ON tasks (org_id, updated_at, id);
CALL protect_tenant_table('tasks', 'SELECT, INSERT, UPDATE');
