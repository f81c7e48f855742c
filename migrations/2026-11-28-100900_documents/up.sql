-- A file that members share; who may see it follows from the links of every record.
CREATE TABLE documents (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    title text NOT NULL CONSTRAINT documents_title_check CHECK (length(title) BETWEEN 1 AND 255),
    title_normalized text NOT NULL,
    status text NOT NULL DEFAULT 'active' CONSTRAINT documents_status_check CHECK (status IN ('active', 'inactive')),
    -- The newest of its files. Looked at when the transaction ends, because both go with the record.
    file_id uuid NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT documents_org_id_title_normalized_key UNIQUE (org_id, title_normalized),
    CONSTRAINT documents_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT documents_file_id_fkey FOREIGN KEY (org_id, file_id) REFERENCES attachments (org_id, id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT documents_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT documents_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX documents_created_by_idx ON documents (org_id, created_by, id);
CREATE INDEX documents_title_idx ON documents (org_id, title, id);
CALL protect_tenant_table('documents', 'SELECT, INSERT, UPDATE');
