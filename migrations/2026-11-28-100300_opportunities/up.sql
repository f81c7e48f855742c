-- A deal on its way.
CREATE TABLE opportunities (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT opportunities_name_check CHECK (length(name) BETWEEN 1 AND 255),
    name_normalized text NOT NULL,
    account_id uuid,
    stage text NOT NULL DEFAULT 'PROSPECTING' CONSTRAINT opportunities_stage_check CHECK (stage IN (
        'PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION', 'CLOSED_WON', 'CLOSED_LOST')),
    opportunity_type text CONSTRAINT opportunities_opportunity_type_check CHECK (opportunity_type IN (
        'NEW_BUSINESS', 'EXISTING_BUSINESS', 'RENEWAL', 'UPSELL', 'CROSS_SELL')),
    currency text CONSTRAINT opportunities_currency_check CHECK (length(currency) = 3),
    -- In minor units of the currency.
    amount bigint CONSTRAINT opportunities_amount_check CHECK (amount >= 0),
    -- CALCULATED while there are line items, which own it then.
    amount_source text NOT NULL DEFAULT 'MANUAL' CONSTRAINT opportunities_amount_source_check CHECK (amount_source IN ('MANUAL', 'CALCULATED')),
    probability integer NOT NULL CONSTRAINT opportunities_probability_check CHECK (probability BETWEEN 0 AND 100),
    -- Whether somebody chose the probability of an open deal, which then no longer follows the stage.
    probability_is_manual boolean NOT NULL DEFAULT false,
    -- When it is expected to close; once closed, when it did.
    closed_on date,
    lead_source text CONSTRAINT opportunities_lead_source_check CHECK (lead_source IN (
        'NONE', 'CALL', 'EMAIL', 'EXISTING CUSTOMER', 'PARTNER', 'PUBLIC RELATIONS', 'CAMPAIGN', 'WEBSITE', 'OTHER')),
    description text CONSTRAINT opportunities_description_check CHECK (length(description) <= 100000),
    closed_by uuid,
    stage_changed_at timestamptz NOT NULL,
    position text COLLATE "C" NOT NULL CONSTRAINT opportunities_position_check CHECK (length(position) BETWEEN 1 AND 500),
    is_active boolean NOT NULL DEFAULT true,
    is_sample boolean NOT NULL DEFAULT false,
    custom_fields jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, id),
    CONSTRAINT opportunities_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT opportunities_amount_currency_check CHECK (amount IS NULL OR currency IS NOT NULL),
    CONSTRAINT opportunities_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    -- An account with deals is not deleted under them.
    CONSTRAINT opportunities_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id),
    CONSTRAINT opportunities_closed_by_fkey FOREIGN KEY (org_id, closed_by) REFERENCES memberships (org_id, id),
    CONSTRAINT opportunities_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT opportunities_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX opportunities_created_by_idx ON opportunities (org_id, created_by, id);
CREATE INDEX opportunities_account_id_idx ON opportunities (org_id, account_id, id);
CREATE INDEX opportunities_stage_position_idx ON opportunities (org_id, stage, position, id);
CREATE INDEX opportunities_stage_closed_on_idx ON opportunities (org_id, stage, closed_on, id);
CREATE INDEX opportunities_closed_on_idx ON opportunities (org_id, closed_on, id);
CREATE INDEX opportunities_name_idx ON opportunities (org_id, name, id);
CREATE INDEX opportunities_amount_idx ON opportunities (org_id, amount, id);
CREATE INDEX opportunities_created_at_idx ON opportunities (org_id, created_at, id);
CREATE INDEX opportunities_updated_at_idx ON opportunities (org_id, updated_at, id);
CALL protect_tenant_table('opportunities', 'SELECT, INSERT, UPDATE');

