use std::collections::HashSet;

use crm_core::{Code, Error, FieldCode, FieldError, MemberId, Result, TagId, TeamId, TenantTx};
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

/// The links of a table's records as filterable, expandable fields.
pub const fn link_fields(table: &'static str) -> [Field; 3] {
    let (assignees, teams, tags) = LinkIds::of(table);
    [
        Field::link("assigned_to", assignees, Rel::Member),
        Field::link("teams", teams, Rel::Team),
        Field::link("tags", tags, Rel::Tag),
    ]
}

/// Who works on a record, and how it is labelled.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Validate, Queryable, utoipa::ToSchema,
)]
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
        ASSIGNEES.store(t, record, &old.assigned_to, &self.assigned_to).await?;
        TEAMS.store(t, record, &old.teams, &self.teams).await?;
        TAGS.store(t, record, &old.tags, &self.tags).await
    }
}

/// To whom records are assigned. A module with another word for it says so in `field`.
pub const ASSIGNEES: LinkTable = LinkTable {
    table: "record_assignees",
    owner: "record_id",
    linked: "membership_id",
    target: "memberships",
    usable: "state = 'active'",
    field: "assigned_to",
    what: "an active member",
};
/// The teams that they are assigned to.
pub const TEAMS: LinkTable = LinkTable {
    table: "record_teams",
    owner: "record_id",
    linked: "team_id",
    target: "teams",
    usable: "true",
    field: "teams",
    what: "a team",
};
/// Their tags.
pub const TAGS: LinkTable = LinkTable {
    table: "record_tags",
    owner: "record_id",
    linked: "tag_id",
    target: "tags",
    usable: "is_active",
    field: "tags",
    what: "an active tag",
};

/// A table of links `(org_id, owner, linked)` and what may be linked.
#[derive(Debug, Clone, Copy)]
pub struct LinkTable {
    /// The link table.
    pub table: &'static str,
    /// Its column of the owner's id.
    pub owner: &'static str,
    /// Its column of the linked id.
    pub linked: &'static str,
    /// The table of what is linked.
    pub target: &'static str,
    /// The condition on a row of it that may be linked anew.
    pub usable: &'static str,
    /// The field of the body, for the error.
    pub field: &'static str,
    /// What an id must be, for the error.
    pub what: &'static str,
}

impl LinkTable {
    /// Puts the links of `owner` from `old` to `new`: one statement for what came and one for what went.
    ///
    /// # Errors
    /// 422 naming the field for an id that may not be linked.
    pub async fn store<I>(&self, t: &mut TenantTx, owner: Uuid, old: &[I], new: &[I]) -> Result<()>
    where
        I: Copy + Into<Uuid>,
    {
        let (old, new): (HashSet<Uuid>, HashSet<Uuid>) =
            (old.iter().map(|id| (*id).into()).collect(), new.iter().map(|id| (*id).into()).collect());
        let org = t.org().0;
        let mut came: Vec<Uuid> = new.difference(&old).copied().collect();
        came.sort_unstable();
        if !came.is_empty() {
            let add = LinkStatement { links: *self, adds: true, org, owner, ids: &came };
            let linked: HashSet<Uuid> = add.load(t.conn()?).await?.into_iter().collect();
            let unknown = came.iter().filter(|id| !linked.contains(id));
            let errors: Vec<_> = unknown
                .map(|id| {
                    let message = format!("{id} is not {} of this organization", self.what);
                    FieldError::new(self.field, FieldCode::NotFound, message)
                })
                .collect();
            if !errors.is_empty() {
                return Err(Error::Fields(Code::ValidationFailed, errors));
            }
        }
        let gone: Vec<Uuid> = old.difference(&new).copied().collect();
        if !gone.is_empty() {
            let remove = LinkStatement { links: *self, adds: false, org, owner, ids: &gone };
            remove.load::<Uuid>(t.conn()?).await?;
        }
        Ok(())
    }
}

