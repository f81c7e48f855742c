-- The supertype of every record: whatever hangs on "a record" hangs on this.
CREATE TABLE records (
    org_id uuid NOT NULL CONSTRAINT records_org_id_fkey REFERENCES organizations (id),
    id uuid NOT NULL,
    kind text NOT NULL CONSTRAINT records_kind_check CHECK (kind ~ '^[a-z][a-z_]{1,39}$'),
    PRIMARY KEY (org_id, id)
);
CALL protect_tenant_table('records', 'SELECT, INSERT, DELETE');

CREATE TABLE roles (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT roles_name_check CHECK (length(name) BETWEEN 1 AND 50),
    name_normalized text NOT NULL,
    description text NOT NULL DEFAULT '',
    is_builtin boolean NOT NULL DEFAULT false,
    -- Module -> {actions, scope}; empty for a built-in role, whose grants stand in code.
    grants jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, id),
    CONSTRAINT roles_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT roles_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE
);
CALL protect_tenant_table('roles', 'SELECT, INSERT, UPDATE, DELETE');

-- A person's membership in an organization ("profile" on the wire). Kept when the person leaves, so that what they wrote stays theirs.
CREATE TABLE memberships (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    -- Null until an invitation is accepted.
    user_id uuid CONSTRAINT memberships_user_id_fkey REFERENCES users (id),
    email text NOT NULL,
    email_normalized text NOT NULL,
    role_id uuid NOT NULL,
    state text NOT NULL CONSTRAINT memberships_state_check CHECK (state IN ('invited', 'active', 'inactive', 'removed')),
    phone text CONSTRAINT memberships_phone_check CHECK (length(phone) <= 25),
    alternate_phone text CONSTRAINT memberships_alternate_phone_check CHECK (length(alternate_phone) <= 25),
    has_sales_access boolean NOT NULL DEFAULT false,
    has_marketing_access boolean NOT NULL DEFAULT false,
    date_of_joining date,
    invitation_digest text,
    invitation_expires_at timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT memberships_org_id_user_id_key UNIQUE (org_id, user_id),
    CONSTRAINT memberships_org_id_email_normalized_key UNIQUE (org_id, email_normalized),
    CONSTRAINT memberships_accepted_check CHECK (user_id IS NOT NULL OR state IN ('invited', 'removed')),
    CONSTRAINT memberships_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT memberships_role_id_fkey FOREIGN KEY (org_id, role_id) REFERENCES roles (org_id, id),
    CONSTRAINT memberships_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT memberships_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX memberships_role_id_idx ON memberships (org_id, role_id);
CALL protect_tenant_table('memberships', 'SELECT, INSERT, UPDATE');

ALTER TABLE roles
    ADD CONSTRAINT roles_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    ADD CONSTRAINT roles_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id);

CREATE TABLE teams (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT teams_name_check CHECK (length(name) BETWEEN 1 AND 100),
    name_normalized text NOT NULL,
    description text NOT NULL DEFAULT '' CONSTRAINT teams_description_check CHECK (length(description) <= 10000),
    PRIMARY KEY (org_id, id),
    CONSTRAINT teams_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT teams_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT teams_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT teams_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('teams', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE team_members (
    org_id uuid NOT NULL,
    team_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    PRIMARY KEY (org_id, team_id, membership_id),
    CONSTRAINT team_members_team_id_fkey FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE CASCADE,
    CONSTRAINT team_members_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CREATE INDEX team_members_membership_id_idx ON team_members (org_id, membership_id, team_id);
CALL protect_tenant_table('team_members', 'SELECT, INSERT, DELETE');

CREATE TABLE tags (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT tags_name_check CHECK (length(name) BETWEEN 1 AND 50),
    slug text NOT NULL,
    color text NOT NULL DEFAULT 'blue' CONSTRAINT tags_color_check CHECK (color IN (
        'gray', 'red', 'orange', 'amber', 'yellow', 'lime', 'green', 'emerald', 'teal', 'cyan', 'sky', 'blue', 'indigo',
        'violet', 'purple', 'fuchsia', 'pink', 'rose')),
    description text NOT NULL DEFAULT '' CONSTRAINT tags_description_check CHECK (length(description) <= 1000),
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, id),
    CONSTRAINT tags_org_id_slug_key UNIQUE (org_id, slug),
    CONSTRAINT tags_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT tags_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT tags_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('tags', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE record_assignees (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    PRIMARY KEY (org_id, record_id, membership_id),
    CONSTRAINT record_assignees_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_assignees_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CREATE INDEX record_assignees_membership_id_idx ON record_assignees (org_id, membership_id, record_id);
CALL protect_tenant_table('record_assignees', 'SELECT, INSERT, DELETE');

CREATE TABLE record_teams (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    team_id uuid NOT NULL,
    PRIMARY KEY (org_id, record_id, team_id),
    CONSTRAINT record_teams_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_teams_team_id_fkey FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE CASCADE
);
CREATE INDEX record_teams_team_id_idx ON record_teams (org_id, team_id, record_id);
CALL protect_tenant_table('record_teams', 'SELECT, INSERT, DELETE');

CREATE TABLE record_tags (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    tag_id uuid NOT NULL,
    PRIMARY KEY (org_id, record_id, tag_id),
    CONSTRAINT record_tags_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_tags_tag_id_fkey FOREIGN KEY (org_id, tag_id) REFERENCES tags (org_id, id) ON DELETE CASCADE
);
CREATE INDEX record_tags_tag_id_idx ON record_tags (org_id, tag_id, record_id);
CALL protect_tenant_table('record_tags', 'SELECT, INSERT, DELETE');

CREATE TABLE comments (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    record_id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    comment text NOT NULL CONSTRAINT comments_comment_check CHECK (length(comment) BETWEEN 1 AND 10000),
    is_internal boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, id),
    CONSTRAINT comments_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT comments_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT comments_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX comments_record_id_idx ON comments (org_id, record_id, id);
CALL protect_tenant_table('comments', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE comment_mentions (
    org_id uuid NOT NULL,
    comment_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    PRIMARY KEY (org_id, comment_id, membership_id),
    CONSTRAINT comment_mentions_comment_id_fkey FOREIGN KEY (org_id, comment_id) REFERENCES comments (org_id, id) ON DELETE CASCADE,
    CONSTRAINT comment_mentions_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id)
);
CREATE INDEX comment_mentions_membership_id_idx ON comment_mentions (org_id, membership_id);
CALL protect_tenant_table('comment_mentions', 'SELECT, INSERT, DELETE');

CREATE TABLE attachments (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    record_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid,
    file_name text NOT NULL CONSTRAINT attachments_file_name_check CHECK (length(file_name) BETWEEN 1 AND 60),
    content_type text NOT NULL,
    size_bytes bigint NOT NULL CONSTRAINT attachments_size_bytes_check CHECK (size_bytes BETWEEN 1 AND 26214400),
    sha256 text NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT attachments_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT attachments_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX attachments_record_id_idx ON attachments (org_id, record_id, id);
CALL protect_tenant_table('attachments', 'SELECT, INSERT, DELETE');
