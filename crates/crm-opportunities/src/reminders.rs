//! What members are reminded of by mail: deals that have stalled, and milestones of goals.

use chrono::{DateTime, Utc};
use crm_core::{Db, Error, MemberId, Result, TenantTx};
use crm_jobs::{Failure, Job, Schedule};
use crm_mail::{Message, Template};
use crm_records::list::{Clause, Value, Where};
use crm_records::{Base, base_changes, base_columns, updated};
use crm_schema::sales_goals;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use crate::aging::Aging;
use crate::goals::{GOALS, Goal, GoalRow, current, percent, reached, today};
use crate::stage::Stage;

/// The kind of the job that tells of stalled deals.
pub const STALE: &str = "opportunities.stale";

/// The kind of the job that tells of milestones.
pub const MILESTONES: &str = "opportunities.goals";

/// What is done regularly here.
pub const SCHEDULES: &[Schedule] = &[
    Schedule { name: STALE, cron: "0 8 * * *", kind: STALE, per_org: true },
    Schedule { name: MILESTONES, cron: "15 9 * * *", kind: MILESTONES, per_org: true },
];

/// Does a job of this crate; none for one of another kind. Links in mails begin with `frontend_url`.
pub async fn handle(db: &Db, job: &Job, frontend_url: &str) -> Option<Result<(), Failure>> {
    Some(match job.kind.as_str() {
        STALE => job.inside(db, async |t| tell_of_stale(t, frontend_url).await).await,
        MILESTONES => job.inside(db, async |t| tell_of_milestones(t, frontend_url).await).await,
        _ => return None,
    })
}

/// Writes to each member about the deals of theirs that have been in their stage for too long; administrators hear of those that no active
/// member works on.
async fn tell_of_stale(t: &mut TenantTx, frontend_url: &str) -> Result<()> {
    let (aging, now) = (Aging::read(t).await?, t.now());
    let stale = Stale { org: t.org().0, rotten: Where(vec![aging.rotten(now)]) };
    let rows: Vec<StaleRow> = stale.load(t.conn()?).await?;
    let org_name = t.caller().org.name.clone();
    for deals in rows.chunk_by(|a, b| a.0 == b.0) {
        let Some((_, email, name, count, ..)) = deals.first() else { continue };
        let mut items = Vec::new();
        for (_, _, _, _, id, name, stage, since) in deals {
            let expected = Stage::from_word(stage).and_then(|stage| aging.expected_days(stage));
            items.push(json!({
                "name": name,
                "stage": stage,
                "days": (now - *since).num_days(),
                "expected": expected.unwrap_or_default(),
                "link": format!("{frontend_url}/opportunities/{id}"),
            }));
        }
        let data = json!({
            "org_name": org_name,
            "name": name,
            "count": count,
            "items": items,
            "link": format!("{frontend_url}/opportunities?rotten=true"),
        });
        crm_mail::enqueue(t, &Message::new(email, Template::StaleDeals, data)).await?;
    }
    Ok(())
}

/// Member, address, name, number of deals, and one of them: id, name, stage, since when.
type StaleRow = (Uuid, String, String, i64, Uuid, String, String, DateTime<Utc>);

struct Stale {
    org: Uuid,
    rotten: Where,
}

impl Query for Stale {
    type SqlType = (SqlUuid, Text, Text, BigInt, SqlUuid, Text, Text, Timestamptz);
}

impl QueryId for Stale {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// Of each member the 25 that have been there longest.
const STALE_SQL: [&str; 2] = [
    "WITH active AS (\
        SELECT m.id, u.email, u.name, r.is_builtin AND r.name = 'ADMIN' AS is_admin FROM memberships m \
        JOIN users u ON u.id = m.user_id AND u.is_active JOIN roles r ON r.org_id = m.org_id AND r.id = m.role_id \
        WHERE m.org_id = {org} AND m.state = 'active'), \
    stale AS (SELECT id, name, stage, stage_changed_at FROM opportunities WHERE org_id = {org} AND is_active AND ",
    "), worked AS (SELECT a.id AS member, s.id FROM stale s \
        JOIN record_assignees k ON k.org_id = {org} AND k.record_id = s.id JOIN active a ON a.id = k.membership_id), \
    due AS (SELECT member, id FROM worked UNION ALL SELECT a.id, s.id FROM stale s CROSS JOIN active a \
        WHERE a.is_admin AND NOT EXISTS (SELECT FROM worked w WHERE w.id = s.id)) \
    SELECT member, email, member_name, number, id, name, stage, stage_changed_at FROM (\
        SELECT a.id AS member, a.email, a.name AS member_name, count(*) OVER (PARTITION BY a.id) AS number, \
        row_number() OVER (PARTITION BY a.id ORDER BY s.stage_changed_at, s.id) AS place, s.* \
        FROM due d JOIN active a ON a.id = d.member JOIN stale s ON s.id = d.id) told \
    WHERE place <= 25 ORDER BY member, place",
];

impl QueryFragment<Pg> for Stale {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (half, sql) in STALE_SQL.into_iter().enumerate() {
            if half > 0 {
                self.rotten.walk_ast(out.reborrow())?;
            }
            for (place, part) in sql.split("{org}").enumerate() {
                if place > 0 {
                    out.push_bind_param::<SqlUuid, _>(&self.org)?;
                }
                out.push_sql(part);
            }
        }
        Ok(())
    }
}

