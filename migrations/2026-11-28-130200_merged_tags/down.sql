ALTER TABLE tags DROP COLUMN merged_into_id;
