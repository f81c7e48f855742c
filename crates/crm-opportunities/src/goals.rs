//! Sales goals: what is to be sold in a period by a member, by a team, or by everybody.

mod model;
mod progress;

use chrono::NaiveDate;
use crm_access::Require;
use crm_core::body::{self, Object};
use crm_core::{Error, FieldCode, Money, Result, Scope, TenantTx};
use crm_records::list::{Clause, More, Page, Params, Shaped, SortValues, Value, Where};
use crm_records::{
    Base, Edit, Precondition, base_changes, base_columns, base_values, created, deleted, diff, updated,
};
use crm_schema::{memberships, sales_goals, teams, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

pub use model::{GOALS, Goal, GoalFields, GoalStatus, GoalType, PeriodType};
pub(crate) use model::{GoalRow, percent};
pub(crate) use progress::reached;

const VIEW: &str = "goals.view_goal";

/// Parameters of the list beside the fields.
pub const FILTERS: &[(&str, &str)] = &[("current", "`true` for goals whose period today is part of.")];

/// Lists the goals, newest first: within a scope of *own* those set for the caller or for a team of theirs.
///
/// # Errors
/// `Forbidden` without `goals.view_goal`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Goal>>> {
    let scope = t.require(VIEW)?;
    let own = FILTERS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let mut selection = GOALS.select_more(params, t.caller(), Scope::All, More::own(&own))?;
    if let Some(clause) = mine(t, scope) {
        selection.and(clause);
    }
    match params.get("current") {
        None => {}
        Some("true" | "1") => current(today(t)).into_iter().for_each(|clause| selection.and(clause)),
        Some("false" | "0") => selection.and(Clause::Not(Box::new(Clause::All(current(today(t)))))),
        Some(_) => return Err(Error::parameter("current", FieldCode::InvalidValue, "must be true or false")),
    }
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, GoalRow, SortValues)> = sales_goals::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((base_columns!(sales_goals), GoalRow::as_select(), selection.keys()))
                .load(t.conn()?)
                .await?;
            let (goals, keys): (Vec<_>, Vec<_>) =
                rows.into_iter().map(|(base, row, keys)| ((base, row), keys)).unzip();
            Ok(shown(t, goals).await?.into_iter().zip(keys).collect())
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One goal that the caller may see.
///
/// # Errors
/// `Forbidden` without `goals.view_goal`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Goal> {
    let scope = t.require(VIEW)?;
    let mut filter = vec![GOALS.in_org(t.org()), GOALS.compare("id", "=", Value::Uuid(id))];
    filter.extend(mine(t, scope));
    load(t, Where(filter)).await
}

/// Sets a goal.
///
/// # Errors
/// `Forbidden` without `goals.add_goal`; 400 and 422 for the body.
pub async fn create(t: &mut TenantTx, body: Object) -> Result<Goal> {
    t.require("goals.add_goal")?;
    let row = body::parse::<GoalFields>(body)?.settle(&t.caller().org.currency, 0)?;
    check_people(t, None, &row).await?;
    let base = Base::new(t);
    created(t, GOALS.kind, &base, None).await?;
    let values = (base_values!(sales_goals, base), &row);
    diesel::insert_into(sales_goals::table).values(values).execute(t.conn()?).await?;
    only(shown(t, vec![(base, row)]).await?)
}

/// Changes a goal. Where it becomes another goal, its milestones are told of anew.
///
/// # Errors
/// `Forbidden` without `goals.change_goal`; `NotFound`; `Stale`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, mut edit: Edit) -> Result<Goal> {
    let old = locked(t, "goals.change_goal", id).await?;
    for field in Goal::OF_THE_MOMENT {
        edit.body.remove(*field);
    }
    // A goal that only counts has no currency to be left over from before.
    let counts = edit.body.get("goal_type").is_some_and(|word| word == GoalType::DealsClosed.as_str());
    if counts && edit.partial && !edit.body.contains_key("currency") {
        edit.body.insert("currency".into(), serde_json::Value::Null);
    }
    let fields: GoalFields = edit.fields(&old, &old.base, Goal::READ_ONLY)?;
    let mut row = fields.settle(&t.caller().org.currency, old.milestone)?;
    let before = row_of(&old)?;
    check_people(t, Some(&before), &row).await?;
    if row == before {
        return Ok(old);
    }
    let goal = |row: &GoalRow| {
        let aim = (row.goal_type, row.target_value, row.currency.clone());
        (aim, row.period_start, row.period_end, row.assigned_to, row.team_id)
    };
    if goal(&row) != goal(&before) {
        row.milestone = 0;
    }
    let base = old.base.next(t);
    diesel::update(sales_goals::table.filter(sales_goals::org_id.eq(t.org()).and(sales_goals::id.eq(id))))
        .set((base_changes!(sales_goals, base), &row))
        .execute(t.conn()?)
        .await?;
    let new = only(shown(t, vec![(base, row)]).await?)?;
    let mut changes = diff(&old, &new)?;
    for field in Goal::OF_THE_MOMENT {
        changes.remove(*field);
    }
    updated(t, GOALS.kind, &new.base, changes, None).await?;
    Ok(new)
}

