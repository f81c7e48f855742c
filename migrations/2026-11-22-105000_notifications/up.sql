-- What a member is told. It goes with the record or the comment that it is about: nobody is left with a link to nothing, or with words
-- that were taken back.
CREATE TABLE notifications (
    org_id uuid NOT NULL,
    -- Made under a lock on the recipient: of one recipient, the ids grow in the order in which the rows become visible.
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    -- Who did it; null for the program itself.
    created_by uuid,
    recipient_id uuid NOT NULL,
    verb text NOT NULL CONSTRAINT notifications_verb_check CHECK (verb ~ '^[a-z][a-z_]{1,39}$'),
    -- What happened: told once to each, however often.
    event_id uuid NOT NULL,
    kind text,
    record_id uuid,
    comment_id uuid,
    -- What the record was called then.
    title text NOT NULL CONSTRAINT notifications_title_check CHECK (length(title) <= 255),
    link text NOT NULL CONSTRAINT notifications_link_check CHECK (length(link) <= 500),
    data jsonb NOT NULL DEFAULT '{}',
    read_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT notifications_event_id_verb_recipient_id_key UNIQUE (org_id, event_id, verb, recipient_id),
    CONSTRAINT notifications_record_check CHECK ((kind IS NULL) = (record_id IS NULL)),
    CONSTRAINT notifications_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT notifications_recipient_id_fkey FOREIGN KEY (org_id, recipient_id) REFERENCES memberships (org_id, id),
    CONSTRAINT notifications_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT notifications_comment_id_fkey FOREIGN KEY (org_id, comment_id) REFERENCES comments (org_id, id) ON DELETE CASCADE
);
CREATE INDEX notifications_recipient_id_idx ON notifications (org_id, recipient_id, id);
CREATE INDEX notifications_unread_idx ON notifications (org_id, recipient_id, id) WHERE read_at IS NULL;
CREATE INDEX notifications_read_at_idx ON notifications (org_id, read_at) WHERE read_at IS NOT NULL;
CREATE INDEX notifications_record_id_idx ON notifications (org_id, record_id) WHERE record_id IS NOT NULL;
CREATE INDEX notifications_comment_id_idx ON notifications (org_id, comment_id) WHERE comment_id IS NOT NULL;
CALL protect_tenant_table('notifications', 'SELECT, INSERT, UPDATE, DELETE');

-- How a member wants to be told; without a row, as by default.
CREATE TABLE notification_preferences (
    org_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    -- Verb -> {in_app, mail}.
    verbs jsonb NOT NULL,
    digest text NOT NULL CONSTRAINT notification_preferences_digest_check CHECK (digest IN ('off', 'daily', 'weekly')),
    -- In the organization's time zone.
    digest_hour integer NOT NULL CONSTRAINT notification_preferences_digest_hour_check CHECK (digest_hour BETWEEN 0 AND 23),
    -- When the last digest was due to go and which notification was the last one by then: the next one begins behind it.
    digested_at timestamptz NOT NULL,
    digested_to uuid NOT NULL,
    PRIMARY KEY (org_id, membership_id),
    CONSTRAINT notification_preferences_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('notification_preferences', 'SELECT, INSERT, UPDATE');

-- Who said that they follow a record, or that they do not. Whoever made it, is assigned to it, commented on it or was mentioned there
-- follows it anyway, which is looked up when it matters and so is never out of date.
CREATE TABLE record_followers (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    state text NOT NULL CONSTRAINT record_followers_state_check CHECK (state IN ('following', 'muted')),
    PRIMARY KEY (org_id, record_id, membership_id),
    CONSTRAINT record_followers_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_followers_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('record_followers', 'SELECT, INSERT, UPDATE');

-- What a record of the present organization is called where it is found; null for one that is not found by search.
CREATE FUNCTION record_title(p_record_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (SELECT d.title FROM search_documents d
            WHERE d.org_id = nullif(current_setting('app.current_org', true), '')::uuid AND d.record_id = p_record_id);
END
$$;
REVOKE ALL ON FUNCTION record_title(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_title(uuid) TO crm_app;
