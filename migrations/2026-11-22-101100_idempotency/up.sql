-- First answers to requests that carried an Idempotency-Key, written in the transaction of their effect. Answers may hold secrets that are
-- shown once, so they are sealed.
CREATE TABLE idempotency_keys (
    org_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    key text NOT NULL CONSTRAINT idempotency_keys_key_check CHECK (length(key) BETWEEN 1 AND 255),
    -- A digest of the request: the same key with another one is a mistake.
    fingerprint text NOT NULL,
    answer text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, membership_id, key),
    CONSTRAINT idempotency_keys_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (org_id, created_at);
CALL protect_tenant_table('idempotency_keys', 'SELECT, INSERT, DELETE');

-- The same for what happens outside every organization. Such a request spans several transactions, so the key is claimed first.
CREATE TABLE account_idempotency_keys (
    -- Whose key: an account's, or the operation's where nobody is signed in.
    scope text NOT NULL,
    key text NOT NULL CONSTRAINT account_idempotency_keys_key_check CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint text NOT NULL,
    -- Null while the first request is running.
    answer text,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX account_idempotency_keys_claimed_at_idx ON account_idempotency_keys (claimed_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON account_idempotency_keys TO crm_app;