/// Tells of the milestones that running goals have reached, each once: half, nine tenths, all of it. Of two reached at the same time only
/// the higher one is told.
async fn tell_of_milestones(t: &mut TenantTx, frontend_url: &str) -> Result<()> {
    let mut filter = vec![
        GOALS.in_org(t.org()),
        GOALS.compare("is_active", "=", Value::Bool(true)),
        GOALS.compare("milestone", "<", Value::Int(100)),
    ];
    filter.extend::<Vec<Clause>>(current(today(t)));
    let rows: Vec<(Base, GoalRow)> = sales_goals::table
        .filter(Where(filter))
        .order_by(sales_goals::id)
        .select((base_columns!(sales_goals), GoalRow::as_select()))
        .for_update()
        .load(t.conn()?)
        .await?;
    let reached = reached(t, &rows).await?;
    let (today, org_name) = (today(t), t.caller().org.name.clone());
    for (base, mut row) in rows {
        let reached = reached.get(&base.id).copied().unwrap_or_default();
        let percent = percent(reached, row.target_value);
        let Some(milestone) =
            [100, 90, 50].into_iter().find(|step| percent >= *step && row.milestone < *step)
        else {
            continue;
        };
        let change = json!([row.milestone, milestone]);
        row.milestone = milestone;
        let base = base.next(t);
        diesel::update(
            sales_goals::table.filter(sales_goals::org_id.eq(t.org()).and(sales_goals::id.eq(base.id))),
        )
        .set((base_changes!(sales_goals, base), sales_goals::milestone.eq(milestone)))
        .execute(t.conn()?)
        .await?;
        updated(t, GOALS.kind, &base, [("milestone".to_owned(), change)].into_iter().collect(), None).await?;
        let recipients = recipients(t, &row).await?;
        let goal = Goal::stored(base, row, reached, today)?;
        let unit = goal.currency.clone().unwrap_or_else(|| "deals".into());
        for (email, name) in recipients {
            let data = json!({
                "org_name": org_name,
                "name": name,
                "goal": goal.name,
                "milestone": milestone,
                "percent": goal.progress_percent,
                "reached": format!("{} {unit}", goal.progress_value),
                "target": format!("{} {unit}", goal.target_value),
                "period_start": goal.period_start,
                "period_end": goal.period_end,
                "link": format!("{frontend_url}/opportunities/goals"),
            });
            crm_mail::enqueue(t, &Message::new(email, Template::GoalMilestone, data)).await?;
        }
    }
    Ok(())
}

/// Address and name of those that a goal is set for: its member, else its team, else the administrators; active ones only.
async fn recipients(t: &mut TenantTx, goal: &GoalRow) -> Result<Vec<(String, String)>> {
    use crm_schema::{memberships, roles, team_members, users};
    let org = t.org();
    let active = || {
        memberships::table
            .inner_join(users::table.on(users::id.nullable().eq(memberships::user_id)))
            .filter(
                memberships::org_id
                    .eq(org)
                    .and(memberships::state.eq("active"))
                    .and(users::is_active.eq(true)),
            )
            .order_by(memberships::id)
            .select((users::email, users::name))
    };
    if let Some(MemberId(member)) = goal.assigned_to {
        let found = active().filter(memberships::id.eq(member)).load(t.conn()?).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    if let Some(team) = goal.team_id {
        let of_team: Vec<Uuid> = team_members::table
            .filter(team_members::org_id.eq(org).and(team_members::team_id.eq(team.0)))
            .select(team_members::membership_id)
            .load(t.conn()?)
            .await?;
        let found = active().filter(memberships::id.eq_any(of_team)).load(t.conn()?).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let admins: Vec<Uuid> = roles::table
        .filter(roles::org_id.eq(org).and(roles::is_builtin.eq(true)).and(roles::name.eq("ADMIN")))
        .select(roles::id)
        .load(t.conn()?)
        .await?;
    active().filter(memberships::role_id.eq_any(admins)).load(t.conn()?).await.map_err(Error::from)
}
