DROP FUNCTION outbox_failed(uuid, uuid, text, integer);
DROP FUNCTION outbox_done(uuid, uuid);
DROP FUNCTION outbox_claim(uuid, integer, integer);
DROP FUNCTION outbox_put(uuid, text, jsonb);
DROP TABLE outbox;