/// Adds links to those of the ids that may be linked, or removes links; answers the ids.
struct LinkStatement<'a> {
    links: LinkTable,
    adds: bool,
    org: Uuid,
    owner: Uuid,
    ids: &'a [Uuid],
}

impl diesel::query_builder::Query for LinkStatement<'_> {
    type SqlType = sql_types::Uuid;
}

impl QueryId for LinkStatement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for LinkStatement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let LinkTable { table, owner, linked, target, usable, .. } = self.links;
        if self.adds {
            out.push_sql("INSERT INTO ");
            out.push_identifier(table)?;
            out.push_sql(" (org_id, ");
            out.push_identifier(owner)?;
            out.push_sql(", ");
            out.push_identifier(linked)?;
            out.push_sql(") SELECT org_id, ");
            out.push_bind_param::<sql_types::Uuid, _>(&self.owner)?;
            out.push_sql(", id FROM ");
            out.push_identifier(target)?;
            out.push_sql(" WHERE org_id = ");
            out.push_bind_param::<sql_types::Uuid, _>(&self.org)?;
            out.push_sql(" AND id = ANY(");
            out.push_bind_param::<sql_types::Array<sql_types::Uuid>, _>(self.ids)?;
            out.push_sql(") AND ");
            out.push_sql(usable);
        } else {
            out.push_sql("DELETE FROM ");
            out.push_identifier(table)?;
            out.push_sql(" WHERE org_id = ");
            out.push_bind_param::<sql_types::Uuid, _>(&self.org)?;
            out.push_sql(" AND ");
            out.push_identifier(owner)?;
            out.push_sql(" = ");
            out.push_bind_param::<sql_types::Uuid, _>(&self.owner)?;
            out.push_sql(" AND ");
            out.push_identifier(linked)?;
            out.push_sql(" = ANY(");
            out.push_bind_param::<sql_types::Array<sql_types::Uuid>, _>(self.ids)?;
            out.push_sql(")");
        }
        out.push_sql(" RETURNING ");
        out.push_identifier(linked)
    }
}

/// Selects the ids that a link table holds for each row of a table of records, sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkIds {
    pub(crate) table: &'static str,
    pub(crate) link: &'static str,
    pub(crate) owner: &'static str,
    pub(crate) column: &'static str,
    pub(crate) within: Option<&'static str>,
}

impl LinkIds {
    /// The ids in `column` of the link table's rows whose `owner` is a row of `table`.
    pub const fn new(
        table: &'static str,
        link: &'static str,
        owner: &'static str,
        column: &'static str,
    ) -> Self {
        Self { table, link, owner, column, within: None }
    }

    /// Only those of the ids that stand in this table, where the link table holds records of several kinds.
    pub const fn within(self, table: &'static str) -> Self {
        Self { within: Some(table), ..self }
    }

    /// ` JOIN within …`, the link table being `k`.
    pub(crate) fn walk_within(&self, out: &mut AstPass<'_, '_, Pg>) -> QueryResult<()> {
        let Some(table) = self.within else { return Ok(()) };
        out.push_sql(" JOIN ");
        out.push_identifier(table)?;
        out.push_sql(" w ON w.org_id = k.org_id AND w.id = k.");
        out.push_identifier(self.column)
    }

    /// All three links of a table's records, to select into [`Links`].
    pub const fn of(table: &'static str) -> (Self, Self, Self) {
        (
            Self::new(table, ASSIGNEES.table, ASSIGNEES.owner, ASSIGNEES.linked),
            Self::new(table, TEAMS.table, TEAMS.owner, TEAMS.linked),
            Self::new(table, TAGS.table, TAGS.owner, TAGS.linked),
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
        out.push_sql(" k");
        self.walk_within(&mut out)?;
        out.push_sql(" WHERE k.org_id = ");
        out.push_identifier(self.table)?;
        out.push_sql(".org_id AND k.");
        out.push_identifier(self.owner)?;
        out.push_sql(" = ");
        out.push_identifier(self.table)?;
        out.push_sql(".id ORDER BY 1)");
        Ok(())
    }
}
