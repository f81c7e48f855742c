//! What an id of a relation points at: small objects for `expand`, and whether a body may point there.

use std::collections::{BTreeSet, HashMap};

use crm_access::Require;
use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx};
use crm_schema::{memberships, tags, teams, users};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Neighbours, Resource, Value, Where};

/// What an id of a relation points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rel {
    /// A membership.
    Member,
    /// A team.
    Team,
    /// A tag.
    Tag,
    /// An account.
    Account,
    /// A contact.
    Contact,
    /// A lead.
    Lead,
    /// A stage of a pipeline of leads.
    LeadStage,
    /// An opportunity.
    Opportunity,
    /// A product.
    Product,
    /// A case.
    Case,
    /// A stage of a pipeline of cases.
    CaseStage,
    /// An article of the knowledge base.
    Solution,
    /// A task.
    Task,
    /// A stage of a pipeline of tasks.
    TaskStage,
    /// A board.
    Board,
    /// An event of the calendar.
    Event,
    /// An entry of the planner.
    PlannerEntry,
}

/// A kind of record that not everybody may look at.
struct Related {
    resource: Resource,
    view: &'static str,
    /// What one is called, in SQL.
    name: &'static str,
    /// The same in an error: "a contact".
    what: &'static str,
}

const fn related(
    table: &'static str,
    neighbours: Option<Neighbours>,
    view: &'static str,
    name: &'static str,
    what: &'static str,
) -> Related {
    let resource = Resource { kind: table, table, fields: &[], searchable: false, mutable: true, neighbours };
    Related { resource, view, name, what }
}

const ACCOUNT: Related = related("accounts", None, "accounts.view_account", "name", "an account");
const CONTACT: Related = related(
    "contacts",
    Some(Neighbours::OF_ACCOUNTS),
    "contacts.view_contact",
    "first_name || ' ' || last_name",
    "a contact",
);
const LEAD: Related = related(
    "leads",
    None,
    "leads.view_lead",
    "coalesce(title, nullif(concat_ws(' ', salutation, first_name, last_name), ''), company_name, email, '')",
    "a lead",
);
/// A stage belongs to nobody: whoever sees leads sees it.
const LEAD_STAGE: Related =
    related("lead_stages", Some(Neighbours::Everybody), "leads.view_lead", "name", "a stage");
const OPPORTUNITY: Related =
    related("opportunities", None, "opportunities.view_opportunity", "name", "an opportunity");
const PRODUCT: Related = related("products", None, "products.view_product", "name", "a product");
const CASE: Related = related("cases", Some(Neighbours::FOLLOWED), "cases.view_case", "name", "a case");
const CASE_STAGE: Related =
    related("case_stages", Some(Neighbours::Everybody), "cases.view_case", "name", "a stage");
const SOLUTION: Related =
    related("solutions", Some(Neighbours::Everybody), "solutions.view_solution", "title", "a solution");
const TASK: Related = related("tasks", None, "tasks.view_task", "title", "a task");
const TASK_STAGE: Related =
    related("task_stages", Some(Neighbours::Everybody), "tasks.view_task", "name", "a stage");
const BOARD: Related = related("boards", Some(Neighbours::ON_BOARD), "boards.view_board", "name", "a board");
const EVENT: Related = related("events", Some(Neighbours::INVITED), "events.view_event", "name", "an event");
const PLANNER_ENTRY: Related = related(
    "planner_entries",
    Some(Neighbours::ATTENDED),
    "planner.view_planner_entry",
    "name",
    "an entry of the planner",
);

impl Rel {
    /// Every one of them.
    pub(super) const ALL: [Self; 17] = [
        Self::Member,
        Self::Team,
        Self::Tag,
        Self::Account,
        Self::Contact,
        Self::Lead,
        Self::LeadStage,
        Self::Opportunity,
        Self::Product,
        Self::Case,
        Self::CaseStage,
        Self::Solution,
        Self::Task,
        Self::TaskStage,
        Self::Board,
        Self::Event,
        Self::PlannerEntry,
    ];

