-- When an organization works. Without a row, as by default: from nine to five on Monday to Friday, in the organization's time zone.
CREATE TABLE business_calendars (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    created_by uuid,
    updated_by uuid,
    name text NOT NULL CONSTRAINT business_calendars_name_check CHECK (length(name) BETWEEN 1 AND 100),
    name_normalized text NOT NULL,
    timezone text NOT NULL CONSTRAINT business_calendars_timezone_check CHECK (length(timezone) BETWEEN 1 AND 64),
    -- The one that deadlines go by.
    is_default boolean NOT NULL DEFAULT false,
    -- From and to when, in minutes of the local day; 1440 is its end, null a day off.
    monday_open integer CONSTRAINT business_calendars_monday_open_check CHECK (monday_open BETWEEN 0 AND 1439),
    monday_close integer,
    tuesday_open integer CONSTRAINT business_calendars_tuesday_open_check CHECK (tuesday_open BETWEEN 0 AND 1439),
    tuesday_close integer,
    wednesday_open integer CONSTRAINT business_calendars_wednesday_open_check CHECK (wednesday_open BETWEEN 0 AND 1439),
    wednesday_close integer,
    thursday_open integer CONSTRAINT business_calendars_thursday_open_check CHECK (thursday_open BETWEEN 0 AND 1439),
    thursday_close integer,
    friday_open integer CONSTRAINT business_calendars_friday_open_check CHECK (friday_open BETWEEN 0 AND 1439),
    friday_close integer,
    saturday_open integer CONSTRAINT business_calendars_saturday_open_check CHECK (saturday_open BETWEEN 0 AND 1439),
    saturday_close integer,
    sunday_open integer CONSTRAINT business_calendars_sunday_open_check CHECK (sunday_open BETWEEN 0 AND 1439),
    sunday_close integer,
    PRIMARY KEY (org_id, id),
    CONSTRAINT business_calendars_org_id_name_normalized_key UNIQUE (org_id, name_normalized),
    CONSTRAINT business_calendars_monday_check
        CHECK ((monday_open IS NULL) = (monday_close IS NULL) AND monday_close > monday_open AND monday_close <= 1440),
    CONSTRAINT business_calendars_tuesday_check
        CHECK ((tuesday_open IS NULL) = (tuesday_close IS NULL) AND tuesday_close > tuesday_open AND tuesday_close <= 1440),
    CONSTRAINT business_calendars_wednesday_check
        CHECK ((wednesday_open IS NULL) = (wednesday_close IS NULL) AND wednesday_close > wednesday_open AND wednesday_close <= 1440),
    CONSTRAINT business_calendars_thursday_check
        CHECK ((thursday_open IS NULL) = (thursday_close IS NULL) AND thursday_close > thursday_open AND thursday_close <= 1440),
    CONSTRAINT business_calendars_friday_check
        CHECK ((friday_open IS NULL) = (friday_close IS NULL) AND friday_close > friday_open AND friday_close <= 1440),
    CONSTRAINT business_calendars_saturday_check
        CHECK ((saturday_open IS NULL) = (saturday_close IS NULL) AND saturday_close > saturday_open AND saturday_close <= 1440),
    CONSTRAINT business_calendars_sunday_check
        CHECK ((sunday_open IS NULL) = (sunday_close IS NULL) AND sunday_close > sunday_open AND sunday_close <= 1440),
    CONSTRAINT business_calendars_record_fkey FOREIGN KEY (org_id, id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT business_calendars_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT business_calendars_updated_by_fkey FOREIGN KEY (org_id, updated_by) REFERENCES memberships (org_id, id)
);
CREATE UNIQUE INDEX business_calendars_default_key ON business_calendars (org_id) WHERE is_default;
CALL protect_tenant_table('business_calendars', 'SELECT, INSERT, UPDATE');

CREATE TABLE business_holidays (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    calendar_id uuid NOT NULL,
    date date NOT NULL,
    name text NOT NULL CONSTRAINT business_holidays_name_check CHECK (length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    created_by uuid,
    PRIMARY KEY (org_id, id),
    CONSTRAINT business_holidays_org_id_calendar_id_date_key UNIQUE (org_id, calendar_id, date),
    CONSTRAINT business_holidays_calendar_id_fkey FOREIGN KEY (org_id, calendar_id)
        REFERENCES business_calendars (org_id, id) ON DELETE CASCADE,
    CONSTRAINT business_holidays_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id)
);
CALL protect_tenant_table('business_holidays', 'SELECT, INSERT, DELETE');
