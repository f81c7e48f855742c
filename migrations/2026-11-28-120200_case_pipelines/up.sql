-- A way that cases take, as a board with columns of its own.
CREATE TABLE case_pipelines (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT case_pipelines_name_check CHECK (length(name) BETWEEN 1 AND 255),
    name_normalized text NOT NULL,
    description text NOT NULL DEFAULT '' CONSTRAINT case_pipelines_description_check CHECK (length(description) <= 10000),
    is_default boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, id),
    CONSTRAINT case_pipelines_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT case_pipelines_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT case_pipelines_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT case_pipelines_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE UNIQUE INDEX case_pipelines_default_key ON case_pipelines (org_id) WHERE is_default;
CALL protect_tenant_table('case_pipelines', 'SELECT, INSERT, UPDATE');

CREATE TABLE case_stages (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    pipeline_id uuid NOT NULL,
    name text NOT NULL CONSTRAINT case_stages_name_check CHECK (length(name) BETWEEN 1 AND 100),
    name_normalized text NOT NULL,
    -- Its place among the stages of the pipeline, from 1.
    sort_order integer NOT NULL CONSTRAINT case_stages_sort_order_check CHECK (sort_order >= 1),
    color text NOT NULL DEFAULT '#6B7280' CONSTRAINT case_stages_color_check CHECK (color ~ '^#[0-9A-F]{6}$'),
    stage_type text NOT NULL DEFAULT 'open' CONSTRAINT case_stages_stage_type_check CHECK (stage_type IN ('open', 'closed', 'rejected')),
    -- What the status of a case becomes when it gets here.
    maps_to_status text CONSTRAINT case_stages_maps_to_status_check
        CHECK (maps_to_status IN ('New', 'Assigned', 'Pending', 'Closed', 'Rejected', 'Duplicate')),
    -- How many cases it takes; null for any number.
    wip_limit integer CONSTRAINT case_stages_wip_limit_check CHECK (wip_limit >= 1),
    PRIMARY KEY (org_id, id),
    CONSTRAINT case_stages_org_id_pipeline_id_name_normalized_key UNIQUE (org_id, pipeline_id, name_normalized),
    CONSTRAINT case_stages_pipeline_id_fkey FOREIGN KEY (org_id, pipeline_id) REFERENCES case_pipelines (org_id, id),
    CONSTRAINT case_stages_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT case_stages_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT case_stages_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('case_stages', 'SELECT, INSERT, UPDATE, DELETE');
