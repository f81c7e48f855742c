-- More words for the audit trail, and with each event the request that caused it.
ALTER TABLE security_events
    ADD COLUMN request_id text,
    ADD COLUMN method text,
    ADD COLUMN route text,
    DROP CONSTRAINT security_events_event_check,
    ADD CONSTRAINT security_events_event_check CHECK (event IN (
        'login_success', 'login_failure', 'logout', 'org_switch', 'token_refresh', 'token_reused', 'sessions_ended',
        'password_changed', 'password_reset', 'email_verified', 'registered', 'permission_denied', 'membership_invited',
        'membership_joined', 'membership_changed', 'membership_removed', 'role_changed', 'org_created', 'org_changed',
        'org_suspended', 'org_resumed', 'platform_admin_granted', 'platform_access', 'cross_org_attempt',
        'suspicious_activity', 'token_created', 'token_revoked', 'token_used', 'token_invalid', 'two_factor_enabled',
        'two_factor_disabled', 'two_factor_failed', 'recovery_code_used', 'oidc_linked', 'oidc_refused',
        'sign_in_code_failed', 'magic_link_requested', 'webhook_created', 'webhook_changed', 'webhook_deleted'));

-- Personal access tokens. The raw token says whose organization it is, so it is looked up inside that one.
CREATE TABLE access_tokens (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    -- The member whose token it is: nobody makes one for somebody else.
    created_by uuid NOT NULL,
    name text NOT NULL CONSTRAINT access_tokens_name_check CHECK (length(name) BETWEEN 1 AND 255),
    -- SHA-256 of the raw token, which is stored nowhere, and its first characters, by which a person tells it from others.
    digest text NOT NULL,
    token_prefix text NOT NULL,
    -- An array of words such as "leads:read"; empty grants nothing.
    scopes jsonb NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    last_used_ip text,
    revoked_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT access_tokens_org_id_digest_key UNIQUE (org_id, digest),
    CONSTRAINT access_tokens_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX access_tokens_created_by_idx ON access_tokens (org_id, created_by, id);
CALL protect_tenant_table('access_tokens', 'SELECT, INSERT, UPDATE');
