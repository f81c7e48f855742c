-- Every tally of the present organization, counted anew.
DELETE FROM tallies WHERE org_id = current_setting('app.current_org')::uuid;
INSERT INTO tallies (org_id, id, kind, bucket, count, amount, weighted)
    SELECT org_id, gen_random_uuid(), 'lead', coalesce(status, '') || '|' || coalesce(rating, ''), count(*), 0, 0
        FROM leads WHERE org_id = current_setting('app.current_org')::uuid GROUP BY org_id, status, rating
    UNION ALL SELECT org_id, gen_random_uuid(), 'account', CASE WHEN is_active THEN 'active' ELSE 'inactive' END, count(*), 0, 0
        FROM accounts WHERE org_id = current_setting('app.current_org')::uuid GROUP BY org_id, is_active
    UNION ALL SELECT org_id, gen_random_uuid(), 'contact', CASE WHEN is_active THEN 'active' ELSE 'inactive' END, count(*), 0, 0
        FROM contacts WHERE org_id = current_setting('app.current_org')::uuid GROUP BY org_id, is_active
    UNION ALL SELECT org_id, gen_random_uuid(), 'opportunity', stage || '|' || CASE WHEN amount IS NULL THEN '' ELSE currency END,
            count(*), coalesce(sum(amount), 0)::bigint, coalesce(sum(amount * probability), 0)::bigint
        FROM opportunities WHERE org_id = current_setting('app.current_org')::uuid
        GROUP BY org_id, stage, CASE WHEN amount IS NULL THEN '' ELSE currency END;
-- Once more under the day that they wait for.
INSERT INTO tallies (org_id, id, kind, bucket, day, count, amount, weighted)
    SELECT org_id, gen_random_uuid(), 'lead', 'follow_up', next_follow_up, count(*), 0, 0
        FROM leads WHERE org_id = current_setting('app.current_org')::uuid
        AND status IS DISTINCT FROM 'converted' AND status IS DISTINCT FROM 'closed' AND next_follow_up IS NOT NULL
        GROUP BY org_id, next_follow_up
    UNION ALL SELECT org_id, gen_random_uuid(), 'opportunity', stage || '|' || CASE WHEN amount IS NULL THEN '' ELSE currency END,
            closed_on, count(*), coalesce(sum(amount), 0)::bigint, coalesce(sum(amount * probability), 0)::bigint
        FROM opportunities WHERE org_id = current_setting('app.current_org')::uuid AND stage <> 'CLOSED_LOST' AND closed_on IS NOT NULL
        GROUP BY org_id, stage, CASE WHEN amount IS NULL THEN '' ELSE currency END, closed_on;
