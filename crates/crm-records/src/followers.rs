//! Who follows a record, and who may read it: whom to tell what happens to it.
//!
//! A member follows what they made, are assigned to, commented on or were mentioned in. That is looked up when it matters, so it costs
//! no write and ends with the assignment; a row stands only for what somebody said: that they follow the record, or that they do not.

use crm_access::{role_principal, scope_of};
use crm_core::{Error, Grants, MemberId, OrgId, Result, Scope, TenantTx};
use crm_schema::record_followers;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Bool, Jsonb, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::Target;
use crate::list::{Neighbours, Resource};

/// Who follows a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Following {
    /// Whether the caller does.
    pub following: bool,
    /// Everybody who follows it and may read it.
    pub followers: Vec<MemberId>,
}

/// An active member who may read the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The membership.
    pub id: MemberId,
    /// The address.
    pub email: String,
    /// What they are called.
    pub name: String,
}

/// Of whom it is asked whether they may read a record.
#[derive(Debug, Clone, Copy)]
pub enum Among<'a> {
    /// These members.
    Members(&'a [MemberId]),
    /// Whoever follows the record.
    Followers,
}

/// Who follows a record that the caller may look at.
///
/// # Errors
/// `NotFound` for a record that the caller can't see.
pub async fn find(t: &mut TenantTx, target: &Target, record: Uuid) -> Result<Following> {
    target.check_view(t, record).await?;
    let readers = readers(t, target, record, Among::Followers).await?;
    let followers: Vec<_> = readers.into_iter().map(|reader| reader.id).collect();
    Ok(Following { following: t.actor().is_some_and(|me| followers.contains(&me)), followers })
}

/// Has the caller follow a record, or follow it no more, whatever they have to do with it.
///
/// # Errors
/// `NotFound` for a record that the caller can't see.
pub async fn follow(t: &mut TenantTx, target: &Target, record: Uuid, follow: bool) -> Result<()> {
    target.check_view(t, record).await?;
    let Some(me) = t.actor() else { return Ok(()) };
    let state = record_followers::state.eq(if follow { "following" } else { "muted" });
    let row = (
        record_followers::org_id.eq(t.org()),
        record_followers::record_id.eq(record),
        record_followers::membership_id.eq(me),
        state,
    );
    diesel::insert_into(record_followers::table)
        .values(row)
        .on_conflict((record_followers::org_id, record_followers::record_id, record_followers::membership_id))
        .do_update()
        .set(state)
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// The active members among some who may read the record at this moment: one statement for any number.
///
/// # Errors
/// Those of the database.
pub async fn readers(
    t: &mut TenantTx,
    target: &Target,
    record: Uuid,
    among: Among<'_>,
) -> Result<Vec<Reader>> {
    let question = Question { resource: &target.resource, org: t.org(), record, among };
    let rows: Vec<Row> = question.load(t.conn()?).await?;
    let is_closed = target.resource.neighbours.as_ref().is_some_and(Neighbours::are_closed);
    let mut readers = Vec::new();
    for (id, email, name, is_builtin, role, grants, is_own) in rows {
        let grants: Grants = serde_json::from_value(grants).map_err(Error::internal)?;
        let reaches = match scope_of(&role_principal(is_builtin, &role, grants), target.view) {
            Some(Scope::All) => is_own || !is_closed,
            Some(Scope::Own) => is_own,
            None => false,
        };
        if reaches {
            readers.push(Reader { id, email, name });
        }
    }
    Ok(readers)
}

/// The member with address and name, their role, and whether the record is theirs.
type Row = (MemberId, String, String, bool, String, serde_json::Value, bool);

/// Active members with their roles; the last column is the rule of [`crate::list::Resource::visible`] seen from the record.
struct Question<'a> {
    resource: &'a Resource,
    org: OrgId,
    record: Uuid,
    among: Among<'a>,
}

impl Query for Question<'_> {
    type SqlType = (sql_types::Uuid, Text, Text, Bool, Text, Jsonb, Bool);
}

impl QueryId for Question<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Question<'_> {
    /// Walks SQL in which `{org}`, `{record}` and `{table}` stand for this record's.
    fn walk<'b>(&'b self, sql: &'static str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (mut link, mut near, mut owner, mut linked, mut filter) = ("", "", "", "", "true");
        match self.resource.neighbours {
            Some(Neighbours::Records { link: l, owner: o, linked: k, table }) => {
                (link, near, owner, linked) = (l, table, o, k);
            }
            Some(Neighbours::Members { link: l, record, member, only, .. }) => {
                (link, owner, linked, filter) = (l, member, record, only.unwrap_or(filter));
            }
            Some(Neighbours::Everybody) | None => {}
        }
        for (i, part) in sql.split(['{', '}']).enumerate() {
            match part {
                "org" if i % 2 == 1 => out.push_bind_param::<sql_types::Uuid, _>(&self.org)?,
                "record" if i % 2 == 1 => out.push_bind_param::<sql_types::Uuid, _>(&self.record)?,
                "table" if i % 2 == 1 => out.push_identifier(self.resource.table)?,
                "link" if i % 2 == 1 => out.push_identifier(link)?,
                "near" if i % 2 == 1 => out.push_identifier(near)?,
                "owner" if i % 2 == 1 => out.push_identifier(owner)?,
                "linked" if i % 2 == 1 => out.push_identifier(linked)?,
                "filter" if i % 2 == 1 => out.push_sql(filter),
                text => out.push_sql(text),
            }
        }
        Ok(())
    }
}

