-- What is mailed on behalf of an organization: a row for each message and recipient, written in the transaction that causes it.
CREATE TABLE mails (
    org_id uuid NOT NULL CONSTRAINT mails_org_id_fkey REFERENCES organizations (id),
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid,
    to_address text NOT NULL,
    to_normalized text NOT NULL,
    template text NOT NULL,
    -- The template's values as long as the mail may still be sent: a link or a code does not outlive that.
    data jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CONSTRAINT mails_state_check CHECK (state IN ('queued', 'sending', 'sent', 'suppressed', 'failed', 'uncertain')),
    attempts integer NOT NULL DEFAULT 0,
    -- In our own words: what a mail server says may quote the recipient.
    last_error text,
    subject text,
    message_id text,
    sent_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT mails_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX mails_state_idx ON mails (org_id, state, id);
CREATE INDEX mails_to_normalized_idx ON mails (org_id, to_normalized, id);
-- Mail that waits as a whole in the payload of its job; before the policy, which would bind the owner too.
INSERT INTO mails (org_id, id, created_at, to_address, to_normalized, template, data)
SELECT org_id, (payload ->> 'id')::uuid, created_at, payload ->> 'to', lower(payload ->> 'to'), payload ->> 'template', payload -> 'data'
FROM jobs WHERE kind = 'mail.send' AND payload ? 'to';
CALL protect_tenant_table('mails', 'SELECT, INSERT, UPDATE');

-- The same for mails to accounts, caused outside every organization.
CREATE TABLE account_mails (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    to_address text NOT NULL,
    to_normalized text NOT NULL,
    template text NOT NULL,
    data jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CONSTRAINT account_mails_state_check CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'uncertain')),
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    subject text,
    message_id text,
    sent_at timestamptz
);
CREATE INDEX account_mails_state_idx ON account_mails (state, id);
GRANT SELECT, INSERT, UPDATE ON account_mails TO crm_app;
INSERT INTO account_mails (id, created_at, to_address, to_normalized, template, data)
SELECT (payload ->> 'id')::uuid, created_at, payload ->> 'to', lower(payload ->> 'to'), payload ->> 'template', payload -> 'data'
FROM jobs WHERE kind = 'platform.mail.send' AND payload ? 'to';
UPDATE jobs SET payload = jsonb_build_object('id', payload -> 'id') WHERE kind IN ('mail.send', 'platform.mail.send') AND payload ? 'to';

-- Addresses and domains that an organization does not mail to.
CREATE TABLE mail_suppressions (
    org_id uuid NOT NULL CONSTRAINT mail_suppressions_org_id_fkey REFERENCES organizations (id),
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid,
    kind text NOT NULL CONSTRAINT mail_suppressions_kind_check CHECK (kind IN ('address', 'domain')),
    -- In lower case.
    value text NOT NULL CONSTRAINT mail_suppressions_value_check CHECK (length(value) BETWEEN 1 AND 254),
    reason text NOT NULL DEFAULT '' CONSTRAINT mail_suppressions_reason_check CHECK (length(reason) <= 500),
    PRIMARY KEY (org_id, id),
    CONSTRAINT mail_suppressions_org_id_kind_value_key UNIQUE (org_id, kind, value),
    CONSTRAINT mail_suppressions_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('mail_suppressions', 'SELECT, INSERT, DELETE');
