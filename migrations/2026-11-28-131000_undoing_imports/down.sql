DROP FUNCTION records_lock(uuid[]);
DROP INDEX import_rows_record_id_idx;
