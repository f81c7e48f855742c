CREATE TABLE leads (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    title text CONSTRAINT leads_title_check CHECK (length(title) <= 255),
    salutation text CONSTRAINT leads_salutation_check CHECK (length(salutation) <= 64),
    first_name text CONSTRAINT leads_first_name_check CHECK (length(first_name) BETWEEN 1 AND 255),
    last_name text CONSTRAINT leads_last_name_check CHECK (length(last_name) BETWEEN 1 AND 255),
    email text CONSTRAINT leads_email_check CHECK (length(email) <= 254),
    -- Lower-cased by the application, because lower() can't use an index under a policy.
    email_normalized text,
    phone text CONSTRAINT leads_phone_check CHECK (length(phone) <= 25),
    job_title text CONSTRAINT leads_job_title_check CHECK (length(job_title) <= 255),
    website text CONSTRAINT leads_website_check CHECK (length(website) <= 255),
    linkedin_url text CONSTRAINT leads_linkedin_url_check CHECK (length(linkedin_url) <= 500),
    company_name text CONSTRAINT leads_company_name_check CHECK (length(company_name) <= 255),
    status text CONSTRAINT leads_status_check CHECK (status IN ('assigned', 'in process', 'converted', 'recycled', 'closed')),
    source text CONSTRAINT leads_source_check CHECK (source IN (
        'call', 'email', 'existing customer', 'partner', 'public relations', 'campaign', 'other')),
    industry text CONSTRAINT leads_industry_check CHECK (length(industry) <= 255),
    rating text CONSTRAINT leads_rating_check CHECK (rating IN ('HOT', 'WARM', 'COLD')),
    -- In minor units of the currency: cents of a dollar, whole yen.
    opportunity_amount bigint CONSTRAINT leads_opportunity_amount_check CHECK (opportunity_amount >= 0),
    currency text CONSTRAINT leads_currency_check CHECK (length(currency) = 3),
    probability integer DEFAULT 0 CONSTRAINT leads_probability_check CHECK (probability BETWEEN 0 AND 100),
    close_date date,
    address_line text CONSTRAINT leads_address_line_check CHECK (length(address_line) <= 255),
    city text CONSTRAINT leads_city_check CHECK (length(city) <= 255),
    state text CONSTRAINT leads_state_check CHECK (length(state) <= 255),
    postcode text CONSTRAINT leads_postcode_check CHECK (length(postcode) <= 64),
    country text CONSTRAINT leads_country_check CHECK (length(country) = 2),
    last_contacted date,
    next_follow_up date,
    description text CONSTRAINT leads_description_check CHECK (length(description) <= 100000),
    is_active boolean NOT NULL DEFAULT true,
    is_sample boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, id),
    CONSTRAINT leads_org_id_email_normalized_key UNIQUE (org_id, email_normalized),
    CONSTRAINT leads_amount_currency_check CHECK (opportunity_amount IS NULL OR currency IS NOT NULL),
    CONSTRAINT leads_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT leads_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT leads_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX leads_created_by_idx ON leads (org_id, created_by, id);
CREATE INDEX leads_status_idx ON leads (org_id, status, id);
CREATE INDEX leads_created_at_idx ON leads (org_id, created_at, id);
CREATE INDEX leads_updated_at_idx ON leads (org_id, updated_at, id);
CREATE INDEX leads_opportunity_amount_idx ON leads (org_id, opportunity_amount, id);
CREATE INDEX leads_close_date_idx ON leads (org_id, close_date, id);
CREATE INDEX leads_next_follow_up_idx ON leads (org_id, next_follow_up, id);
CALL protect_tenant_table('leads', 'SELECT, INSERT, UPDATE');
