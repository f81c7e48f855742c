-- Senders that an organization has proved to be its own.
CREATE TABLE mail_senders (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    email text NOT NULL CONSTRAINT mail_senders_email_check CHECK (length(email) BETWEEN 3 AND 254),
    email_normalized text NOT NULL,
    name text NOT NULL DEFAULT '' CONSTRAINT mail_senders_name_check CHECK (length(name) <= 100),
    -- SHA-256 of the code that was mailed to it; null once it was given back.
    code_digest text,
    code_expires_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    verified_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT mail_senders_org_id_email_normalized_key UNIQUE (org_id, email_normalized),
    CONSTRAINT mail_senders_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT mail_senders_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT mail_senders_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('mail_senders', 'SELECT, INSERT, UPDATE');

-- What is written to people of an account, once to each.
CREATE TABLE account_messages (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    account_id uuid NOT NULL,
    from_email text NOT NULL CONSTRAINT account_messages_from_email_check CHECK (length(from_email) <= 254),
    message_subject text NOT NULL CONSTRAINT account_messages_message_subject_check CHECK (length(message_subject) BETWEEN 1 AND 255),
    message_body text NOT NULL CONSTRAINT account_messages_message_body_check CHECK (length(message_body) BETWEEN 1 AND 100000),
    timezone text NOT NULL,
    -- When it goes.
    send_at timestamptz NOT NULL,
    is_scheduled boolean NOT NULL,
    state text NOT NULL CONSTRAINT account_messages_state_check CHECK (state IN ('scheduled', 'sent', 'cancelled', 'failed')),
    -- Why nothing went, for a person.
    error text CONSTRAINT account_messages_error_check CHECK (length(error) <= 1000),
    PRIMARY KEY (org_id, id),
    CONSTRAINT account_messages_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT account_messages_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id) ON DELETE CASCADE,
    CONSTRAINT account_messages_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT account_messages_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX account_messages_account_id_idx ON account_messages (org_id, account_id, id);
CALL protect_tenant_table('account_messages', 'SELECT, INSERT, UPDATE');

CREATE TABLE account_message_recipients (
    org_id uuid NOT NULL,
    message_id uuid NOT NULL,
    contact_id uuid NOT NULL,
    -- The address and what it was sent, once it was handed to the mail.
    email text CONSTRAINT account_message_recipients_email_check CHECK (length(email) <= 254),
    mail_id uuid,
    -- Why this one got none.
    skipped_reason text CONSTRAINT account_message_recipients_skipped_reason_check CHECK (length(skipped_reason) <= 200),
    PRIMARY KEY (org_id, message_id, contact_id),
    CONSTRAINT account_message_recipients_message_id_fkey FOREIGN KEY (org_id, message_id)
        REFERENCES account_messages (org_id, id) ON DELETE CASCADE,
    CONSTRAINT account_message_recipients_contact_id_fkey FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id) ON DELETE CASCADE,
    CONSTRAINT account_message_recipients_mail_id_fkey FOREIGN KEY (org_id, mail_id) REFERENCES mails (org_id, id)
);
CREATE INDEX account_message_recipients_contact_id_idx ON account_message_recipients (org_id, contact_id, message_id);
CALL protect_tenant_table('account_message_recipients', 'SELECT, INSERT, UPDATE');
