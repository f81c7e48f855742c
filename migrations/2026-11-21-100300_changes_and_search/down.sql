DROP FUNCTION record_deleted(uuid, uuid, text, uuid, uuid, timestamptz);
DROP FUNCTION record_updated(uuid, uuid, text, bigint, text, uuid, uuid, timestamptz, jsonb, text);
DROP FUNCTION record_created(uuid, uuid, text, uuid, uuid, timestamptz, text);
DROP FUNCTION search_records(text, text[], uuid, integer);
DROP FUNCTION search_index(uuid, text, text);
DROP FUNCTION search_body(text);
DROP FUNCTION search_fold(text);
DROP TABLE search_documents, deletions, changes;
