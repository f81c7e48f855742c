//! The one query that opens every request of a member.

use chrono::{DateTime, Utc};
use crm_access::{BuiltinRole, role_principal};
use crm_core::{
    Caller, CallerSource, Error, Grants, MemberId, OrgId, OrgInfo, Principal, Result, RoleId, SessionId,
    TeamId, UserId,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Jsonb, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::MemberClaims;
use crate::access_tokens::bearer::unusable;
use crate::access_tokens::{Scopes, TokenClaims};

/// What is asked of a membership: `m` with its role `r` and its organization `o`.
const MEMBER: &str = "m.id, r.id, r.is_builtin, r.name, r.grants, o.name, o.currency, o.timezone, \
    ARRAY(SELECT k.team_id FROM team_members k WHERE k.org_id = m.org_id AND k.membership_id = m.id)";
/// A platform administrator has no part in any organization, whatever the tables say.
const NO_PLATFORM_ADMIN: &str = " AND NOT EXISTS (SELECT FROM platform_admins a WHERE a.user_id = u.id)";

type MemberSql = (SqlUuid, SqlUuid, Bool, Text, Jsonb, Text, Text, Text, Array<SqlUuid>);
type MemberRow = (MemberId, RoleId, bool, String, serde_json::Value, String, String, String, Vec<TeamId>);

/// Finds one row if the session stands, the account and the organization are active, and the person is an active member of it
/// and no platform administrator. Its text never changes, so that it is prepared once per connection.
#[derive(QueryId)]
struct Standing {
    session: SessionId,
    user: UserId,
    org: OrgId,
    at: DateTime<Utc>,
}

impl Query for Standing {
    type SqlType = MemberSql;
}

impl QueryFragment<Pg> for Standing {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(MEMBER);
        out.push_sql(
            " FROM sessions s JOIN users u ON u.id = s.user_id AND u.is_active JOIN organizations o ON o.is_active AND o.id = ",
        );
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" JOIN memberships m ON m.user_id = u.id AND m.state = 'active' AND m.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" JOIN roles r ON r.id = m.role_id AND r.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" WHERE s.ended_at IS NULL AND s.id = ");
        out.push_bind_param::<SqlUuid, _>(&self.session)?;
        out.push_sql(" AND s.user_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.user)?;
        out.push_sql(" AND s.expires_at > ");
        out.push_bind_param::<Timestamptz, _>(&self.at)?;
        out.push_sql(NO_PLATFORM_ADMIN);
        Ok(())
    }
}

impl CallerSource for MemberClaims {
    fn org(&self) -> OrgId {
        self.org
    }

    async fn caller(&self, conn: &AsyncPgConnection) -> Result<Caller> {
        let Self { user, session, org, at } = *self;
        let found =
            Standing { session, user, org, at }.get_result::<MemberRow>(&mut &*conn).await.optional()?;
        let member = found.ok_or_else(|| {
            Error::Unauthenticated(
                "the session has ended, or the membership or the organization is no longer active".into(),
            )
        })?;
        Ok(Caller { session: Some(session), ..caller(org, user, member)? })
    }
}

/// Finds one row if the token is neither revoked nor expired and its owner stands as in [`Standing`], without a session.
#[derive(QueryId)]
struct TokenStanding {
    digest: String,
    org: OrgId,
    at: DateTime<Utc>,
}

impl Query for TokenStanding {
    type SqlType = (MemberSql, SqlUuid, SqlUuid, Jsonb);
}

impl QueryFragment<Pg> for TokenStanding {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(MEMBER);
        out.push_sql(
            ", u.id, t.id, t.scopes FROM access_tokens t JOIN organizations o ON o.is_active AND o.id = ",
        );
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" JOIN memberships m ON m.id = t.created_by AND m.state = 'active' AND m.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" JOIN users u ON u.id = m.user_id AND u.is_active JOIN roles r ON r.id = m.role_id AND r.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" WHERE t.revoked_at IS NULL AND t.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND t.digest = ");
        out.push_bind_param::<Text, _>(&self.digest)?;
        out.push_sql(" AND t.expires_at > ");
        out.push_bind_param::<Timestamptz, _>(&self.at)?;
        out.push_sql(NO_PLATFORM_ADMIN);
        Ok(())
    }
}

