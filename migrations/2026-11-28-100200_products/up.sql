-- What is sold.
CREATE TABLE products (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT products_name_check CHECK (length(name) BETWEEN 1 AND 255),
    description text CONSTRAINT products_description_check CHECK (length(description) <= 100000),
    sku text CONSTRAINT products_sku_check CHECK (length(sku) <= 100),
    -- In minor units of the currency.
    price bigint NOT NULL DEFAULT 0 CONSTRAINT products_price_check CHECK (price >= 0),
    currency text NOT NULL CONSTRAINT products_currency_check CHECK (length(currency) = 3),
    category text CONSTRAINT products_category_check CHECK (length(category) <= 100),
    is_active boolean NOT NULL DEFAULT true,
    is_sample boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, id),
    CONSTRAINT products_org_id_sku_key UNIQUE (org_id, sku),
    CONSTRAINT products_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT products_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT products_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX products_created_by_idx ON products (org_id, created_by, id);
CREATE INDEX products_name_idx ON products (org_id, name, id);
CREATE INDEX products_category_idx ON products (org_id, category, id);
CALL protect_tenant_table('products', 'SELECT, INSERT, UPDATE');