    const fn related(self) -> Option<&'static Related> {
        match self {
            Self::Member | Self::Team | Self::Tag => None,
            Self::Account => Some(&ACCOUNT),
            Self::Contact => Some(&CONTACT),
            Self::Lead => Some(&LEAD),
            Self::LeadStage => Some(&LEAD_STAGE),
            Self::Opportunity => Some(&OPPORTUNITY),
            Self::Product => Some(&PRODUCT),
            Self::Case => Some(&CASE),
            Self::CaseStage => Some(&CASE_STAGE),
            Self::Solution => Some(&SOLUTION),
            Self::Task => Some(&TASK),
            Self::TaskStage => Some(&TASK_STAGE),
            Self::Board => Some(&BOARD),
            Self::Event => Some(&EVENT),
            Self::PlannerEntry => Some(&PLANNER_ENTRY),
        }
    }

    pub(super) async fn load(self, t: &mut TenantTx, ids: Vec<Uuid>) -> Result<HashMap<Uuid, Json>> {
        let org = t.org();
        if let Some(related) = self.related() {
            let names = related.visible(t, ids).await?;
            return Ok(names.into_iter().map(|(id, name)| (id, json!({"id": id, "name": name}))).collect());
        }
        let conn = t.conn()?;
        Ok(match self {
            Self::Team => teams::table
                .filter(teams::org_id.eq(org).and(teams::id.eq_any(ids)))
                .select((teams::id, teams::name))
                .load::<(Uuid, String)>(conn)
                .await?
                .into_iter()
                .map(|(id, name)| (id, json!({"id": id, "name": name})))
                .collect(),
            Self::Tag => tags::table
                .filter(tags::org_id.eq(org).and(tags::id.eq_any(ids)))
                .select((tags::id, tags::name, tags::slug, tags::color))
                .load::<(Uuid, String, String, String)>(conn)
                .await?
                .into_iter()
                .map(|(id, name, slug, color)| (id, json!({"id": id, "name": name, "slug": slug, "color": color})))
                .collect(),
            _ => memberships::table
                .left_join(users::table.on(users::id.nullable().eq(memberships::user_id)))
                .filter(memberships::org_id.eq(org).and(memberships::id.eq_any(ids)))
                .select((memberships::id, memberships::email, users::name.nullable(), users::profile_pic.nullable()))
                .load::<(Uuid, String, Option<String>, Option<String>)>(conn)
                .await?
                .into_iter()
                .map(|(id, email, name, pic)| {
                    (id, json!({"id": id, "email": email, "name": name.unwrap_or_default(), "profile_pic": pic}))
                })
                .collect(),
        })
    }
}

/// Makes sure that a body points only at records that the caller may look at.
///
/// # Errors
/// 422 naming the field for any other id: one that is not there and one that is hidden are not told apart.
pub async fn check_related(t: &mut TenantTx, rel: Rel, field: &'static str, ids: &[Uuid]) -> Result<()> {
    let Some(related) = rel.related().filter(|_| !ids.is_empty()) else { return Ok(()) };
    let wanted: BTreeSet<Uuid> = ids.iter().copied().collect();
    let visible = related.visible(t, wanted.iter().copied().collect()).await?;
    let errors: Vec<_> = wanted
        .iter()
        .filter(|id| !visible.contains_key(id))
        .map(|id| {
            let message = format!("{id} is not {} that you may see", related.what);
            FieldError::new(field, FieldCode::NotFound, message)
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Fields(Code::ValidationFailed, errors)) }
}

/// The condition on a row of what a relation points at that the caller may look at it, for a join that meets few of them. Nothing is
/// visible without the permission.
pub fn visible(t: &TenantTx, rel: Rel) -> Where {
    let condition = rel.related().and_then(|related| related.condition(t));
    let nothing = || vec![super::Clause::AnyOf(Vec::new())];
    Where(condition.unwrap_or_else(nothing).into_iter().map(super::Clause::each).collect())
}

impl Rel {
    /// Its table, and what one of them is called in an error.
    pub(crate) const fn table(self) -> Option<(&'static str, &'static str)> {
        match self.related() {
            Some(related) => Some((related.resource.table, related.what)),
            None => None,
        }
    }

    /// The names of those of the ids that the caller may look at.
    pub(crate) async fn names(self, t: &mut TenantTx, ids: Vec<Uuid>) -> Result<HashMap<Uuid, String>> {
        match self.related() {
            Some(related) => related.visible(t, ids).await,
            None => Ok(HashMap::new()),
        }
    }
}

impl Related {
    /// What holds of those that the caller may look at; none without the permission.
    fn condition(&self, t: &TenantTx) -> Option<Vec<super::Clause>> {
        let scope = t.require(self.view).ok()?;
        let mut clauses = vec![self.resource.in_org(t.org())];
        clauses.extend(self.resource.visible(t.caller(), scope));
        Some(clauses)
    }

    /// The names of those that the caller may look at.
    async fn visible(&'static self, t: &mut TenantTx, ids: Vec<Uuid>) -> Result<HashMap<Uuid, String>> {
        let Some(mut filter) = self.condition(t) else { return Ok(HashMap::new()) };
        filter.push(super::Clause::Any(self.resource.table, "id", Value::Uuids(ids)));
        let names = Names { related: self, filter: Where(filter) };
        Ok(names.load::<(Uuid, String)>(t.conn()?).await?.into_iter().collect())
    }
}

/// `SELECT id, name FROM table WHERE filter`.
struct Names {
    related: &'static Related,
    filter: Where,
}

impl Query for Names {
    type SqlType = (SqlUuid, Text);
}

impl QueryId for Names {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Names {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT id, ");
        out.push_sql(self.related.name);
        out.push_sql(" FROM ");
        out.push_identifier(self.related.resource.table)?;
        out.push_sql(" WHERE ");
        self.filter.walk_ast(out)
    }
}