type TokenRow = (MemberRow, UserId, Uuid, Scopes);

/// Whom a personal access token stands for, and how far.
pub(crate) struct Holder {
    pub(crate) token: Uuid,
    pub(crate) caller: Caller,
    pub(crate) scopes: Scopes,
}

impl Holder {
    /// # Errors
    /// `Unauthenticated` for every token that opens nothing, for whatever reason.
    pub(crate) async fn find(claims: &TokenClaims, conn: &AsyncPgConnection) -> Result<Self> {
        let TokenClaims { org, digest, at, .. } = claims.clone();
        let found = TokenStanding { digest, org, at }.get_result::<TokenRow>(&mut &*conn).await;
        let (member, user, token, scopes) = found.optional()?.ok_or_else(unusable)?;
        Ok(Self { token, caller: caller(org, user, member)?, scopes })
    }
}

/// A member in whose name the program works: one who asked for work that is done later, or for whom an operator acts.
#[derive(Debug, Clone, Copy)]
pub struct InTheNameOf {
    /// The organization.
    pub org: OrgId,
    /// The membership.
    pub member: MemberId,
}

/// Finds one row if the membership, the account and the organization are active.
#[derive(QueryId)]
struct NamedStanding {
    member: MemberId,
    org: OrgId,
}

impl Query for NamedStanding {
    type SqlType = (MemberSql, SqlUuid);
}

impl QueryFragment<Pg> for NamedStanding {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(MEMBER);
        out.push_sql(", u.id FROM memberships m JOIN organizations o ON o.is_active AND o.id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" JOIN users u ON u.id = m.user_id AND u.is_active JOIN roles r ON r.id = m.role_id AND r.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" WHERE m.state = 'active' AND m.org_id = ");
        out.push_bind_param::<SqlUuid, _>(&self.org)?;
        out.push_sql(" AND m.id = ");
        out.push_bind_param::<SqlUuid, _>(&self.member)?;
        out.push_sql(NO_PLATFORM_ADMIN);
        Ok(())
    }
}

impl CallerSource for InTheNameOf {
    fn org(&self) -> OrgId {
        self.org
    }

    async fn caller(&self, conn: &AsyncPgConnection) -> Result<Caller> {
        let Self { org, member } = *self;
        let found = NamedStanding { member, org }.get_result::<(MemberRow, UserId)>(&mut &*conn).await;
        let (member, user) = found.optional()?.ok_or_else(|| {
            Error::Unauthenticated("the member in whose name this is to be done is no longer active".into())
        })?;
        caller(org, user, member)
    }
}

fn caller(org: OrgId, user: UserId, member: MemberRow) -> Result<Caller> {
    let (member, role, is_builtin, role_name, grants, name, currency, timezone, teams) = member;
    Ok(Caller {
        org: OrgInfo { id: org, name, currency, timezone: timezone.parse().unwrap_or_default() },
        principal: principal(is_builtin, &role_name, grants)?,
        user: Some(user),
        member: Some(member),
        role: Some(role),
        session: None,
        teams,
    })
}

/// What a member with this role may do.
pub(crate) fn principal(is_builtin: bool, name: &str, stored: serde_json::Value) -> Result<Principal> {
    let stored: Grants = serde_json::from_value(stored).map_err(Error::internal)?;
    Ok(role_principal(is_builtin, name, stored))
}

/// Every built-in role.
pub(crate) fn builtin_roles() -> impl Iterator<Item = BuiltinRole> {
    BuiltinRole::WORDS.iter().filter_map(|word| BuiltinRole::from_word(word))
}
