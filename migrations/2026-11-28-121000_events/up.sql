-- An event of the calendar, or a series of them, or one of a series that went another way.
CREATE TABLE events (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT events_name_check CHECK (length(name) BETWEEN 1 AND 255),
    status text CONSTRAINT events_status_check CHECK (status IN (
        'Planned', 'Held', 'Not Held', 'Not Started', 'Started', 'Completed', 'Canceled', 'Deferred')),
    description text CONSTRAINT events_description_check CHECK (length(description) <= 100000),
    location text CONSTRAINT events_location_check CHECK (length(location) <= 1000),
    -- Of a series, those of the first one. A whole day lasts from midnight to midnight in the time zone.
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    all_day boolean NOT NULL DEFAULT false,
    -- In which it comes back at the same time of day, whatever the clocks do.
    timezone text NOT NULL CONSTRAINT events_timezone_check CHECK (length(timezone) BETWEEN 1 AND 64),
    -- An RRULE of RFC 5545 without its name; null for a single event.
    rrule text CONSTRAINT events_rrule_check CHECK (length(rrule) BETWEEN 1 AND 500),
    -- An array of the starts that are left out, in UTC.
    exdates jsonb NOT NULL DEFAULT '[]' CONSTRAINT events_exdates_check CHECK (jsonb_typeof(exdates) = 'array'),
    -- After which nothing of it takes place: the end of a single event; the year 9999 for a series without an end.
    last_ends_at timestamptz NOT NULL,
    -- The series that this one belongs to, and the start that it would have had there.
    series_id uuid,
    recurrence_id timestamptz,
    -- What other calendars know it by; one of a series has that of the series.
    uid text NOT NULL CONSTRAINT events_uid_check CHECK (length(uid) BETWEEN 1 AND 255),
    -- Goes up with what attendees must be told.
    sequence integer NOT NULL DEFAULT 0 CONSTRAINT events_sequence_check CHECK (sequence >= 0),
    -- Of an event that came from elsewhere: its organizer tells the attendees, not this program.
    organizer_email text CONSTRAINT events_organizer_email_check CHECK (length(organizer_email) <= 254),
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, id),
    CONSTRAINT events_org_id_series_id_recurrence_id_key UNIQUE (org_id, series_id, recurrence_id),
    CONSTRAINT events_period_check CHECK (ends_at >= starts_at AND last_ends_at >= ends_at),
    CONSTRAINT events_series_check CHECK ((series_id IS NULL) = (recurrence_id IS NULL) AND (series_id IS NULL OR rrule IS NULL)),
    -- Whoever deletes a series deletes these records before.
    CONSTRAINT events_series_id_fkey FOREIGN KEY (org_id, series_id) REFERENCES events (org_id, id),
    CONSTRAINT events_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT events_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT events_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE UNIQUE INDEX events_uid_key ON events (org_id, uid) WHERE series_id IS NULL;
CREATE INDEX events_created_by_idx ON events (org_id, created_by, id);
CREATE INDEX events_period_idx ON events (org_id, last_ends_at, starts_at, id);
CREATE INDEX events_starts_at_idx ON events (org_id, starts_at, id);
CREATE INDEX events_name_idx ON events (org_id, name, id);
CREATE INDEX events_created_at_idx ON events (org_id, created_at, id);
CREATE INDEX events_updated_at_idx ON events (org_id, updated_at, id);
CALL protect_tenant_table('events', 'SELECT, INSERT, UPDATE');

-- Who is asked to an event: a member, a contact or a lead.
CREATE TABLE event_attendees (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    event_id uuid NOT NULL,
    membership_id uuid,
    contact_id uuid,
    lead_id uuid,
    response text NOT NULL DEFAULT 'NEEDS-ACTION' CONSTRAINT event_attendees_response_check
        CHECK (response IN ('NEEDS-ACTION', 'ACCEPTED', 'TENTATIVE', 'DECLINED')),
    responded_at timestamptz,
    -- The sequence and time of the answer, so that an older one that arrives later changes nothing.
    responded_sequence integer,
    comment text CONSTRAINT event_attendees_comment_check CHECK (length(comment) <= 1000),
    -- Where the last invitation went, and with which sequence of the event; null before the first.
    invited_email text CONSTRAINT event_attendees_invited_email_check CHECK (length(invited_email) <= 254),
    invited_sequence integer,
    -- SHA-256 of the key in the mail, by which whoever has no account answers. The raw key names the organization.
    reply_digest text,
    PRIMARY KEY (org_id, id),
    CONSTRAINT event_attendees_who_check CHECK (num_nonnulls(membership_id, contact_id, lead_id) = 1),
    CONSTRAINT event_attendees_org_id_event_id_membership_id_key UNIQUE (org_id, event_id, membership_id),
    CONSTRAINT event_attendees_org_id_event_id_contact_id_key UNIQUE (org_id, event_id, contact_id),
    CONSTRAINT event_attendees_org_id_event_id_lead_id_key UNIQUE (org_id, event_id, lead_id),
    CONSTRAINT event_attendees_org_id_reply_digest_key UNIQUE (org_id, reply_digest),
    CONSTRAINT event_attendees_event_id_fkey FOREIGN KEY (org_id, event_id) REFERENCES events (org_id, id) ON DELETE CASCADE,
    CONSTRAINT event_attendees_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id),
    CONSTRAINT event_attendees_contact_id_fkey FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id) ON DELETE CASCADE,
    CONSTRAINT event_attendees_lead_id_fkey FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id) ON DELETE CASCADE
);
CREATE INDEX event_attendees_membership_id_idx ON event_attendees (org_id, membership_id, event_id) WHERE membership_id IS NOT NULL;
CREATE INDEX event_attendees_contact_id_idx ON event_attendees (org_id, contact_id, event_id) WHERE contact_id IS NOT NULL;
CREATE INDEX event_attendees_lead_id_idx ON event_attendees (org_id, lead_id, event_id) WHERE lead_id IS NOT NULL;
CALL protect_tenant_table('event_attendees', 'SELECT, INSERT, UPDATE, DELETE');

-- The address of a member's private calendar, for programs that read calendars. The raw key names the organization, so it is looked up
-- inside that one.
CREATE TABLE event_feeds (
    org_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    -- SHA-256 of the raw key, which is stored nowhere.
    key_digest text NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    PRIMARY KEY (org_id, membership_id),
    CONSTRAINT event_feeds_org_id_key_digest_key UNIQUE (org_id, key_digest),
    CONSTRAINT event_feeds_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('event_feeds', 'SELECT, INSERT, UPDATE, DELETE');