impl QueryFragment<Pg> for Question<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.walk("SELECT m.id, u.email, u.name, r.is_builtin, r.name, r.grants, ", &mut out)?;
        match &self.resource.neighbours {
            Some(Neighbours::Everybody) => out.push_sql("true"),
            Some(near) if near.are_closed() => self.walk(OF_MEMBERS, &mut out)?,
            near => {
                self.walk(OWN, &mut out)?;
                match near {
                    Some(Neighbours::Records { .. }) => self.walk(OF_NEIGHBOURS, &mut out)?,
                    Some(_) => {
                        out.push_sql(" OR ");
                        self.walk(OF_MEMBERS, &mut out)?;
                    }
                    None => {}
                }
            }
        }
        self.walk(MEMBERS, &mut out)?;
        match &self.among {
            Among::Members(members) => {
                out.push_sql("m.id = ANY(");
                out.push_bind_param::<sql_types::Array<sql_types::Uuid>, _>(*members)?;
                out.push_sql(")");
            }
            Among::Followers => self.walk(FOLLOWERS, &mut out)?,
        }
        out.push_sql(" ORDER BY m.id");
        Ok(())
    }
}

const OWN: &str = "EXISTS (SELECT FROM record_assignees k WHERE k.org_id = {org} AND k.record_id = {record} AND k.membership_id = m.id) \
    OR EXISTS (SELECT FROM record_teams k JOIN team_members p ON p.org_id = k.org_id AND p.team_id = k.team_id \
        WHERE k.org_id = {org} AND k.record_id = {record} AND p.membership_id = m.id) \
    OR EXISTS (SELECT FROM {table} k WHERE k.org_id = {org} AND k.id = {record} AND k.created_by = m.id)";

/// Because they take part in it.
const OF_MEMBERS: &str = "EXISTS (SELECT FROM {link} n WHERE n.org_id = {org} AND n.{linked} = {record} AND n.{owner} = m.id AND {filter})";

/// Or because a neighbour is theirs; `{link}` and the others are those of [`Neighbours`].
const OF_NEIGHBOURS: &str = " OR EXISTS (SELECT FROM {link} n JOIN {near} a ON a.org_id = n.org_id AND a.id = n.{owner} \
    WHERE n.org_id = {org} AND n.{linked} = {record} AND (a.created_by = m.id \
    OR EXISTS (SELECT FROM record_assignees k WHERE k.org_id = {org} AND k.record_id = a.id AND k.membership_id = m.id) \
    OR EXISTS (SELECT FROM record_teams k JOIN team_members p ON p.org_id = k.org_id AND p.team_id = k.team_id \
        WHERE k.org_id = {org} AND k.record_id = a.id AND p.membership_id = m.id)))";

const MEMBERS: &str = " FROM memberships m JOIN organizations o ON o.id = m.org_id AND o.is_active \
    JOIN users u ON u.id = m.user_id AND u.is_active JOIN roles r ON r.org_id = m.org_id AND r.id = m.role_id \
    WHERE m.org_id = {org} AND m.state = 'active' AND NOT EXISTS (SELECT FROM platform_admins a WHERE a.user_id = u.id) AND ";

const FOLLOWERS: &str = "m.id IN (\
    SELECT k.created_by FROM {table} k WHERE k.org_id = {org} AND k.id = {record} \
    UNION ALL SELECT k.membership_id FROM record_assignees k WHERE k.org_id = {org} AND k.record_id = {record} \
    UNION ALL SELECT k.created_by FROM comments k WHERE k.org_id = {org} AND k.record_id = {record} \
    UNION ALL SELECT p.membership_id FROM comments k JOIN comment_mentions p ON p.org_id = k.org_id AND p.comment_id = k.id \
        WHERE k.org_id = {org} AND k.record_id = {record} \
    UNION ALL SELECT k.membership_id FROM record_followers k \
        WHERE k.org_id = {org} AND k.record_id = {record} AND k.state = 'following') \
    AND NOT EXISTS (SELECT FROM record_followers k \
        WHERE k.org_id = {org} AND k.record_id = {record} AND k.membership_id = m.id AND k.state = 'muted')";
