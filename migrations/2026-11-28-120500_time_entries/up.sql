-- Time that a member spent on a case. Without an end it is still running.
CREATE TABLE time_entries (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    case_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    -- Whole minutes between the two, 0 while it runs.
    duration_minutes integer NOT NULL DEFAULT 0 CONSTRAINT time_entries_duration_minutes_check CHECK (duration_minutes >= 0),
    description text NOT NULL DEFAULT '' CONSTRAINT time_entries_description_check CHECK (length(description) <= 10000),
    billable boolean NOT NULL DEFAULT false,
    -- In minor units of the currency.
    hourly_rate bigint CONSTRAINT time_entries_hourly_rate_check CHECK (hourly_rate >= 0),
    currency text CONSTRAINT time_entries_currency_check CHECK (length(currency) = 3),
    -- Whether it was ended because it had run for too long.
    auto_stopped boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, id),
    CONSTRAINT time_entries_period_check CHECK (ended_at >= started_at),
    CONSTRAINT time_entries_rate_currency_check CHECK (hourly_rate IS NULL OR currency IS NOT NULL),
    CONSTRAINT time_entries_case_id_fkey FOREIGN KEY (org_id, case_id) REFERENCES cases (org_id, id) ON DELETE CASCADE,
    CONSTRAINT time_entries_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id),
    CONSTRAINT time_entries_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT time_entries_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
-- A member does one thing at a time.
CREATE UNIQUE INDEX time_entries_running_key ON time_entries (org_id, membership_id) WHERE ended_at IS NULL;
CREATE INDEX time_entries_case_id_idx ON time_entries (org_id, case_id, started_at, id);
CREATE INDEX time_entries_membership_id_idx ON time_entries (org_id, membership_id, started_at, id);
CREATE INDEX time_entries_billable_idx ON time_entries (org_id, started_at, id) WHERE billable AND ended_at IS NOT NULL;
CREATE INDEX time_entries_running_idx ON time_entries (org_id, started_at, id) WHERE ended_at IS NULL;
CALL protect_tenant_table('time_entries', 'SELECT, INSERT, UPDATE, DELETE');
