DROP TABLE access_tokens;

-- Not valid: events with later words stay, for the trail is never cut.
ALTER TABLE security_events
    DROP COLUMN request_id,
    DROP COLUMN method,
    DROP COLUMN route,
    DROP CONSTRAINT security_events_event_check,
    ADD CONSTRAINT security_events_event_check CHECK (event IN (
        'login_success', 'login_failure', 'logout', 'org_switch', 'token_refresh', 'token_reused', 'sessions_ended',
        'password_changed', 'password_reset', 'email_verified', 'registered', 'permission_denied', 'membership_invited',
        'membership_joined', 'membership_changed', 'membership_removed', 'role_changed', 'org_created', 'org_changed',
        'org_suspended', 'org_resumed', 'platform_admin_granted', 'platform_access')) NOT VALID;
