-- A company that is dealt with.
CREATE TABLE accounts (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT accounts_name_check CHECK (length(name) BETWEEN 1 AND 255),
    -- Lower-cased by the application, because lower() can't use an index under a policy; like every normalised column below.
    name_normalized text NOT NULL,
    email text CONSTRAINT accounts_email_check CHECK (length(email) <= 254),
    email_normalized text,
    phone text CONSTRAINT accounts_phone_check CHECK (length(phone) <= 25),
    phone_normalized text,
    website text CONSTRAINT accounts_website_check CHECK (length(website) <= 200),
    -- Of the website, or else of the e-mail address where that is nobody's mail provider.
    domain text CONSTRAINT accounts_domain_check CHECK (length(domain) <= 254),
    industry text CONSTRAINT accounts_industry_check CHECK (length(industry) <= 255),
    number_of_employees integer CONSTRAINT accounts_number_of_employees_check CHECK (number_of_employees >= 0),
    -- In minor units of the currency: cents of a dollar, whole yen.
    annual_revenue bigint CONSTRAINT accounts_annual_revenue_check CHECK (annual_revenue >= 0),
    currency text CONSTRAINT accounts_currency_check CHECK (length(currency) = 3),
    address_line text CONSTRAINT accounts_address_line_check CHECK (length(address_line) <= 255),
    city text CONSTRAINT accounts_city_check CHECK (length(city) <= 255),
    state text CONSTRAINT accounts_state_check CHECK (length(state) <= 255),
    postcode text CONSTRAINT accounts_postcode_check CHECK (length(postcode) <= 64),
    country text CONSTRAINT accounts_country_check CHECK (length(country) = 2),
    description text CONSTRAINT accounts_description_check CHECK (length(description) <= 100000),
    is_active boolean NOT NULL DEFAULT true,
    is_sample boolean NOT NULL DEFAULT false,
    custom_fields jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, id),
    CONSTRAINT accounts_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT accounts_revenue_currency_check CHECK (annual_revenue IS NULL OR currency IS NOT NULL),
    CONSTRAINT accounts_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT accounts_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT accounts_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX accounts_created_by_idx ON accounts (org_id, created_by, id);
CREATE INDEX accounts_name_idx ON accounts (org_id, name, id);
CREATE INDEX accounts_industry_idx ON accounts (org_id, industry, id);
CREATE INDEX accounts_created_at_idx ON accounts (org_id, created_at, id);
CREATE INDEX accounts_updated_at_idx ON accounts (org_id, updated_at, id);
CREATE INDEX accounts_email_normalized_idx ON accounts (org_id, email_normalized) WHERE email_normalized IS NOT NULL;
CREATE INDEX accounts_phone_normalized_idx ON accounts (org_id, phone_normalized) WHERE phone_normalized IS NOT NULL;
CREATE INDEX accounts_domain_idx ON accounts (org_id, domain) WHERE domain IS NOT NULL;
-- DELETE, because a merge takes the row away and leaves the record, whose history stays.
CALL protect_tenant_table('accounts', 'SELECT, INSERT, UPDATE, DELETE');

-- A person who is dealt with.
CREATE TABLE contacts (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    first_name text NOT NULL CONSTRAINT contacts_first_name_check CHECK (length(first_name) BETWEEN 1 AND 255),
    last_name text NOT NULL CONSTRAINT contacts_last_name_check CHECK (length(last_name) BETWEEN 1 AND 255),
    -- First and last name, for looking whether the person is there already.
    name_normalized text NOT NULL,
    email text CONSTRAINT contacts_email_check CHECK (length(email) <= 254),
    email_normalized text,
    phone text CONSTRAINT contacts_phone_check CHECK (length(phone) <= 25),
    phone_normalized text,
    organization text CONSTRAINT contacts_organization_check CHECK (length(organization) <= 255),
    title text CONSTRAINT contacts_title_check CHECK (length(title) <= 255),
    department text CONSTRAINT contacts_department_check CHECK (length(department) <= 255),
    do_not_call boolean NOT NULL DEFAULT false,
    linkedin_url text CONSTRAINT contacts_linkedin_url_check CHECK (length(linkedin_url) <= 500),
    address_line text CONSTRAINT contacts_address_line_check CHECK (length(address_line) <= 255),
    city text CONSTRAINT contacts_city_check CHECK (length(city) <= 255),
    state text CONSTRAINT contacts_state_check CHECK (length(state) <= 255),
    postcode text CONSTRAINT contacts_postcode_check CHECK (length(postcode) <= 64),
    country text CONSTRAINT contacts_country_check CHECK (length(country) = 2),
    description text CONSTRAINT contacts_description_check CHECK (length(description) <= 100000),
    -- The primary account; that the contact belongs to it, and to others, stands in record_contacts.
    account_id uuid,
    is_active boolean NOT NULL DEFAULT true,
    is_sample boolean NOT NULL DEFAULT false,
    auto_created boolean NOT NULL DEFAULT false,
    custom_fields jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, id),
    CONSTRAINT contacts_org_id_email_normalized_key UNIQUE (org_id, email_normalized),
    CONSTRAINT contacts_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT contacts_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id) ON DELETE SET NULL (account_id),
    CONSTRAINT contacts_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT contacts_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX contacts_created_by_idx ON contacts (org_id, created_by, id);
CREATE INDEX contacts_account_id_idx ON contacts (org_id, account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX contacts_first_name_idx ON contacts (org_id, first_name, id);
CREATE INDEX contacts_last_name_idx ON contacts (org_id, last_name, id);
CREATE INDEX contacts_created_at_idx ON contacts (org_id, created_at, id);
CREATE INDEX contacts_updated_at_idx ON contacts (org_id, updated_at, id);
CREATE INDEX contacts_name_normalized_idx ON contacts (org_id, name_normalized);
CREATE INDEX contacts_phone_normalized_idx ON contacts (org_id, phone_normalized) WHERE phone_normalized IS NOT NULL;
CALL protect_tenant_table('contacts', 'SELECT, INSERT, UPDATE, DELETE');

-- The people of any record: of an account, a lead, an opportunity.
CREATE TABLE record_contacts (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    contact_id uuid NOT NULL,
    PRIMARY KEY (org_id, record_id, contact_id),
    CONSTRAINT record_contacts_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_contacts_contact_id_fkey FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id) ON DELETE CASCADE
);
CREATE INDEX record_contacts_contact_id_idx ON record_contacts (org_id, contact_id, record_id);
CALL protect_tenant_table('record_contacts', 'SELECT, INSERT, DELETE');
