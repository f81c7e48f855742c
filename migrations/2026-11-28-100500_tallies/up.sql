-- How many records of a kind there are in each bucket, such as a status, and what they are worth together. Written by differences in the
-- transaction of each change and never updated, so that no two writers wait for each other; folded together now and then. A sum over a
-- few rows instead of a count over a million.
CREATE TABLE tallies (
    org_id uuid NOT NULL CONSTRAINT tallies_org_id_fkey REFERENCES organizations (id),
    id uuid NOT NULL,
    kind text NOT NULL,
    bucket text NOT NULL,
    -- May be negative: a record that left the bucket.
    count bigint NOT NULL,
    -- Minor units of the bucket's currency.
    amount bigint NOT NULL DEFAULT 0,
    -- The same times the probability in percent.
    weighted bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX tallies_kind_idx ON tallies (org_id, kind, bucket);
-- The leads that are there already, by status and rating.
ALTER TABLE leads NO FORCE ROW LEVEL SECURITY;
INSERT INTO tallies (org_id, id, kind, bucket, count)
    SELECT org_id, gen_random_uuid(), 'lead', coalesce(status, '') || '|' || coalesce(rating, ''), count(*)
    FROM leads GROUP BY org_id, status, rating;
ALTER TABLE leads FORCE ROW LEVEL SECURITY;
-- UPDATE, because whoever folds locks the rows first.
CALL protect_tenant_table('tallies', 'SELECT, INSERT, UPDATE, DELETE');

-- Adds differences; one time in a hundred folds what others have left, without waiting for anybody.
CREATE FUNCTION tallies_add(p_org_id uuid, p_kind text, p_buckets text[], p_counts bigint[], p_amounts bigint[], p_weighted bigint[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO tallies (org_id, id, kind, bucket, count, amount, weighted)
    SELECT p_org_id, gen_random_uuid(), p_kind, d.bucket, sum(d.count), sum(d.amount), sum(d.weighted)
    FROM unnest(p_buckets, p_counts, p_amounts, p_weighted) AS d (bucket, count, amount, weighted)
    GROUP BY d.bucket HAVING sum(d.count) <> 0 OR sum(d.amount) <> 0 OR sum(d.weighted) <> 0;
    IF random() < 0.01 THEN
        WITH taken AS (
            DELETE FROM tallies t USING (
                SELECT k.id FROM tallies k WHERE k.org_id = p_org_id AND k.kind = p_kind FOR UPDATE SKIP LOCKED) k
            WHERE t.org_id = p_org_id AND t.id = k.id
            RETURNING t.bucket, t.count, t.amount, t.weighted)
        INSERT INTO tallies (org_id, id, kind, bucket, count, amount, weighted)
        SELECT p_org_id, gen_random_uuid(), p_kind, taken.bucket, sum(taken.count), sum(taken.amount), sum(taken.weighted)
        FROM taken GROUP BY taken.bucket
        HAVING sum(taken.count) <> 0 OR sum(taken.amount) <> 0 OR sum(taken.weighted) <> 0;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION tallies_add(uuid, text, text[], bigint[], bigint[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tallies_add(uuid, text, text[], bigint[], bigint[], bigint[]) TO crm_app;
