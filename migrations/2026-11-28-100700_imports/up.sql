-- A table of rows on its way into a module.
CREATE TABLE imports (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    module text NOT NULL CONSTRAINT imports_module_check CHECK (module ~ '^[a-z][a-z-]{1,39}$'),
    -- Among the files of the import itself. Looked at when the transaction ends, because both go with the record.
    file_id uuid NOT NULL,
    state text NOT NULL CONSTRAINT imports_state_check CHECK (state IN (
        'queued', 'running', 'done', 'failed', 'undoing', 'undone')),
    mode text NOT NULL CONSTRAINT imports_mode_check CHECK (mode IN ('all_or_nothing', 'skip_bad')),
    duplicates text NOT NULL CONSTRAINT imports_duplicates_check CHECK (duplicates IN ('error', 'skip', 'update')),
    -- Delimiter, encoding, column -> field: as the preview showed them.
    options jsonb NOT NULL,
    total_rows integer NOT NULL DEFAULT 0,
    done_rows integer NOT NULL DEFAULT 0,
    created_rows integer NOT NULL DEFAULT 0,
    updated_rows integer NOT NULL DEFAULT 0,
    skipped_rows integer NOT NULL DEFAULT 0,
    failed_rows integer NOT NULL DEFAULT 0,
    -- What undoing it took back, and what it left because somebody has changed it since.
    undone_rows integer NOT NULL DEFAULT 0,
    kept_rows integer NOT NULL DEFAULT 0,
    -- Why nothing came of it, for a person.
    error text CONSTRAINT imports_error_check CHECK (length(error) <= 2000),
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT imports_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT imports_file_id_fkey FOREIGN KEY (org_id, file_id) REFERENCES attachments (org_id, id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT imports_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT imports_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX imports_created_by_idx ON imports (org_id, created_by, id);
CALL protect_tenant_table('imports', 'SELECT, INSERT, UPDATE');

-- What came of each row that did something or was refused.
CREATE TABLE import_rows (
    org_id uuid NOT NULL,
    import_id uuid NOT NULL,
    -- Among the rows of data, from 1.
    row_number integer NOT NULL,
    outcome text NOT NULL CONSTRAINT import_rows_outcome_check CHECK (outcome IN ('created', 'updated', 'skipped', 'failed')),
    record_id uuid,
    -- At which version it left the record: who finds another one leaves it alone.
    record_version bigint,
    -- The fields that it changed, as they were.
    before jsonb,
    -- What is wrong with it: [{field, code, message}].
    errors jsonb,
    -- The cells, of a row that was refused.
    cells jsonb,
    PRIMARY KEY (org_id, import_id, row_number),
    CONSTRAINT import_rows_import_id_fkey FOREIGN KEY (org_id, import_id) REFERENCES imports (org_id, id) ON DELETE CASCADE
);
CALL protect_tenant_table('import_rows', 'SELECT, INSERT');
