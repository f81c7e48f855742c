DROP FUNCTION records_updated(uuid, text, uuid, timestamptz, uuid[], bigint[], uuid[], jsonb[]);