/// Deletes a goal.
///
/// # Errors
/// `Forbidden` without `goals.delete_goal`; `NotFound`; `Stale`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = locked(t, "goals.delete_goal", id).await?;
    precondition.check(&old.base)?;
    deleted(t, GOALS.kind, id).await
}

/// Who has come how far.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Leaderboard {
    /// The best first.
    pub results: Vec<Place>,
}

/// A member's place.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Place {
    /// From 1, among those that the caller may see.
    pub rank: usize,
    /// The goal.
    pub goal_id: Uuid,
    /// What it is called.
    pub goal_name: String,
    /// Whose it is.
    pub member: Who,
    /// What it counts.
    pub goal_type: GoalType,
    /// Of a goal for revenue.
    pub currency: Option<String>,
    /// What is to be reached.
    pub target_value: Money,
    /// What was reached.
    pub progress_value: Money,
    /// The same in percent of the target, 100 at most.
    pub progress_percent: i32,
}

/// A member, as a board shows them.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Who {
    /// The membership.
    pub id: Uuid,
    /// The person's name, or the address of one without.
    pub name: String,
}

/// Parameters of the leaderboard.
pub const LEADERBOARD: &[(&str, &str)] =
    &[("period_type", "MONTHLY, QUARTERLY, YEARLY or CUSTOM; MONTHLY unless told.")];

/// The most goals that a leaderboard compares.
const MOST: i64 = 1000;

/// The members whose goals of a kind of period are running, the one who has come farthest first. Narrowed as the list is.
///
/// # Errors
/// `Forbidden` without `goals.view_goal`; 400 for parameters.
pub async fn leaderboard(t: &mut TenantTx, params: &Params) -> Result<Leaderboard> {
    let scope = t.require(VIEW)?;
    let period = match params.get("period_type") {
        None => PeriodType::Monthly,
        Some(word) => PeriodType::from_word(word).ok_or_else(|| {
            let message = format!("choices: {}", PeriodType::WORDS.join(", "));
            Error::parameter("period_type", FieldCode::NotAChoice, message)
        })?,
    };
    let mut filter = vec![
        GOALS.in_org(t.org()),
        GOALS.compare("is_active", "=", Value::Bool(true)),
        GOALS.compare("period_type", "=", Value::Text(period.as_str().to_owned())),
        Clause::Null(GOALS.table, "assigned_to", false),
    ];
    filter.extend(current(today(t)));
    filter.extend(mine(t, scope));
    let rows: Vec<(Base, GoalRow)> = sales_goals::table
        .filter(Where(filter))
        .order_by(sales_goals::id)
        .limit(MOST)
        .select((base_columns!(sales_goals), GoalRow::as_select()))
        .load(t.conn()?)
        .await?;
    let whose: Vec<Uuid> =
        rows.iter().filter_map(|(_, row)| row.assigned_to).map(|member| member.0).collect();
    let names: Vec<(Uuid, String, Option<String>)> = memberships::table
        .left_join(users::table.on(users::id.nullable().eq(memberships::user_id)))
        .filter(memberships::org_id.eq(t.org()).and(memberships::id.eq_any(whose)))
        .select((memberships::id, memberships::email, users::name.nullable()))
        .load(t.conn()?)
        .await?;
    let mut goals = shown(t, rows).await?;
    goals.sort_by(|a, b| b.progress_percent.cmp(&a.progress_percent).then_with(|| a.name.cmp(&b.name)));
    let place = |(place, goal): (usize, Goal)| {
        let id = goal.assigned_to?.0;
        let (_, email, name) = names.iter().find(|(of, ..)| *of == id)?;
        let name = name.as_ref().filter(|name| !name.is_empty()).unwrap_or(email).clone();
        Some(Place {
            rank: place + 1,
            goal_id: goal.base.id,
            goal_name: goal.name,
            member: Who { id, name },
            goal_type: goal.goal_type,
            currency: goal.currency,
            target_value: goal.target_value,
            progress_value: goal.progress_value,
            progress_percent: goal.progress_percent,
        })
    };
    Ok(Leaderboard { results: goals.into_iter().enumerate().filter_map(place).collect() })
}

