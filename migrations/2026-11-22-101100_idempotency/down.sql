DROP TABLE account_idempotency_keys, idempotency_keys;
