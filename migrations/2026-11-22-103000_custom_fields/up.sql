-- The fields that an organization adds to a kind of record. Never deleted: what is deactivated keeps its values.
CREATE TABLE custom_fields (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    -- The module whose records have it, as in its path; the list of them stands in code.
    target text NOT NULL CONSTRAINT custom_fields_target_check CHECK (target ~ '^[a-z][a-z-]{1,39}$'),
    key text NOT NULL CONSTRAINT custom_fields_key_check CHECK (key ~ '^[a-z][a-z0-9_]{0,63}$'),
    label text NOT NULL CONSTRAINT custom_fields_label_check CHECK (length(label) BETWEEN 1 AND 128),
    field_type text NOT NULL CONSTRAINT custom_fields_field_type_check CHECK (field_type IN (
        'text', 'textarea', 'number', 'dropdown', 'date', 'checkbox')),
    -- Of a dropdown and of nothing else: [{value, label}].
    options jsonb,
    is_required boolean NOT NULL DEFAULT false,
    is_filterable boolean NOT NULL DEFAULT false,
    display_order integer NOT NULL DEFAULT 0 CONSTRAINT custom_fields_display_order_check CHECK (display_order >= 0),
    is_active boolean NOT NULL DEFAULT true,
    -- Set while custom_values is still being filled from the records, by the jobs that know it: until then its filter is refused.
    backfill_id uuid,
    PRIMARY KEY (org_id, id),
    CONSTRAINT custom_fields_org_id_target_key_key UNIQUE (org_id, target, key),
    CONSTRAINT custom_fields_options_check CHECK ((field_type = 'dropdown') = (options IS NOT NULL)),
    -- A long text does not fit into an index.
    CONSTRAINT custom_fields_filterable_check CHECK (NOT is_filterable OR field_type <> 'textarea'),
    CONSTRAINT custom_fields_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT custom_fields_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT custom_fields_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
-- What every look at a record leaves out: few, so nearly free.
CREATE INDEX custom_fields_inactive_idx ON custom_fields (org_id, target, key) WHERE NOT is_active;
CALL protect_tenant_table('custom_fields', 'SELECT, INSERT, UPDATE');

-- The values of filterable fields once more, each in the column of its type, because jsonb can't use an index under a policy. The
-- records themselves are the truth: this table can be made anew from them.
CREATE TABLE custom_values (
    org_id uuid NOT NULL,
    definition_id uuid NOT NULL,
    record_id uuid NOT NULL,
    text_value text CONSTRAINT custom_values_text_value_check CHECK (length(text_value) <= 255),
    -- The place of the number among all 64-bit floating-point numbers, so that it compares as the number does.
    number_rank bigint,
    date_value date,
    bool_value boolean,
    PRIMARY KEY (org_id, definition_id, record_id),
    CONSTRAINT custom_values_one_value_check CHECK (num_nonnulls(text_value, number_rank, date_value, bool_value) = 1),
    CONSTRAINT custom_values_definition_id_fkey FOREIGN KEY (org_id, definition_id) REFERENCES custom_fields (org_id, id) ON DELETE CASCADE,
    CONSTRAINT custom_values_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE
);
-- With the definition, so that a look at one value of one record needs the index alone.
CREATE INDEX custom_values_record_id_idx ON custom_values (org_id, record_id, definition_id);
CREATE INDEX custom_values_text_value_idx ON custom_values (org_id, definition_id, text_value, record_id) WHERE text_value IS NOT NULL;
CREATE INDEX custom_values_number_rank_idx ON custom_values (org_id, definition_id, number_rank, record_id) WHERE number_rank IS NOT NULL;
CREATE INDEX custom_values_date_value_idx ON custom_values (org_id, definition_id, date_value, record_id) WHERE date_value IS NOT NULL;
CREATE INDEX custom_values_bool_value_idx ON custom_values (org_id, definition_id, bool_value, record_id) WHERE bool_value IS NOT NULL;
CALL protect_tenant_table('custom_values', 'SELECT, INSERT, UPDATE, DELETE');

-- A change of a module's definitions waits for whoever is writing such a record, and they for it: so nobody stores a value by
-- a definition of yesterday.
CREATE FUNCTION custom_fields_lock(p_org_id uuid, p_target text, p_shared boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_key bigint := hashtextextended('custom_fields ' || p_org_id || ' ' || p_target, 0);
BEGIN
    IF p_shared THEN
        PERFORM pg_advisory_xact_lock_shared(v_key);
    ELSE
        PERFORM pg_advisory_xact_lock(v_key);
    END IF;
END
$$;

-- The definitions as a writer needs them: locked, and read once the lock is there.
CREATE FUNCTION custom_fields_for_writing(p_org_id uuid, p_target text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM custom_fields_lock(p_org_id, p_target, true);
    RETURN (
        SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.display_order, c.key), '[]')
        FROM custom_fields c WHERE c.org_id = p_org_id AND c.target = p_target);
END
$$;

REVOKE ALL ON FUNCTION custom_fields_lock(uuid, text, boolean), custom_fields_for_writing(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION custom_fields_lock(uuid, text, boolean), custom_fields_for_writing(uuid, text) TO crm_app;

-- Read and written whole: key -> value.
ALTER TABLE leads ADD COLUMN custom_fields jsonb NOT NULL DEFAULT '{}';
