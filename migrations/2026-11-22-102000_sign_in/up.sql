-- How people sign in beside their password: a second factor, a provider of identities, a link or a code by mail. Like accounts and
-- sessions, none of these tables belongs to a tenant.
CREATE TABLE totp_factors (
    user_id uuid PRIMARY KEY CONSTRAINT totp_factors_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- Sealed: whoever reads the table can make no codes.
    secret text NOT NULL,
    -- Null until the first code from the authenticator has been right.
    enabled_at timestamptz,
    -- The time step of the last accepted code; no code of it or of an earlier one is accepted again.
    last_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL
);

-- Codes that stand in for a lost authenticator, removed as they are used; only digests under the installation's secret are kept.
CREATE TABLE recovery_codes (
    user_id uuid NOT NULL CONSTRAINT recovery_codes_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    digest text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, digest)
);

-- Sign-ins that wait for the second factor, removed as they are answered.
CREATE TABLE sign_in_challenges (
    digest text PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT sign_in_challenges_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    -- The organization that was asked for, whether or not there is one.
    org_id uuid,
    method text NOT NULL CONSTRAINT sign_in_challenges_method_check CHECK (method IN ('password', 'link', 'code', 'oidc')),
    -- A digest of the password's hash: with another password the challenge is worthless.
    mark text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sign_in_challenges_user_id_idx ON sign_in_challenges (user_id);

-- Sign-ins begun at a provider of identities, removed as they are finished.
CREATE TABLE oidc_logins (
    state_digest text PRIMARY KEY,
    provider text NOT NULL,
    nonce text NOT NULL,
    -- The PKCE verifier, sealed.
    verifier text NOT NULL,
    redirect_uri text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Whose account an identity at a provider opens.
CREATE TABLE oidc_identities (
    issuer text NOT NULL,
    subject text NOT NULL CONSTRAINT oidc_identities_subject_check CHECK (length(subject) BETWEEN 1 AND 255),
    user_id uuid NOT NULL CONSTRAINT oidc_identities_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject),
    -- A provider that gives an address to somebody else does not give them the account.
    CONSTRAINT oidc_identities_user_id_issuer_key UNIQUE (user_id, issuer)
);

-- Links that sign in, removed as they are used. The address may have no account yet, so it stands here itself.
CREATE TABLE sign_in_links (
    digest text PRIMARY KEY,
    email text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- One code an address, which is computed from the seed under the installation's secret and stands nowhere.
CREATE TABLE sign_in_codes (
    email_normalized text PRIMARY KEY,
    seed uuid NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON totp_factors, sign_in_codes TO crm_app;
GRANT SELECT, INSERT, DELETE ON recovery_codes, sign_in_challenges, oidc_logins, sign_in_links TO crm_app;
GRANT SELECT, INSERT ON oidc_identities TO crm_app;
