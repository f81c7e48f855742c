-- A key by which a web site may send leads. The raw key says whose organization it is, so it is looked up inside that one.
CREATE TABLE web_forms (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    title text NOT NULL CONSTRAINT web_forms_title_check CHECK (length(title) BETWEEN 1 AND 255),
    -- SHA-256 of the raw key, which is stored nowhere, and its first characters, by which a person tells it from others.
    key_digest text NOT NULL,
    key_prefix text NOT NULL,
    website text CONSTRAINT web_forms_website_check CHECK (length(website) <= 255),
    -- An array of origins such as "https://www.example.com"; empty for any.
    allowed_origins jsonb NOT NULL DEFAULT '[]',
    -- Of a lead that it makes.
    lead_source text CONSTRAINT web_forms_lead_source_check CHECK (lead_source IN (
        'call', 'email', 'existing customer', 'partner', 'public relations', 'campaign', 'other')),
    is_active boolean NOT NULL DEFAULT true,
    last_used_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT web_forms_org_id_key_digest_key UNIQUE (org_id, key_digest),
    CONSTRAINT web_forms_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT web_forms_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT web_forms_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('web_forms', 'SELECT, INSERT, UPDATE');
