-- A way that leads take, as a board with columns of its own.
CREATE TABLE lead_pipelines (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT lead_pipelines_name_check CHECK (length(name) BETWEEN 1 AND 255),
    name_normalized text NOT NULL,
    description text NOT NULL DEFAULT '' CONSTRAINT lead_pipelines_description_check CHECK (length(description) <= 10000),
    is_default boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, id),
    CONSTRAINT lead_pipelines_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT lead_pipelines_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT lead_pipelines_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT lead_pipelines_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE UNIQUE INDEX lead_pipelines_default_key ON lead_pipelines (org_id) WHERE is_default;
CALL protect_tenant_table('lead_pipelines', 'SELECT, INSERT, UPDATE');

CREATE TABLE lead_stages (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    pipeline_id uuid NOT NULL,
    name text NOT NULL CONSTRAINT lead_stages_name_check CHECK (length(name) BETWEEN 1 AND 100),
    name_normalized text NOT NULL,
    -- Its place among the stages of the pipeline, from 1.
    sort_order integer NOT NULL CONSTRAINT lead_stages_sort_order_check CHECK (sort_order >= 1),
    color text NOT NULL DEFAULT '#6B7280' CONSTRAINT lead_stages_color_check CHECK (color ~ '^#[0-9A-F]{6}$'),
    stage_type text NOT NULL DEFAULT 'open' CONSTRAINT lead_stages_stage_type_check CHECK (stage_type IN ('open', 'won', 'lost')),
    -- What a lead's status becomes when it gets here; `converted` only by a conversion.
    maps_to_status text CONSTRAINT lead_stages_maps_to_status_check
        CHECK (maps_to_status IN ('assigned', 'in process', 'converted', 'recycled', 'closed')),
    win_probability integer NOT NULL DEFAULT 0 CONSTRAINT lead_stages_win_probability_check CHECK (win_probability BETWEEN 0 AND 100),
    -- How many leads it takes; null for any number.
    wip_limit integer CONSTRAINT lead_stages_wip_limit_check CHECK (wip_limit >= 1),
    PRIMARY KEY (org_id, id),
    CONSTRAINT lead_stages_org_id_pipeline_id_name_normalized_key UNIQUE (org_id, pipeline_id, name_normalized),
    CONSTRAINT lead_stages_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT lead_stages_pipeline_id_fkey FOREIGN KEY (org_id, pipeline_id) REFERENCES lead_pipelines (org_id, id),
    CONSTRAINT lead_stages_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT lead_stages_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('lead_stages', 'SELECT, INSERT, UPDATE, DELETE');

-- The stage of a lead, null on the board of statuses; and its place in the column, which sorts as text byte by byte: between any two
-- there is always another. A new card comes first, so the place is made from the time in the id, turned round.
ALTER TABLE leads
    ADD COLUMN stage_id uuid,
    ADD COLUMN position text COLLATE "C",
    ADD CONSTRAINT leads_stage_id_fkey FOREIGN KEY (org_id, stage_id) REFERENCES lead_stages (org_id, id),
    ADD CONSTRAINT leads_position_check CHECK (length(position) BETWEEN 1 AND 500);
-- For the owner, who fills the column of all organizations.
ALTER TABLE leads NO FORCE ROW LEVEL SECURITY;
UPDATE leads SET position = translate(left(replace(id::text, '-', ''), 24), '0123456789abcdef', 'fedcba9876543210') || '8';
ALTER TABLE leads FORCE ROW LEVEL SECURITY;
ALTER TABLE leads ALTER COLUMN position SET NOT NULL;
CREATE INDEX leads_status_position_idx ON leads (org_id, status, position, id) WHERE stage_id IS NULL;
CREATE INDEX leads_stage_position_idx ON leads (org_id, stage_id, position, id) WHERE stage_id IS NOT NULL;
-- A merge takes the row away and leaves the record, whose history stays.
GRANT DELETE ON leads TO crm_app;
