-- Work to be done after a commit, written in the same transaction. The application has no grant on the table, so that no query can
-- read another organization's payloads: it puts work in, and workers claim and finish it, by function.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    org_id uuid,
    -- Whose turn it is: the organization, or the greatest id for the work of the platform itself.
    lane uuid NOT NULL GENERATED ALWAYS AS (coalesce(org_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff')) STORED,
    kind text NOT NULL CONSTRAINT jobs_kind_check CHECK (length(kind) BETWEEN 1 AND 100),
    payload jsonb NOT NULL,
    -- Of a job that nobody has claimed: a second one of the same lane, kind and key would do the same again.
    key text CONSTRAINT jobs_key_check CHECK (length(key) BETWEEN 1 AND 200),
    priority integer NOT NULL DEFAULT 100,
    state text NOT NULL CONSTRAINT jobs_state_check CHECK (state IN ('ready', 'waiting', 'leased', 'dead')),
    -- When it may run; of a leased one, when another worker may take it over.
    run_at timestamptz NOT NULL,
    lease uuid,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    dead_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT jobs_org_id_check CHECK ((org_id IS NULL) = starts_with(kind, 'platform.')),
    CONSTRAINT jobs_lease_check CHECK ((lease IS NOT NULL) = (state = 'leased')),
    CONSTRAINT jobs_dead_at_check CHECK ((dead_at IS NOT NULL) = (state = 'dead'))
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Every row is in one of these at most, so that no claim steps over what is leased, not due or dead.
CREATE INDEX jobs_ready_idx ON jobs (lane, priority, run_at, id) WHERE state = 'ready';
CREATE INDEX jobs_waiting_idx ON jobs (run_at) WHERE state IN ('waiting', 'leased');
CREATE INDEX jobs_waiting_lane_idx ON jobs (lane, run_at) WHERE state IN ('waiting', 'leased');
CREATE INDEX jobs_dead_idx ON jobs (id) WHERE state = 'dead';
CREATE INDEX jobs_key_idx ON jobs (lane, kind, key) WHERE key IS NOT NULL;

-- When what is to be done regularly is due next: claimed together with the job that it puts in.
CREATE TABLE job_schedules (
    name text PRIMARY KEY,
    cron text NOT NULL,
    next_at timestamptz NOT NULL,
    fired_at timestamptz
);

-- Puts a job in for the organization of the transaction, and for none if its kind begins with `platform.`; answers whether that was
-- needed. A job of the same key that nobody has claimed stands for the new one: the lock keeps workers from it until the present
-- transaction has ended, so that it sees what that one did. Nobody waits: two transactions that do not see each other's jobs both
-- put one, and the claim of the first takes the second with it.
CREATE FUNCTION jobs_put(p_id uuid, p_kind text, p_payload jsonb, p_key text, p_priority integer, p_run_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org uuid := CASE WHEN NOT starts_with(p_kind, 'platform.')
        THEN nullif(current_setting('app.current_org', true), '')::uuid END;
    v_run_at timestamptz := coalesce(p_run_at, now());
BEGIN
    IF p_key IS NOT NULL THEN
        PERFORM 1 FROM jobs j
        WHERE j.lane = coalesce(v_org, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND j.kind = p_kind AND j.key = p_key
            AND j.state IN ('ready', 'waiting')
        LIMIT 1 FOR KEY SHARE SKIP LOCKED;
        IF FOUND THEN
            RETURN false;
        END IF;
    END IF;
    INSERT INTO jobs (id, org_id, kind, payload, key, priority, state, run_at)
    VALUES (p_id, v_org, p_kind, p_payload, p_key, coalesce(p_priority, 100),
        CASE WHEN v_run_at > clock_timestamp() THEN 'waiting' ELSE 'ready' END, v_run_at);
    RETURN true;
END
$$;

-- The same for many organizations at once, one id for each; an organization whose last one nobody has claimed is left out.
CREATE FUNCTION jobs_put_each(p_ids uuid[], p_orgs uuid[], p_kind text, p_payload jsonb, p_key text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO jobs (id, org_id, kind, payload, key, state, run_at)
    SELECT n.id, n.org_id, p_kind, p_payload, p_key, 'ready', now() FROM unnest(p_ids, p_orgs) AS n (id, org_id)
    WHERE NOT EXISTS (
        SELECT 1 FROM jobs j
        WHERE j.lane = n.org_id AND j.kind = p_kind AND j.key = p_key AND j.state IN ('ready', 'waiting'));
END
$$;

-- One job for a worker: of the lane after p_after that has any, then round again, leaving out p_except; inside a lane by priority
-- and age. It steps from lane to lane in the index, however many jobs one of them has.
CREATE FUNCTION jobs_claim(p_lease uuid, p_after uuid, p_except uuid[], p_seconds double precision)
RETURNS TABLE (id uuid, org_id uuid, kind text, payload jsonb, attempts integer, lease uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    c_first CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    v_lane uuid := p_after;
    v_around boolean := false;
    v_id uuid;
    v_key text;
BEGIN
    -- A claim that a crash of the server forgets is made again.
    PERFORM set_config('synchronous_commit', 'off', true);
    LOOP
        SELECT j.lane INTO v_lane FROM jobs j WHERE j.state = 'ready' AND j.lane > v_lane ORDER BY j.lane LIMIT 1;
        IF NOT FOUND THEN
            EXIT WHEN v_around;
            v_around := true;
            v_lane := c_first;
            CONTINUE;
        END IF;
        EXIT WHEN v_around AND v_lane > p_after;
        CONTINUE WHEN v_lane = ANY (p_except);
        SELECT j.id, j.key INTO v_id, v_key FROM jobs j WHERE j.state = 'ready' AND j.lane = v_lane
        ORDER BY j.priority, j.run_at, j.id LIMIT 1 FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        RETURN QUERY
        UPDATE jobs j SET state = 'leased', lease = p_lease, key = NULL, attempts = j.attempts + 1,
            run_at = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE j.id = v_id
        RETURNING j.id, j.org_id, j.kind, j.payload, j.attempts, j.lease;
        IF v_key IS NOT NULL THEN
            DELETE FROM jobs d WHERE d.id IN (
                SELECT j.id FROM jobs j JOIN jobs claimed ON claimed.id = v_id AND j.kind = claimed.kind
                WHERE j.lane = v_lane AND j.key = v_key AND j.state = 'ready' FOR UPDATE OF j SKIP LOCKED);
        END IF;
        RETURN;
    END LOOP;
END
$$;

-- Removes a finished job and answers whether the lease still was the worker's. In the transaction of the job's own effects they are
-- done exactly once, or not at all where the answer is false; the row's lock keeps the sweep away until that transaction has ended.
CREATE FUNCTION jobs_done(p_id uuid, p_lease uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM jobs j WHERE j.id = p_id AND j.lease = p_lease;
    RETURN FOUND;
END
$$;

-- Seconds until the next attempt: p_wait doubled with every attempt, an hour at most, half of it by chance so that failures do not
-- march in step.
CREATE FUNCTION jobs_wait(p_attempts integer, p_wait double precision) RETURNS interval
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN make_interval(secs => least(3600, p_wait * 2 ^ least(p_attempts - 1, 20)) * (1 + random()) / 2);
END
$$;

-- Without p_wait it is not tried again and stays for the operator to see.
CREATE FUNCTION jobs_failed(p_id uuid, p_lease uuid, p_error text, p_wait double precision) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE jobs j SET lease = NULL, last_error = p_error,
        state = CASE WHEN p_wait IS NULL THEN 'dead' ELSE 'waiting' END,
        run_at = now() + coalesce(jobs_wait(j.attempts, p_wait), '0'),
        dead_at = CASE WHEN p_wait IS NULL THEN now() END
    WHERE j.id = p_id AND j.lease = p_lease;
    RETURN FOUND;
END
$$;

-- Makes due what has waited long enough, and takes back what a worker has kept too long, which waits like a failed one or, after
-- p_attempts, is dead: it may be what takes its workers down. Answers whether there may be more. Where more is due than one batch,
-- every lane gets its share at once, so that no mass of one holds up the others.
CREATE FUNCTION jobs_sweep(p_attempts integer, p_wait double precision) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    c_batch CONSTANT integer := 500;
    c_share CONSTANT integer := 50;
    v_ids uuid[];
    v_more boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    v_ids := ARRAY(
        SELECT j.id FROM jobs j WHERE j.state IN ('waiting', 'leased') AND j.run_at <= now()
        ORDER BY j.run_at LIMIT c_batch FOR NO KEY UPDATE SKIP LOCKED);
    v_more := cardinality(v_ids) = c_batch;
    IF v_more THEN
        v_ids := v_ids || ARRAY(
            WITH RECURSIVE lanes AS (
                (SELECT j.lane FROM jobs j WHERE j.state IN ('waiting', 'leased') ORDER BY j.lane LIMIT 1)
                UNION ALL
                SELECT n.lane FROM lanes l CROSS JOIN LATERAL (
                    SELECT j.lane FROM jobs j WHERE j.state IN ('waiting', 'leased') AND j.lane > l.lane
                    ORDER BY j.lane LIMIT 1) n
            )
            SELECT d.id FROM lanes l CROSS JOIN LATERAL (
                SELECT j.id FROM jobs j WHERE j.state IN ('waiting', 'leased') AND j.lane = l.lane AND j.run_at <= now()
                ORDER BY j.run_at LIMIT c_share FOR NO KEY UPDATE SKIP LOCKED) d);
    END IF;
    UPDATE jobs j SET lease = NULL,
        state = CASE WHEN j.state = 'waiting' THEN 'ready' WHEN j.attempts < p_attempts THEN 'waiting' ELSE 'dead' END,
        run_at = CASE WHEN j.state = 'waiting' THEN j.run_at ELSE now() + jobs_wait(j.attempts, p_wait) END,
        dead_at = CASE WHEN j.state = 'leased' AND j.attempts >= p_attempts THEN now() END,
        last_error = CASE WHEN j.state = 'leased' THEN 'the worker was lost' ELSE j.last_error END
    WHERE j.id = ANY (v_ids);
    RETURN v_more;
END
$$;

-- Fires a schedule that is due: puts in its job and sets the next time, in one. One that is new or has changed waits for p_next.
-- Of many workers one does it, and whatever was missed is made up for once.
CREATE FUNCTION job_schedules_fire(
    p_name text, p_cron text, p_now timestamptz, p_next timestamptz, p_id uuid, p_kind text, p_payload jsonb)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO job_schedules (name, cron, next_at) VALUES (p_name, p_cron, p_next) ON CONFLICT DO NOTHING;
    UPDATE job_schedules s SET cron = p_cron, next_at = p_next WHERE s.name = p_name AND s.cron <> p_cron;
    UPDATE job_schedules s SET next_at = p_next, fired_at = p_now WHERE s.name = p_name AND s.next_at <= p_now;
    IF FOUND THEN
        PERFORM jobs_put(p_id, p_kind, p_payload, p_name, 100, NULL);
        RETURN true;
    END IF;
    RETURN false;
END
$$;

-- How much there is to do, for the metrics.
CREATE FUNCTION jobs_backlog() RETURNS TABLE (pending bigint, dead bigint, oldest_due_seconds double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT
        count(*) FILTER (WHERE j.state <> 'dead'),
        count(*) FILTER (WHERE j.state = 'dead'),
        coalesce(extract(epoch FROM now() - min(j.run_at)
            FILTER (WHERE j.state IN ('ready', 'waiting') AND j.run_at <= now())), 0)::double precision
    FROM jobs j;
END
$$;

REVOKE ALL ON FUNCTION jobs_put(uuid, text, jsonb, text, integer, timestamptz), jobs_put_each(uuid[], uuid[], text, jsonb, text),
    jobs_claim(uuid, uuid, uuid[], double precision), jobs_done(uuid, uuid), jobs_wait(integer, double precision),
    jobs_failed(uuid, uuid, text, double precision), jobs_sweep(integer, double precision),
    job_schedules_fire(text, text, timestamptz, timestamptz, uuid, text, jsonb), jobs_backlog() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION jobs_put(uuid, text, jsonb, text, integer, timestamptz), jobs_put_each(uuid[], uuid[], text, jsonb, text),
    jobs_claim(uuid, uuid, uuid[], double precision), jobs_done(uuid, uuid),
    jobs_failed(uuid, uuid, text, double precision), jobs_sweep(integer, double precision),
    job_schedules_fire(text, text, timestamptz, timestamptz, uuid, text, jsonb), jobs_backlog() TO crm_app;

-- What waits in the outbox moves over. Links to set a new password, and mail from outside every organization, are the platform's.
INSERT INTO jobs (id, org_id, kind, payload, state, run_at, attempts, last_error, dead_at, created_at)
SELECT o.id, CASE WHEN NOT starts_with(k.kind, 'platform.') THEN o.org_id END, k.kind, o.payload,
    CASE WHEN o.dead_at IS NOT NULL THEN 'dead' ELSE 'waiting' END,
    greatest(o.run_at, o.leased_until), o.attempts, o.last_error, o.dead_at, o.created_at
FROM outbox o CROSS JOIN LATERAL (
    SELECT CASE WHEN o.org_id IS NULL OR o.kind = 'password_reset_requested' THEN 'platform.' ELSE '' END
        || CASE o.kind WHEN 'send_mail' THEN 'mail.send' ELSE o.kind END AS kind) k;

DROP FUNCTION outbox_failed(uuid, uuid, text, integer);
DROP FUNCTION outbox_done(uuid, uuid);
DROP FUNCTION outbox_claim(uuid, integer, integer);
DROP FUNCTION outbox_put(uuid, text, jsonb);
DROP TABLE outbox;
