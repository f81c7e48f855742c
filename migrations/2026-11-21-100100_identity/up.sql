-- People and what is known of them before an organization is: none of these tables belongs to a tenant.
CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL CONSTRAINT users_email_check CHECK (length(email) BETWEEN 3 AND 254),
    -- Lower-cased by the application: a leakproof comparison, and one account per person.
    email_normalized text NOT NULL CONSTRAINT users_email_normalized_key UNIQUE,
    password_hash text,
    name text NOT NULL DEFAULT '' CONSTRAINT users_name_check CHECK (length(name) <= 255),
    profile_pic text CONSTRAINT users_profile_pic_check CHECK (length(profile_pic) <= 1000),
    is_active boolean NOT NULL DEFAULT true,
    email_verified_at timestamptz,
    last_login_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE organizations (
    id uuid PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1,
    name text NOT NULL CONSTRAINT organizations_name_check CHECK (length(name) BETWEEN 1 AND 100),
    is_active boolean NOT NULL DEFAULT true,
    currency text NOT NULL DEFAULT 'USD' CONSTRAINT organizations_currency_check CHECK (length(currency) = 3),
    country text CONSTRAINT organizations_country_check CHECK (length(country) = 2),
    timezone text NOT NULL DEFAULT 'UTC',
    company_name text NOT NULL DEFAULT '',
    address_line text NOT NULL DEFAULT '',
    city text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT '',
    postcode text NOT NULL DEFAULT '',
    phone text NOT NULL DEFAULT '',
    email text NOT NULL DEFAULT '',
    website text NOT NULL DEFAULT '',
    tax_id text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Which organizations a person may ask for at sign-in; what they are there stands in memberships, under the tenant's policy.
CREATE TABLE user_orgs (
    user_id uuid NOT NULL CONSTRAINT user_orgs_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    org_id uuid NOT NULL CONSTRAINT user_orgs_org_id_fkey REFERENCES organizations (id) ON DELETE CASCADE,
    joined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, org_id)
);

CREATE TABLE platform_admins (
    user_id uuid PRIMARY KEY CONSTRAINT platform_admins_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    is_superuser boolean NOT NULL DEFAULT false,
    granted_by text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now()
);

-- One sign-in on one device, with all the refresh tokens that follow from it.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_because text CONSTRAINT sessions_ended_because_check
        CHECK (ended_because IN ('logout', 'password_changed', 'password_reset', 'token_reused')),
    ip_address text,
    user_agent text
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    jti uuid PRIMARY KEY,
    session_id uuid NOT NULL CONSTRAINT refresh_tokens_session_id_fkey REFERENCES sessions (id) ON DELETE CASCADE,
    org_id uuid CONSTRAINT refresh_tokens_org_id_fkey REFERENCES organizations (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    spent_at timestamptz
);
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id);

-- Single-use links sent by mail; only the token's digest is kept.
CREATE TABLE email_tokens (
    digest text PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT email_tokens_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    purpose text NOT NULL CONSTRAINT email_tokens_purpose_check CHECK (purpose IN ('verify_email', 'reset_password')),
    -- The address the link was sent to: it proves that one and no later one.
    email_normalized text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX email_tokens_user_id_idx ON email_tokens (user_id);

-- How often something guessable was tried, by a digest of the account or by address.
CREATE TABLE throttles (
    key text PRIMARY KEY,
    failures integer NOT NULL,
    blocked_until timestamptz,
    updated_at timestamptz NOT NULL
);

-- Append-only for the application.
CREATE TABLE security_events (
    id uuid PRIMARY KEY,
    event text NOT NULL CONSTRAINT security_events_event_check CHECK (event IN (
        'login_success', 'login_failure', 'logout', 'org_switch', 'token_refresh', 'token_reused', 'sessions_ended',
        'password_changed', 'password_reset', 'email_verified', 'registered', 'permission_denied', 'membership_invited',
        'membership_joined', 'membership_changed', 'membership_removed', 'role_changed', 'org_created', 'org_changed',
        'org_suspended', 'org_resumed', 'platform_admin_granted', 'platform_access')),
    user_id uuid,
    org_id uuid,
    success boolean NOT NULL,
    ip_address text,
    user_agent text,
    detail jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);
CREATE INDEX security_events_org_id_idx ON security_events (org_id, id);
CREATE INDEX security_events_user_id_idx ON security_events (user_id, id);

GRANT SELECT, INSERT, UPDATE ON users, organizations TO crm_app;
GRANT SELECT, INSERT, DELETE ON user_orgs TO crm_app;
GRANT SELECT, INSERT ON platform_admins TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, refresh_tokens, email_tokens, throttles TO crm_app;
GRANT SELECT, INSERT ON security_events TO crm_app;
