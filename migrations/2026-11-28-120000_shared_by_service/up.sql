-- The last number given out in an organization, by kind of record: a row that its next transaction waits for, so that one that fails
-- leaves no gap, and no number tells what other organizations do.
CREATE TABLE record_counters (
    org_id uuid NOT NULL CONSTRAINT record_counters_org_id_fkey REFERENCES organizations (id),
    kind text NOT NULL,
    last bigint NOT NULL CONSTRAINT record_counters_last_check CHECK (last >= 1),
    PRIMARY KEY (org_id, kind)
);
CALL protect_tenant_table('record_counters', 'SELECT, INSERT, UPDATE');

-- Members who take part in something, such as a meeting; it is not theirs by that.
CREATE TABLE record_attendees (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    PRIMARY KEY (org_id, record_id, membership_id),
    CONSTRAINT record_attendees_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_attendees_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CREATE INDEX record_attendees_membership_id_idx ON record_attendees (org_id, membership_id, record_id);
CALL protect_tenant_table('record_attendees', 'SELECT, INSERT, DELETE');

-- Leads who take part in it; contacts stand in record_contacts.
CREATE TABLE record_leads (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    PRIMARY KEY (org_id, record_id, lead_id),
    CONSTRAINT record_leads_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_leads_lead_id_fkey FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id) ON DELETE CASCADE
);
CREATE INDEX record_leads_lead_id_idx ON record_leads (org_id, lead_id, record_id);
CALL protect_tenant_table('record_leads', 'SELECT, INSERT, DELETE');

-- When people are reminded of a record, and how; each once.
CREATE TABLE record_reminders (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    record_id uuid NOT NULL,
    reminder_type text NOT NULL CONSTRAINT record_reminders_reminder_type_check CHECK (reminder_type IN ('Email', 'Popup')),
    -- How long before the record's time, in seconds.
    reminder_time integer NOT NULL CONSTRAINT record_reminders_reminder_time_check CHECK (reminder_time BETWEEN 0 AND 2592000),
    -- The record's time less that.
    due_at timestamptz NOT NULL,
    -- Null while it is to come. A new time of the record arms it again.
    sent_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT record_reminders_org_id_record_id_type_time_key UNIQUE (org_id, record_id, reminder_type, reminder_time),
    CONSTRAINT record_reminders_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE
);
CREATE INDEX record_reminders_due_at_idx ON record_reminders (org_id, due_at, id) WHERE sent_at IS NULL;
CALL protect_tenant_table('record_reminders', 'SELECT, INSERT, UPDATE, DELETE');

-- What a member follows, from the member's end: following a case shows it.
CREATE INDEX record_followers_membership_id_idx ON record_followers (org_id, membership_id, record_id) WHERE state = 'following';

ALTER TABLE changes DROP CONSTRAINT changes_action_check, ADD CONSTRAINT changes_action_check CHECK (action IN (
    'created', 'updated', 'commented', 'comment_edited', 'comment_deleted', 'file_added', 'file_deleted',
    'converted', 'unconverted', 'merged', 'unmerged', 'reopened', 'escalated', 'closed_with_parent', 'time_logged',
    'solution_linked', 'solution_unlinked', 'invited', 'replied'));
