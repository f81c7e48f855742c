-- What became of the converted leads: an account, a contact where there is an address, and a deal. Everything follows from the lead's id,
-- so that the same leads have the same sequel. Runs as the owner in the organization's context; $UNTIL is the last day of the data.
CREATE OR REPLACE FUNCTION pg_temp.seed_id(at timestamptz, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (left(t, 8) || '-' || right(t, 4) || '-7' || substr(m, 1, 3) || '-8' || substr(m, 4, 3) || '-' || substr(m, 7, 12))::uuid
    FROM (SELECT lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') AS t, md5(salt) AS m) x
$$;
CREATE OR REPLACE FUNCTION pg_temp.seed_die(salt text, sides integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || substr(md5(salt), 1, 7))::bit(28)::integer % sides
$$;

-- All of it is joined to all of it, and what was filled a moment ago has no statistics: row by row a large organization takes hours.
SET LOCAL enable_nestloop = off;
CREATE TEMP TABLE seed_sales ON COMMIT DROP AS
WITH converted AS (
    SELECT l.*, row_number() OVER (PARTITION BY l.company_name ORDER BY l.id) AS branch,
        pg_temp.seed_die(l.id || 'stage', 100) AS die, pg_temp.seed_die(l.id || 'days', 60) AS days
    FROM leads l WHERE l.org_id = current_setting('app.current_org')::uuid AND l.status = 'converted' AND l.company_name IS NOT NULL
), staged AS (
    SELECT c.*, CASE WHEN die < 12 THEN 'PROSPECTING' WHEN die < 27 THEN 'QUALIFICATION' WHEN die < 40 THEN 'PROPOSAL'
            WHEN die < 50 THEN 'NEGOTIATION' WHEN die < 80 THEN 'CLOSED_WON' ELSE 'CLOSED_LOST' END AS stage,
        least(c.updated_at + make_interval(days => days), '$UNTIL'::timestamptz) AS stage_at,
        -- The branch makes a name that is there already another one: an account's and a deal's are unique.
        c.company_name || CASE WHEN branch > 1 THEN ' ' || branch ELSE '' END AS account_name
    FROM converted c
)
SELECT s.*, pg_temp.seed_id(s.updated_at, s.id || 'account') AS account_id,
    CASE WHEN s.email IS NOT NULL THEN pg_temp.seed_id(s.updated_at, s.id || 'contact') END AS contact_id,
    pg_temp.seed_id(s.updated_at, s.id || 'deal') AS deal_id,
    s.account_name || ' - ' || concat_ws(' ', s.first_name, s.last_name) AS deal_name,
    -- A deal that is won has an amount.
    coalesce(s.opportunity_amount, CASE WHEN s.stage = 'CLOSED_WON' THEN 150000 + 1000 * s.days END)::bigint AS deal_amount,
    coalesce(s.currency, (SELECT o.currency FROM organizations o WHERE o.id = s.org_id)) AS deal_currency,
    CASE s.stage WHEN 'PROSPECTING' THEN 10 WHEN 'QUALIFICATION' THEN 25 WHEN 'PROPOSAL' THEN 50 WHEN 'NEGOTIATION' THEN 75
        WHEN 'CLOSED_WON' THEN 100 ELSE 0 END AS deal_probability,
    CASE WHEN s.stage LIKE 'CLOSED%' THEN s.stage_at::date ELSE ('$UNTIL'::timestamptz)::date - 20 + 3 * s.days END AS closed_on
FROM staged s;
ANALYZE seed_sales;

INSERT INTO records (org_id, id, kind)
    SELECT org_id, account_id, 'account' FROM seed_sales
    UNION ALL SELECT org_id, contact_id, 'contact' FROM seed_sales WHERE contact_id IS NOT NULL
    UNION ALL SELECT org_id, deal_id, 'opportunity' FROM seed_sales;
INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at)
    SELECT org_id, pg_temp.seed_id(updated_at, made || 'created'), made, 1, 'created', updated_by, updated_at
    FROM seed_sales CROSS JOIN LATERAL unnest(ARRAY[account_id, contact_id, deal_id]) made WHERE made IS NOT NULL;

INSERT INTO accounts (org_id, id, created_at, updated_at, created_by, updated_by, name, name_normalized, email, email_normalized, phone,
        phone_normalized, website, domain, industry, number_of_employees, annual_revenue, currency, address_line, city, state, postcode,
        country, description, is_active, is_sample)
    SELECT org_id, account_id, updated_at, updated_at, updated_by, updated_by, account_name, lower(account_name), NULL, NULL, phone,
        regexp_replace(phone, '[^0-9+]', '', 'g'), website, substr(website, length('https://www.') + 1), industry, 5 + 10 * days,
        deal_amount * 20, CASE WHEN deal_amount IS NOT NULL THEN deal_currency END, address_line, city, state, postcode, country, NULL,
        true, true
    FROM seed_sales;
INSERT INTO contacts (org_id, id, created_at, updated_at, created_by, updated_by, first_name, last_name, name_normalized, email,
        email_normalized, phone, phone_normalized, organization, title, address_line, city, state, postcode, country, account_id, is_active,
        is_sample)
    SELECT org_id, contact_id, updated_at, updated_at, updated_by, updated_by, first_name, last_name,
        lower(first_name || ' ' || last_name), email, email_normalized, phone, regexp_replace(phone, '[^0-9+]', '', 'g'), account_name,
        job_title, address_line, city, state, postcode, country, account_id, true, true
    FROM seed_sales WHERE contact_id IS NOT NULL;
INSERT INTO opportunities (org_id, id, created_at, updated_at, created_by, updated_by, name, name_normalized, account_id, stage,
        opportunity_type, currency, amount, probability, closed_on, lead_source, closed_by, stage_changed_at, position, is_active, is_sample)
    SELECT org_id, deal_id, updated_at, updated_at, updated_by, updated_by, deal_name, lower(deal_name), account_id, stage,
        (ARRAY['NEW_BUSINESS', 'EXISTING_BUSINESS', 'RENEWAL', 'UPSELL', 'CROSS_SELL'])[1 + days % 5],
        CASE WHEN deal_amount IS NOT NULL THEN deal_currency END, deal_amount, deal_probability, closed_on, upper(source),
        CASE WHEN stage LIKE 'CLOSED%' THEN updated_by END, stage_at,
        translate(left(replace(deal_id::text, '-', ''), 24), '0123456789abcdef', 'fedcba9876543210') || '8', true, true
    FROM seed_sales;

-- Some deals consist of one product each, which owns the amount then.
CREATE TEMP TABLE seed_lines ON COMMIT DROP AS
SELECT s.org_id, s.deal_id, s.deal_amount AS amount, s.updated_at AS at, s.updated_by AS by, p.id AS product_id, p.name
FROM seed_sales s JOIN (SELECT p.*, row_number() OVER (ORDER BY p.name) - 1 AS number FROM products p
        WHERE p.org_id = current_setting('app.current_org')::uuid) p
    ON p.org_id = s.org_id AND p.number = s.days % 12 AND p.currency = s.deal_currency
WHERE s.die % 5 = 0 AND s.deal_amount IS NOT NULL;
INSERT INTO opportunity_lines (org_id, id, created_at, updated_at, created_by, updated_by, opportunity_id, product_id, name, quantity,
        unit_price, subtotal, discount_amount, total, sort_order)
    SELECT org_id, pg_temp.seed_id(at, deal_id || 'line'), at, at, by, by, deal_id, product_id, name, 100, amount, amount, 0, amount, 1
    FROM seed_lines;
UPDATE opportunities o SET amount_source = 'CALCULATED' FROM seed_lines l WHERE o.org_id = l.org_id AND o.id = l.deal_id;

INSERT INTO record_assignees (org_id, record_id, membership_id)
    SELECT s.org_id, made, k.membership_id FROM seed_sales s
    JOIN record_assignees k ON k.org_id = s.org_id AND k.record_id = s.id
    CROSS JOIN LATERAL unnest(ARRAY[s.account_id, s.contact_id, s.deal_id]) made WHERE made IS NOT NULL;
INSERT INTO record_teams (org_id, record_id, team_id)
    SELECT s.org_id, made, k.team_id FROM seed_sales s
    JOIN record_teams k ON k.org_id = s.org_id AND k.record_id = s.id
    CROSS JOIN LATERAL unnest(ARRAY[s.account_id, s.deal_id]) made;
INSERT INTO record_tags (org_id, record_id, tag_id)
    SELECT s.org_id, made, k.tag_id FROM seed_sales s
    JOIN record_tags k ON k.org_id = s.org_id AND k.record_id = s.id
    CROSS JOIN LATERAL unnest(ARRAY[s.account_id, s.deal_id]) made;
INSERT INTO record_contacts (org_id, record_id, contact_id)
    SELECT org_id, made, contact_id FROM seed_sales
    CROSS JOIN LATERAL unnest(ARRAY[account_id, deal_id, id]) made WHERE contact_id IS NOT NULL;
-- With what undoing them needs, as a conversion leaves it.
CREATE OR REPLACE FUNCTION pg_temp.seed_part(id uuid, joined boolean) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('id', id, 'made', 1, 'added', '{"assigned_to": [], "teams": [], "tags": []}'::jsonb, 'joined', joined,
        'given_account', false)
    WHERE id IS NOT NULL
$$;
INSERT INTO conversions (org_id, lead_id, converted_at, converted_by, account_id, contact_id, opportunity_id, undo)
    SELECT org_id, id, updated_at, updated_by, account_id, contact_id, deal_id, jsonb_build_object('status', 'assigned',
        'account', pg_temp.seed_part(account_id, false), 'contact', pg_temp.seed_part(contact_id, true),
        'opportunity', pg_temp.seed_part(deal_id, contact_id IS NOT NULL))
    FROM seed_sales;
INSERT INTO record_sources (org_id, record_id, source_id)
    SELECT org_id, made, id FROM seed_sales
    CROSS JOIN LATERAL unnest(ARRAY[account_id, contact_id, deal_id]) made WHERE made IS NOT NULL;
-- The lead's own history tells what became of it.
UPDATE changes c SET action = 'converted', fields = c.fields || jsonb_build_object('account_id', jsonb_build_array(NULL, s.account_id),
        'contact_id', jsonb_build_array(NULL, s.contact_id), 'opportunity_id', jsonb_build_array(NULL, s.deal_id))
    FROM seed_sales s WHERE c.org_id = s.org_id AND c.record_id = s.id AND c.version = 2;

-- What was said about some of the accounts and deals.
CREATE TEMP TABLE seed_said ON COMMIT DROP AS
SELECT s.org_id, about.record_id, pg_temp.seed_id(about.at, about.record_id || 'comment') AS id,
    pg_temp.seed_id(about.at, about.record_id || 'commented') AS change_id, about.at, s.updated_by AS by,
    about.texts[1 + pg_temp.seed_die(about.record_id || 'text', array_length(about.texts, 1))] AS comment
FROM seed_sales s CROSS JOIN LATERAL (
    SELECT said.record_id, said.texts,
        least(s.updated_at + make_interval(hours => 2 + pg_temp.seed_die(said.record_id || 'hour', 900)), '$UNTIL'::timestamptz) AS at
    FROM (VALUES
        (s.account_id, 15, ARRAY['Their new head office opens next spring; everything there is still to be furnished.',
            'Pays late, but always pays.', 'Invoices go to the parent company from now on.',
            'Asked to be called in the afternoon only.', 'Buys for two more sites since this year.']),
        (s.deal_id, 35, ARRAY['The offer went out today, valid for six weeks.', 'They want the delivery split in two.',
            'Procurement asks for a third reference.', 'The competitor is cheaper and slower; they care about slower.',
            'Their board decides on the first Monday of the month.', 'Discount is off the table, a longer payment term is not.'])
    ) said (record_id, percent, texts)
    WHERE pg_temp.seed_die(said.record_id || 'said', 100) < said.percent
) about;
INSERT INTO comments (org_id, id, record_id, created_at, updated_at, created_by, updated_by, comment)
    SELECT org_id, id, record_id, at, at, by, by, comment FROM seed_said;
INSERT INTO changes (org_id, id, record_id, version, action, created_by, created_at, fields)
    SELECT org_id, change_id, record_id, NULL, 'commented', by, at, jsonb_build_object('comment', jsonb_build_array(NULL, comment))
    FROM seed_said;
