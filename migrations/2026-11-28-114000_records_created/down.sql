DROP FUNCTION records_created(uuid, text, uuid, timestamptz, uuid[], uuid[], text[], text[], text[]);
DROP FUNCTION search_index_new(text, uuid[], text[], text[], text[]);
