use crm_core::{Error, FieldCode, FieldError, MemberId, Result, TagId, TeamId, TenantTx};
use crm_schema::{memberships, record_assignees, record_tags, record_teams, tags, teams};
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

use crate::list::{Field, Rel};

/// The links of a record as filterable, expandable fields.
pub const LINK_FIELDS: [Field; 3] = [
    Field::link("assigned_to", "record_assignees", "membership_id", Rel::Member),
    Field::link("teams", "record_teams", "team_id", Rel::Team),
    Field::link("tags", "record_tags", "tag_id", Rel::Tag),
];

/// Who works on a record, and how it is labelled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Validate, Queryable, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// The members it is assigned to.
    #[validate(length(max = 100, message = "100 assignees at most"))]
    pub assigned_to: Vec<MemberId>,
    /// The teams it is assigned to.
    #[validate(length(max = 100, message = "100 teams at most"))]
    pub teams: Vec<TeamId>,
    /// Its tags.
    #[validate(length(max = 100, message = "100 tags at most"))]
    pub tags: Vec<TagId>,
}

impl Links {
    /// The same links in a fixed order, each once.
    pub fn sorted(mut self) -> Self {
        self.assigned_to.sort();
        self.assigned_to.dedup();
        self.teams.sort();
        self.teams.dedup();
        self.tags.sort();
        self.tags.dedup();
        self
    }

    /// Puts the links of a record in place of `old` ones. What was linked before may stay; what is new must be there and active.
    ///
    /// # Errors
    /// 422 naming the field for an id that is not there, or not active, in this organization.
    pub async fn store(&self, t: &mut TenantTx, record: Uuid, old: &Self) -> Result<()> {
        let org = t.org();
        let (came, gone) = (added(&old.assigned_to, &self.assigned_to), added(&self.assigned_to, &old.assigned_to));
        if !came.is_empty() {
            let known = memberships::table
                .filter(memberships::org_id.eq(org).and(memberships::id.eq_any(&came)).and(memberships::state.eq("active")))
                .select(memberships::id)
                .load(t.conn()?)
                .await?;
            all_known("assigned_to", "an active member", &came, &known)?;
            let rows: Vec<_> = came
                .iter()
                .map(|id| {
                    (
                        record_assignees::org_id.eq(org),
                        record_assignees::record_id.eq(record),
                        record_assignees::membership_id.eq(*id),
                    )
                })
                .collect();
            diesel::insert_into(record_assignees::table).values(rows).execute(t.conn()?).await?;
        }
        if !gone.is_empty() {
            let here = record_assignees::org_id.eq(org).and(record_assignees::record_id.eq(record));
            let rows = record_assignees::table.filter(here.and(record_assignees::membership_id.eq_any(&gone)));
            diesel::delete(rows).execute(t.conn()?).await?;
        }
        let (came, gone) = (added(&old.teams, &self.teams), added(&self.teams, &old.teams));
        if !came.is_empty() {
            let known = teams::table
                .filter(teams::org_id.eq(org).and(teams::id.eq_any(&came)))
                .select(teams::id)
                .load(t.conn()?)
                .await?;
            all_known("teams", "a team", &came, &known)?;
            let rows: Vec<_> = came
                .iter()
                .map(|id| (record_teams::org_id.eq(org), record_teams::record_id.eq(record), record_teams::team_id.eq(*id)))
                .collect();
            diesel::insert_into(record_teams::table).values(rows).execute(t.conn()?).await?;
        }
        if !gone.is_empty() {
            let here = record_teams::org_id.eq(org).and(record_teams::record_id.eq(record));
            diesel::delete(record_teams::table.filter(here.and(record_teams::team_id.eq_any(&gone))))
                .execute(t.conn()?)
                .await?;
        }
        let (came, gone) = (added(&old.tags, &self.tags), added(&self.tags, &old.tags));
        if !came.is_empty() {
            let known = tags::table
                .filter(tags::org_id.eq(org).and(tags::id.eq_any(&came)).and(tags::is_active.eq(true)))
                .select(tags::id)
                .load(t.conn()?)
                .await?;
            all_known("tags", "an active tag", &came, &known)?;
            let rows: Vec<_> = came
                .iter()
                .map(|id| (record_tags::org_id.eq(org), record_tags::record_id.eq(record), record_tags::tag_id.eq(*id)))
                .collect();
            diesel::insert_into(record_tags::table).values(rows).execute(t.conn()?).await?;
        }
        if !gone.is_empty() {
            let here = record_tags::org_id.eq(org).and(record_tags::record_id.eq(record));
            diesel::delete(record_tags::table.filter(here.and(record_tags::tag_id.eq_any(&gone))))
                .execute(t.conn()?)
                .await?;
        }
        Ok(())
    }
}

fn added<T: PartialEq + Copy>(old: &[T], new: &[T]) -> Vec<T> {
    new.iter().filter(|id| !old.contains(id)).copied().collect()
}

fn all_known<T: PartialEq + std::fmt::Display>(field: &str, what: &str, wanted: &[T], known: &[T]) -> Result<()> {
    let unknown = wanted.iter().filter(|id| !known.contains(id));
    let errors: Vec<_> = unknown
        .map(|id| FieldError::new(field, FieldCode::NotFound, format!("{id} is not {what} of this organization")))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Fields(crm_core::Code::ValidationFailed, errors)) }
}

/// Selects the ids that a link table holds for each row of a table of records, sorted.
#[derive(Debug, Clone, Copy)]
pub struct LinkIds {
    table: &'static str,
    link: &'static str,
    column: &'static str,
}

impl LinkIds {
    /// All three links of a table's rows, to select into [`Links`].
    pub const fn of(table: &'static str) -> (Self, Self, Self) {
        (
            Self { table, link: "record_assignees", column: "membership_id" },
            Self { table, link: "record_teams", column: "team_id" },
            Self { table, link: "record_tags", column: "tag_id" },
        )
    }
}

crate::list::expression!(LinkIds, sql_types::Array<sql_types::Uuid>);

impl QueryFragment<Pg> for LinkIds {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("ARRAY(SELECT k.");
        out.push_identifier(self.column)?;
        out.push_sql(" FROM ");
        out.push_identifier(self.link)?;
        out.push_sql(" k WHERE k.org_id = ");
        out.push_identifier(self.table)?;
        out.push_sql(".org_id AND k.record_id = ");
        out.push_identifier(self.table)?;
        out.push_sql(".id ORDER BY 1)");
        Ok(())
    }
}
