CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    org_id uuid,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT now(),
    -- Set while a worker has it: a worker that died loses it at that time.
    leased_until timestamptz,
    lease uuid,
    last_error text,
    -- Set when it will not be tried again.
    dead_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_run_at_idx ON outbox (run_at) WHERE dead_at IS NULL;

CREATE FUNCTION outbox_put(p_id uuid, p_kind text, p_payload jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO outbox (id, org_id, kind, payload)
    VALUES (p_id, nullif(current_setting('app.current_org', true), '')::uuid, p_kind, p_payload);
END
$$;

CREATE FUNCTION outbox_claim(p_lease uuid, p_limit integer, p_seconds integer)
RETURNS TABLE (id uuid, org_id uuid, kind text, payload jsonb, attempts integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    UPDATE outbox o SET lease = p_lease, leased_until = now() + make_interval(secs => p_seconds), attempts = o.attempts + 1
    WHERE o.id IN (
        SELECT c.id FROM outbox c
        -- Whatever was claimed this often and never finished takes its worker down with it.
        WHERE c.dead_at IS NULL AND c.attempts < 20 AND c.run_at <= now() AND (c.leased_until IS NULL OR c.leased_until < now())
        ORDER BY c.run_at LIMIT p_limit FOR UPDATE SKIP LOCKED)
    RETURNING o.id, o.org_id, o.kind, o.payload, o.attempts;
END
$$;

-- A lease that was lost finishes nothing.
CREATE FUNCTION outbox_done(p_id uuid, p_lease uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM outbox WHERE outbox.id = p_id AND outbox.lease = p_lease;
END
$$;

-- Without p_retry_seconds it is not tried again and stays for the operator to see.
CREATE FUNCTION outbox_failed(p_id uuid, p_lease uuid, p_error text, p_retry_seconds integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE outbox SET lease = NULL, leased_until = NULL, last_error = p_error,
        run_at = now() + make_interval(secs => coalesce(p_retry_seconds, 0)),
        dead_at = CASE WHEN p_retry_seconds IS NULL THEN now() END
    WHERE outbox.id = p_id AND outbox.lease = p_lease;
END
$$;

REVOKE ALL ON FUNCTION outbox_put(uuid, text, jsonb), outbox_claim(uuid, integer, integer), outbox_done(uuid, uuid),
    outbox_failed(uuid, uuid, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox_put(uuid, text, jsonb), outbox_claim(uuid, integer, integer), outbox_done(uuid, uuid),
    outbox_failed(uuid, uuid, text, integer) TO crm_app;

INSERT INTO outbox (id, org_id, kind, payload, attempts, run_at, last_error, dead_at, created_at)
SELECT j.id, j.org_id,
    CASE WHEN j.kind IN ('mail.send', 'platform.mail.send') THEN 'send_mail' ELSE regexp_replace(j.kind, '^platform\.', '') END,
    j.payload, j.attempts, j.run_at, j.last_error, j.dead_at, j.created_at
FROM jobs j;

DROP FUNCTION jobs_backlog();
DROP FUNCTION job_schedules_fire(text, text, timestamptz, timestamptz, uuid, text, jsonb);
DROP FUNCTION jobs_sweep(integer, double precision);
DROP FUNCTION jobs_failed(uuid, uuid, text, double precision);
DROP FUNCTION jobs_wait(integer, double precision);
DROP FUNCTION jobs_done(uuid, uuid);
DROP FUNCTION jobs_claim(uuid, uuid, uuid[], double precision);
DROP FUNCTION jobs_put_each(uuid[], uuid[], text, jsonb, text);
DROP FUNCTION jobs_put(uuid, text, jsonb, text, integer, timestamptz);
DROP TABLE job_schedules;
DROP TABLE jobs;