-- What a deal consists of.
CREATE TABLE opportunity_lines (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    opportunity_id uuid NOT NULL,
    product_id uuid,
    name text NOT NULL CONSTRAINT opportunity_lines_name_check CHECK (length(name) BETWEEN 1 AND 255),
    description text CONSTRAINT opportunity_lines_description_check CHECK (length(description) <= 500),
    -- In hundredths.
    quantity bigint NOT NULL CONSTRAINT opportunity_lines_quantity_check CHECK (quantity > 0),
    -- These and the amounts below in minor units of the deal's currency.
    unit_price bigint NOT NULL CONSTRAINT opportunity_lines_unit_price_check CHECK (unit_price >= 0),
    discount_type text CONSTRAINT opportunity_lines_discount_type_check CHECK (discount_type IN ('PERCENTAGE', 'FIXED')),
    -- Hundredths of a percent, or minor units.
    discount_value bigint NOT NULL DEFAULT 0 CONSTRAINT opportunity_lines_discount_value_check CHECK (discount_value >= 0),
    subtotal bigint NOT NULL CONSTRAINT opportunity_lines_subtotal_check CHECK (subtotal >= 0),
    discount_amount bigint NOT NULL CONSTRAINT opportunity_lines_discount_amount_check CHECK (discount_amount BETWEEN 0 AND subtotal),
    total bigint NOT NULL CONSTRAINT opportunity_lines_total_check CHECK (total = subtotal - discount_amount),
    sort_order integer NOT NULL DEFAULT 0 CONSTRAINT opportunity_lines_sort_order_check CHECK (sort_order >= 0),
    PRIMARY KEY (org_id, id),
    CONSTRAINT opportunity_lines_discount_check CHECK (discount_type IS NOT NULL OR discount_value = 0),
    CONSTRAINT opportunity_lines_opportunity_id_fkey FOREIGN KEY (org_id, opportunity_id) REFERENCES opportunities (org_id, id) ON DELETE CASCADE,
    -- The line keeps the name and price that it was made with.
    CONSTRAINT opportunity_lines_product_id_fkey FOREIGN KEY (org_id, product_id) REFERENCES products (org_id, id) ON DELETE SET NULL (product_id),
    CONSTRAINT opportunity_lines_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT opportunity_lines_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX opportunity_lines_opportunity_id_idx ON opportunity_lines (org_id, opportunity_id, sort_order, id);
CREATE INDEX opportunity_lines_product_id_idx ON opportunity_lines (org_id, product_id) WHERE product_id IS NOT NULL;
CALL protect_tenant_table('opportunity_lines', 'SELECT, INSERT, UPDATE, DELETE');

-- How long a deal may stay in an open stage; without a row, as by default.
CREATE TABLE stage_aging (
    org_id uuid NOT NULL CONSTRAINT stage_aging_org_id_fkey REFERENCES organizations (id),
    stage text NOT NULL CONSTRAINT stage_aging_stage_check CHECK (stage IN ('PROSPECTING', 'QUALIFICATION', 'PROPOSAL', 'NEGOTIATION')),
    expected_days integer NOT NULL CONSTRAINT stage_aging_expected_days_check CHECK (expected_days BETWEEN 1 AND 3650),
    warning_days integer CONSTRAINT stage_aging_warning_days_check CHECK (warning_days BETWEEN 1 AND 3650),
    PRIMARY KEY (org_id, stage)
);
CALL protect_tenant_table('stage_aging', 'SELECT, INSERT, UPDATE');

-- What is to be sold in a period: by a member, by a team, or by everybody.
CREATE TABLE sales_goals (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT sales_goals_name_check CHECK (length(name) BETWEEN 1 AND 255),
    goal_type text NOT NULL CONSTRAINT sales_goals_goal_type_check CHECK (goal_type IN ('REVENUE', 'DEALS_CLOSED')),
    -- Minor units of the currency, or a number of deals.
    target_value bigint NOT NULL CONSTRAINT sales_goals_target_value_check CHECK (target_value > 0),
    -- Of revenue: deals in another currency do not count.
    currency text CONSTRAINT sales_goals_currency_check CHECK (length(currency) = 3),
    period_type text NOT NULL CONSTRAINT sales_goals_period_type_check CHECK (period_type IN ('MONTHLY', 'QUARTERLY', 'YEARLY', 'CUSTOM')),
    period_start date NOT NULL,
    period_end date NOT NULL,
    assigned_to uuid,
    team_id uuid,
    is_active boolean NOT NULL DEFAULT true,
    -- The highest milestone that was told of, in percent.
    milestone integer NOT NULL DEFAULT 0 CONSTRAINT sales_goals_milestone_check CHECK (milestone IN (0, 50, 90, 100)),
    PRIMARY KEY (org_id, id),
    CONSTRAINT sales_goals_period_check CHECK (period_end > period_start),
    CONSTRAINT sales_goals_goal_currency_check CHECK ((goal_type = 'REVENUE') = (currency IS NOT NULL)),
    CONSTRAINT sales_goals_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT sales_goals_assigned_to_fkey FOREIGN KEY (org_id, assigned_to) REFERENCES memberships (org_id, id),
    CONSTRAINT sales_goals_team_id_fkey FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE SET NULL (team_id),
    CONSTRAINT sales_goals_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT sales_goals_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX sales_goals_period_idx ON sales_goals (org_id, period_start, period_end);
CALL protect_tenant_table('sales_goals', 'SELECT, INSERT, UPDATE');
