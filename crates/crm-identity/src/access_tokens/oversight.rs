//! What whoever runs the organization sees of its members' tokens.

use chrono::TimeDelta;
use crm_access::Require;
use crm_core::{MemberId, Result, TenantTx};
use crm_records::list::{Page, Params, Shaped};
use crm_schema::{access_tokens, memberships, users};
use diesel::dsl::count;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::{AccessToken, TOKENS, end_now, in_person};
use crate::events::Client;
use crate::members::{MemberState, RoleName};

/// After how long without use a token counts as unused.
const UNUSED_AFTER: TimeDelta = TimeDelta::days(90);

/// Whose token it is.
#[derive(Debug, Clone, Queryable, Serialize, utoipa::ToSchema)]
pub struct TokenOwner {
    /// The membership.
    pub id: MemberId,
    /// What the person is called.
    pub name: String,
    /// Their address.
    pub email: String,
    /// The name of their role.
    pub role: String,
    /// Whether membership and account are active: otherwise the token opens nothing.
    pub is_active: bool,
}

/// A token of any member.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OrgToken {
    /// The token.
    #[serde(flatten)]
    pub access_token: AccessToken,
    /// Whose it is.
    pub owner: Option<TokenOwner>,
    /// Whether it is neither revoked nor expired.
    pub is_live: bool,
}

/// All tokens of the organization in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Serialize, utoipa::ToSchema)]
pub struct TokenTotals {
    /// How many there are.
    pub count: i64,
    /// Neither revoked nor expired.
    pub live: i64,
    /// Live, but the owner is shut out or has left.
    pub orphaned: i64,
    /// Live, and not used for more than 90 days.
    pub unused_90d: i64,
}

/// A page of the organization's tokens, with figures about all of them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OrgTokens {
    /// All rows of the query, when `count=true` asked for it.
    pub count: Option<i64>,
    /// The next page, as a path with its query.
    pub next: Option<String>,
    /// The previous page, as a path with its query.
    pub previous: Option<String>,
    /// The rows.
    #[schema(value_type = Vec<OrgToken>)]
    pub results: Vec<Shaped<OrgToken>>,
    /// About all tokens of the organization, whatever the filters.
    pub totals: TokenTotals,
}

/// Lists the tokens of every member, newest first.
///
/// # Errors
/// `Forbidden` without `audit.view_audit`; 400 for parameters.
pub async fn list_all(t: &mut TenantTx, params: &Params) -> Result<OrgTokens> {
    t.require("audit.view_audit")?;
    in_person(t)?;
    let selection = TOKENS.select(params, t.caller(), crm_core::Scope::All)?;
    let page = selection
        .run(t, async |t, f| {
            let query = access_tokens::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((AccessToken::as_select(), selection.keys()));
            Ok(query.load::<(AccessToken, _)>(t.conn()?).await?)
        })
        .await?;
    let now = t.now();
    let owners = owners(t, page.results.iter().map(|token| token.created_by).collect()).await?;
    let page = page.map(|access_token| {
        let owner = owners.iter().find(|owner| owner.id == access_token.created_by).cloned();
        OrgToken { is_live: access_token.is_live(now), access_token, owner }
    });
    let Page { count, next, previous, results } = selection.shape.page(t, page).await?;
    Ok(OrgTokens { count, next, previous, results, totals: totals(t).await? })
}

/// Revokes anybody's token, from its next use on. Doing it again changes nothing.
///
/// # Errors
/// `Forbidden` without `org.change_org`; `NotFound`.
pub async fn revoke_any(t: &mut TenantTx, client: &Client, id: Uuid) -> Result<()> {
    t.require("org.change_org")?;
    in_person(t)?;
    let this = access_tokens::table.find((t.org(), id)).select(access_tokens::created_by);
    let owner: MemberId = this.for_no_key_update().first(t.conn()?).await?;
    end_now(t, client, id, owner).await
}

async fn owners(t: &mut TenantTx, ids: Vec<MemberId>) -> Result<Vec<TokenOwner>> {
    let active = memberships::state.eq(MemberState::Active).and(users::is_active.eq(true));
    Ok(memberships::table
        .inner_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
        .filter(memberships::org_id.eq(t.org()).and(memberships::id.eq_any(ids)))
        .select((memberships::id, users::name, users::email, RoleName, active))
        .load(t.conn()?)
        .await?)
}

async fn totals(t: &mut TenantTx) -> Result<TokenTotals> {
    let (org, now) = (t.org(), t.now());
    let live = || access_tokens::revoked_at.is_null().and(access_tokens::expires_at.gt(now));
    let active = memberships::table
        .inner_join(users::table.on(memberships::user_id.eq(users::id.nullable())))
        .filter(memberships::org_id.eq(org).and(memberships::state.eq(MemberState::Active)))
        .filter(users::is_active.eq(true))
        .select(memberships::id);
    let long_ago = now - UNUSED_AFTER;
    let never_used = access_tokens::last_used_at.is_null().and(access_tokens::created_at.lt(long_ago));
    let unused = never_used.or(access_tokens::last_used_at.assume_not_null().lt(long_ago));
    let figures = (
        count(access_tokens::id),
        count(access_tokens::id).aggregate_filter(live()),
        count(access_tokens::id).aggregate_filter(live().and(access_tokens::created_by.ne_all(active))),
        count(access_tokens::id).aggregate_filter(live().and(unused)),
    );
    let here = access_tokens::table.filter(access_tokens::org_id.eq(org));
    Ok(here.select(figures).first(t.conn()?).await?)
}
