ALTER TABLE leads DROP COLUMN custom_fields;
DROP FUNCTION custom_fields_for_writing(uuid, text), custom_fields_lock(uuid, text, boolean);
DROP TABLE custom_values, custom_fields;
