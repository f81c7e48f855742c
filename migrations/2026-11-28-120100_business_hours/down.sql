DROP TABLE business_holidays, business_calendars;
