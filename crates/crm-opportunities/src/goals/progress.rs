use std::collections::HashMap;

use crm_core::{Result, TenantTx};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// What was reached of each goal: minor units of its currency, or deals. Each deal counts once, however many members of a team work on
/// it, and only active deals that were won in the period do.
///
/// # Errors
/// Those of the database.
pub(crate) async fn reached(t: &mut TenantTx, goals: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
    if goals.is_empty() {
        return Ok(HashMap::new());
    }
    let progress = Progress { org: t.org().0, goals };
    Ok(progress.load::<(Uuid, i64)>(t.conn()?).await?.into_iter().collect())
}

struct Progress<'a> {
    org: Uuid,
    goals: &'a [Uuid],
}

impl Query for Progress<'_> {
    type SqlType = (SqlUuid, BigInt);
}

impl QueryId for Progress<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

const PROGRESS: &str = "SELECT g.id, (\
    SELECT CASE WHEN g.goal_type = 'REVENUE' THEN least(coalesce(sum(o.amount), 0), 9223372036854775807)::bigint ELSE count(*) END \
    FROM opportunities o WHERE o.org_id = {org} AND o.stage = 'CLOSED_WON' AND o.is_active \
    AND o.closed_on BETWEEN g.period_start AND g.period_end \
    AND (g.goal_type <> 'REVENUE' OR o.currency = g.currency) \
    AND CASE WHEN g.assigned_to IS NOT NULL THEN EXISTS (\
        SELECT FROM record_assignees k WHERE k.org_id = {org} AND k.record_id = o.id AND k.membership_id = g.assigned_to) \
    WHEN g.team_id IS NOT NULL THEN EXISTS (\
        SELECT FROM record_assignees k JOIN team_members p ON p.org_id = k.org_id AND p.membership_id = k.membership_id \
        JOIN memberships m ON m.org_id = k.org_id AND m.id = k.membership_id AND m.state = 'active' \
        WHERE k.org_id = {org} AND k.record_id = o.id AND p.team_id = g.team_id) \
    ELSE true END) \
    FROM sales_goals g WHERE g.org_id = {org} AND g.id = ANY(";

impl QueryFragment<Pg> for Progress<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (place, part) in PROGRESS.split("{org}").enumerate() {
            if place > 0 {
                out.push_bind_param::<SqlUuid, _>(&self.org)?;
            }
            out.push_sql(part);
        }
        out.push_bind_param::<Array<SqlUuid>, _>(self.goals)?;
        out.push_sql(")");
        Ok(())
    }
}
