//! What was reached of goals: won deals are summed once for each day, for all goals of members, of teams and of everybody alike.

use std::collections::HashMap;

use chrono::NaiveDate;
use crm_core::{Result, TenantTx};
use crm_records::Base;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Date, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::GoalRow;

/// What was reached of each goal: minor units of its currency, or deals. Each deal counts once, however many members of a team work on
/// it, and only active deals that were won in the period do.
///
/// # Errors
/// Those of the database.
pub(crate) async fn reached(t: &mut TenantTx, goals: &[(Base, GoalRow)]) -> Result<HashMap<Uuid, i64>> {
    let mut reached = HashMap::new();
    for whose in [Whose::Member, Whose::Team, Whose::Everybody] {
        let of = |row: &GoalRow| match (row.assigned_to, row.team_id) {
            (Some(member), _) => (Whose::Member, Some(member.0)),
            (None, Some(team)) => (Whose::Team, Some(team.0)),
            (None, None) => (Whose::Everybody, None),
        };
        let mut progress = Progress {
            whose,
            org: t.org().0,
            goals: Vec::new(),
            ids: Vec::new(),
            first: NaiveDate::MAX,
            last: NaiveDate::MIN,
        };
        for (base, row) in goals.iter().filter(|(_, row)| of(row).0 == whose) {
            progress.goals.push(base.id);
            progress.ids.extend(of(row).1);
            progress.first = progress.first.min(row.period_start);
            progress.last = progress.last.max(row.period_end);
        }
        if !progress.goals.is_empty() {
            reached.extend(progress.load::<(Uuid, i64)>(t.conn()?).await?);
        }
    }
    Ok(reached)
}

/// Whose deals count for a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Member,
    Team,
    Everybody,
}

struct Progress {
    whose: Whose,
    org: Uuid,
    goals: Vec<Uuid>,
    /// The members or teams that they are set for.
    ids: Vec<Uuid>,
    /// The first and the last day of all their periods.
    first: NaiveDate,
    last: NaiveDate,
}

impl Query for Progress {
    type SqlType = (SqlUuid, BigInt);
}

impl QueryId for Progress {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// The deals that count.
const WON: &str =
    "o.org_id = {org} AND o.stage = 'CLOSED_WON' AND o.is_active AND o.closed_on BETWEEN {first} AND {last}";

const MEMBERS: &str = "SELECT k.membership_id AS whose, o.closed_on AS day, o.currency, count(*) AS count, sum(o.amount) AS amount \
    FROM opportunities o JOIN record_assignees k ON k.org_id = o.org_id AND k.record_id = o.id \
    WHERE {won} AND k.org_id = {org} AND k.membership_id = ANY({ids}) GROUP BY 1, 2, 3";

/// A deal is a team's once, however many of its members work on it.
const TEAMS: &str = "SELECT whose, day, currency, count(*) AS count, sum(amount) AS amount FROM (\
    SELECT DISTINCT p.team_id AS whose, o.id, o.closed_on AS day, o.currency, o.amount \
    FROM opportunities o JOIN record_assignees k ON k.org_id = o.org_id AND k.record_id = o.id \
    JOIN team_members p ON p.org_id = k.org_id AND p.membership_id = k.membership_id \
    JOIN memberships m ON m.org_id = k.org_id AND m.id = k.membership_id AND m.state = 'active' \
    WHERE {won} AND k.org_id = {org} AND p.org_id = {org} AND p.team_id = ANY({ids})) o GROUP BY 1, 2, 3";

/// The sums by day hold all deals that were won: those out of use are taken off.
const EVERYBODY: &str = "SELECT day, split_part(bucket, '|', 2) AS currency, count, amount \
    FROM tallies WHERE org_id = {org} AND kind = 'opportunity' AND day BETWEEN {first} AND {last} \
    AND split_part(bucket, '|', 1) = 'CLOSED_WON' \
    UNION ALL SELECT o.closed_on, o.currency, -count(*), -sum(o.amount) FROM opportunities o WHERE o.org_id = {org} \
    AND o.stage = 'CLOSED_WON' AND NOT o.is_active AND o.closed_on BETWEEN {first} AND {last} GROUP BY 1, 2";

const PROGRESS: &str = "SELECT g.id, CASE WHEN g.goal_type = 'REVENUE' \
        THEN least(coalesce(sum(d.amount), 0), 9223372036854775807)::bigint ELSE coalesce(sum(d.count), 0)::bigint END \
    FROM sales_goals g LEFT JOIN ({days}) d ON {whose} \
        AND d.day BETWEEN g.period_start AND g.period_end AND (g.goal_type <> 'REVENUE' OR d.currency = g.currency) \
    WHERE g.org_id = {org} AND g.id = ANY({goals}) GROUP BY g.id, g.goal_type";

impl Progress {
    fn sql(&self) -> String {
        let (days, whose) = match self.whose {
            Whose::Member => (MEMBERS, "d.whose = g.assigned_to"),
            Whose::Team => (TEAMS, "d.whose = g.team_id"),
            Whose::Everybody => (EVERYBODY, "TRUE"),
        };
        PROGRESS.replace("{days}", days).replace("{whose}", whose).replace("{won}", WON)
    }
}

impl QueryFragment<Pg> for Progress {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // What stands in braces is bound, the rest is text.
        for (place, part) in self.sql().split(['{', '}']).enumerate() {
            match part {
                _ if place % 2 == 0 => out.push_sql(part),
                "org" => out.push_bind_param::<SqlUuid, _>(&self.org)?,
                "first" => out.push_bind_param::<Date, _>(&self.first)?,
                "last" => out.push_bind_param::<Date, _>(&self.last)?,
                "ids" => out.push_bind_param::<Array<SqlUuid>, _>(&self.ids)?,
                _ => out.push_bind_param::<Array<SqlUuid>, _>(&self.goals)?,
            }
        }
        Ok(())
    }
}
