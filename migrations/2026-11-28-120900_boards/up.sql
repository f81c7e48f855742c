-- A board with cards, for its members and nobody else.
CREATE TABLE boards (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT boards_name_check CHECK (length(name) BETWEEN 1 AND 255),
    description text CONSTRAINT boards_description_check CHECK (length(description) <= 10000),
    is_archived boolean NOT NULL DEFAULT false,
    -- Counts what happens on it, which a stream tells.
    revision bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, id),
    CONSTRAINT boards_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT boards_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT boards_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX boards_created_by_idx ON boards (org_id, created_by, id);
CREATE INDEX boards_name_idx ON boards (org_id, name, id);
CREATE INDEX boards_created_at_idx ON boards (org_id, created_at, id);
CREATE INDEX boards_updated_at_idx ON boards (org_id, updated_at, id);
CALL protect_tenant_table('boards', 'SELECT, INSERT, UPDATE');

CREATE TABLE board_members (
    org_id uuid NOT NULL,
    board_id uuid NOT NULL,
    membership_id uuid NOT NULL,
    -- Everything; the cards and columns; only to look.
    role text NOT NULL CONSTRAINT board_members_role_check CHECK (role IN ('owner', 'editor', 'viewer')),
    created_at timestamptz NOT NULL,
    created_by uuid,
    PRIMARY KEY (org_id, board_id, membership_id),
    CONSTRAINT board_members_board_id_fkey FOREIGN KEY (org_id, board_id) REFERENCES boards (org_id, id) ON DELETE CASCADE,
    CONSTRAINT board_members_membership_id_fkey FOREIGN KEY (org_id, membership_id) REFERENCES memberships (org_id, id),
    CONSTRAINT board_members_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX board_members_membership_id_idx ON board_members (org_id, membership_id, board_id);
CALL protect_tenant_table('board_members', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE board_columns (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    board_id uuid NOT NULL,
    name text NOT NULL CONSTRAINT board_columns_name_check CHECK (length(name) BETWEEN 1 AND 100),
    name_normalized text NOT NULL,
    -- Its place among the columns, as a card's among the cards.
    position text COLLATE "C" NOT NULL CONSTRAINT board_columns_position_check CHECK (length(position) BETWEEN 1 AND 500),
    color text NOT NULL DEFAULT '#6B7280' CONSTRAINT board_columns_color_check CHECK (color ~ '^#[0-9A-F]{6}$'),
    -- How many cards it takes; null for any number.
    wip_limit integer CONSTRAINT board_columns_wip_limit_check CHECK (wip_limit >= 1),
    PRIMARY KEY (org_id, id),
    CONSTRAINT board_columns_org_id_board_id_name_normalized_key UNIQUE (org_id, board_id, name_normalized),
    -- What a card's column belongs to its board by.
    CONSTRAINT board_columns_org_id_board_id_id_key UNIQUE (org_id, board_id, id),
    CONSTRAINT board_columns_board_id_fkey FOREIGN KEY (org_id, board_id) REFERENCES boards (org_id, id) ON DELETE CASCADE,
    CONSTRAINT board_columns_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT board_columns_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX board_columns_position_idx ON board_columns (org_id, board_id, position, id);
CALL protect_tenant_table('board_columns', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE board_cards (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    board_id uuid NOT NULL,
    column_id uuid NOT NULL,
    title text NOT NULL CONSTRAINT board_cards_title_check CHECK (length(title) BETWEEN 1 AND 255),
    description text CONSTRAINT board_cards_description_check CHECK (length(description) <= 100000),
    priority text NOT NULL DEFAULT 'medium' CONSTRAINT board_cards_priority_check CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    position text COLLATE "C" NOT NULL CONSTRAINT board_cards_position_check CHECK (length(position) BETWEEN 1 AND 500),
    due_date timestamptz,
    completed_at timestamptz,
    -- When it was put away; it stays in its column and counts there no more.
    archived_at timestamptz,
    account_id uuid,
    contact_id uuid,
    opportunity_id uuid,
    PRIMARY KEY (org_id, id),
    CONSTRAINT board_cards_board_id_fkey FOREIGN KEY (org_id, board_id) REFERENCES boards (org_id, id) ON DELETE CASCADE,
    CONSTRAINT board_cards_column_id_fkey FOREIGN KEY (org_id, board_id, column_id) REFERENCES board_columns (org_id, board_id, id),
    CONSTRAINT board_cards_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id) ON DELETE SET NULL (account_id),
    CONSTRAINT board_cards_contact_id_fkey FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT board_cards_opportunity_id_fkey FOREIGN KEY (org_id, opportunity_id)
        REFERENCES opportunities (org_id, id) ON DELETE SET NULL (opportunity_id),
    CONSTRAINT board_cards_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT board_cards_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT board_cards_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX board_cards_position_idx ON board_cards (org_id, column_id, position, id) WHERE archived_at IS NULL;
CREATE INDEX board_cards_board_id_idx ON board_cards (org_id, board_id, column_id, id);
CREATE INDEX board_cards_archived_idx ON board_cards (org_id, board_id, id) WHERE archived_at IS NOT NULL;
CREATE INDEX board_cards_created_by_idx ON board_cards (org_id, created_by, id);
CREATE INDEX board_cards_account_id_idx ON board_cards (org_id, account_id) WHERE account_id IS NOT NULL;
CREATE INDEX board_cards_contact_id_idx ON board_cards (org_id, contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX board_cards_opportunity_id_idx ON board_cards (org_id, opportunity_id) WHERE opportunity_id IS NOT NULL;
CALL protect_tenant_table('board_cards', 'SELECT, INSERT, UPDATE');