/// The day in the organization's time zone.
pub(crate) fn today(t: &TenantTx) -> NaiveDate {
    t.now().with_timezone(&t.caller().org.timezone).date_naive()
}

/// The conditions of a goal that is running on a day.
pub(crate) fn current(day: NaiveDate) -> Vec<Clause> {
    vec![
        GOALS.compare("period_start", "<=", Value::Date(day)),
        GOALS.compare("period_end", ">=", Value::Date(day)),
    ]
}

/// What a scope of *own* leaves to see: whoever made a goal set it for somebody else.
fn mine(t: &TenantTx, scope: Scope) -> Option<Clause> {
    let caller = t.caller();
    match (scope, caller.member) {
        (Scope::All, _) => None,
        (Scope::Own, Some(member)) => {
            let teams = caller.teams.iter().map(|team| team.0).collect();
            let own = GOALS.compare("assigned_to", "=", Value::Uuid(member.0));
            Some(Clause::AnyOf(vec![own, GOALS.among("team_id", teams)]))
        }
        (Scope::Own, None) => Some(Clause::AnyOf(Vec::new())),
    }
}

async fn shown(t: &mut TenantTx, rows: Vec<(Base, GoalRow)>) -> Result<Vec<Goal>> {
    let reached = reached(t, &rows).await?;
    let today = today(t);
    let goal = |(base, row): (Base, GoalRow)| {
        let reached = reached.get(&base.id).copied().unwrap_or_default();
        Goal::stored(base, row, reached, today)
    };
    rows.into_iter().map(goal).collect()
}

fn only(goals: Vec<Goal>) -> Result<Goal> {
    goals.into_iter().next().ok_or(Error::NotFound)
}

async fn load(t: &mut TenantTx, filter: Where) -> Result<Goal> {
    let row = sales_goals::table.filter(filter).select((base_columns!(sales_goals), GoalRow::as_select()));
    let row = row.first::<(Base, GoalRow)>(t.conn()?).await?;
    only(shown(t, vec![row]).await?)
}

/// The goal with its row locked, once the caller may look at it and do this.
async fn locked(t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<Goal> {
    let row = sales_goals::table.filter(sales_goals::org_id.eq(t.org()).and(sales_goals::id.eq(id)));
    row.select(sales_goals::id).for_update().first::<Uuid>(t.conn()?).await?;
    let goal = find(t, id).await?;
    let scope = t.require(permission)?;
    let mut filter = vec![GOALS.in_org(t.org()), GOALS.compare("id", "=", Value::Uuid(id))];
    filter.extend(mine(t, scope));
    match load(t, Where(filter)).await {
        Err(Error::NotFound) => Err(Error::Forbidden("this goal is neither yours nor your team's".into())),
        Err(other) => Err(other),
        Ok(_) => Ok(goal),
    }
}

fn row_of(goal: &Goal) -> Result<GoalRow> {
    Ok(GoalRow {
        name: goal.name.clone(),
        goal_type: goal.goal_type,
        target_value: goal
            .target_value
            .minor()
            .ok_or_else(|| Error::internal("a target without its unit"))?,
        currency: goal.currency.clone(),
        period_type: goal.period_type,
        period_start: goal.period_start,
        period_end: goal.period_end,
        assigned_to: goal.assigned_to,
        team_id: goal.team_id,
        is_active: goal.is_active,
        milestone: goal.milestone,
    })
}

/// Whoever a goal is set for anew must be there, and a member be active.
async fn check_people(t: &mut TenantTx, old: Option<&GoalRow>, new: &GoalRow) -> Result<()> {
    if let Some(member) = new.assigned_to.filter(|_| old.is_none_or(|old| old.assigned_to != new.assigned_to))
    {
        let active = memberships::table
            .filter(memberships::org_id.eq(t.org()).and(memberships::id.eq(member.0)))
            .filter(memberships::state.eq("active"));
        if !diesel::select(diesel::dsl::exists(active)).get_result::<bool>(t.conn()?).await? {
            let message = format!("{member} is not an active member of this organization");
            return Err(Error::field("assigned_to", FieldCode::NotFound, message));
        }
    }
    if let Some(team) = new.team_id.filter(|_| old.is_none_or(|old| old.team_id != new.team_id)) {
        let there = teams::table.filter(teams::org_id.eq(t.org()).and(teams::id.eq(team.0)));
        if !diesel::select(diesel::dsl::exists(there)).get_result::<bool>(t.conn()?).await? {
            let message = format!("{team} is not a team of this organization");
            return Err(Error::field("team_id", FieldCode::NotFound, message));
        }
    }
    Ok(())
}
