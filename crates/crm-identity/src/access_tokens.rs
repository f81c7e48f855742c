//! Personal access tokens: a member's own credentials for programs, each for a few parts of the API and a limited time.
//!
//! A raw token names its organization, so that it is looked up inside that one, under row-level security like any other row. It acts as
//! its member: what the member may not do, and what its scopes do not name, it can't do either.

pub(crate) mod bearer;
mod oversight;
mod scopes;

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use crm_core::{Error, FieldCode, MemberId, Result, TenantTx};
use crm_mail::{Message, Template};
use crm_records::list::{Field, Kind, Page, Params, Resource, Shaped, Value};
use crm_schema::{access_tokens, users};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

use crate::events::{Client, Event, EventKind};
use crate::{org_key, secret};

pub use bearer::{Credential, OrgClaims, TokenClaims};
pub use oversight::{OrgToken, OrgTokens, TokenOwner, TokenTotals, list_all, revoke_any};
pub use scopes::{Scopes, resource};

/// What every raw token begins with, so that a scanner of leaked secrets knows one.
pub(crate) const MARK: &str = "amp_pat_";

const DEFAULT_LIFE: TimeDelta = TimeDelta::days(90);
const LONGEST_LIFE: TimeDelta = TimeDelta::days(366);

/// Personal access tokens as a list.
pub const TOKENS: Resource = Resource {
    kind: "access_token",
    table: "access_tokens",
    fields: &[
        Field::new("name", Kind::Text).required(),
        Field::new("expires_at", Kind::Timestamp).required(),
        Field::new("last_used_at", Kind::Timestamp),
        Field::new("revoked_at", Kind::Timestamp),
    ],
    searchable: false,
    mutable: false,
    neighbours: None,
};

/// A personal access token without what proves it, which is stored nowhere.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = access_tokens)]
pub struct AccessToken {
    /// Its id.
    pub id: Uuid,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Whose it is.
    pub created_by: MemberId,
    /// What its owner calls it.
    pub name: String,
    /// How the token begins.
    pub token_prefix: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From which address that was.
    pub last_used_ip: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl AccessToken {
    /// Whether it is neither revoked nor expired.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

/// Body of the making of a token.
#[derive(Debug, Clone, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccessToken {
    /// What it is for, one line.
    #[serde(deserialize_with = "crm_core::body::trimmed")]
    #[validate(length(min = 1, max = 255), custom(function = "crm_core::rules::one_line"))]
    pub name: String,
    /// What it may be used for: words such as `leads:read`; without any it opens nothing.
    #[serde(default)]
    #[validate(length(max = 32, message = "32 scopes at most"))]
    pub scopes: Vec<String>,
    /// When it ends, within 366 days; in 90 days unless told.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token that was just made.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct CreatedAccessToken {
    /// What can be seen of it later.
    #[serde(flatten)]
    pub access_token: AccessToken,
    /// The token itself, this once: to be sent as `Authorization: Bearer …`.
    pub token: String,
}

impl std::fmt::Debug for CreatedAccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedAccessToken").field("id", &self.access_token.id).finish_non_exhaustive()
    }
}

/// Lists one's own tokens in this organization, newest first.
///
/// # Errors
/// `Forbidden` for whoever has not signed in; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<AccessToken>>> {
    let me = in_person(t)?;
    let mut selection = TOKENS.select(params, t.caller(), crm_core::Scope::All)?;
    selection.and(TOKENS.compare("created_by", "=", Value::Uuid(me.0)));
    let page = selection
        .run(t, async |t, f| {
            let query = access_tokens::table
                .filter(f.filter)
                .order_by(f.slice)
                .select((AccessToken::as_select(), selection.keys()));
            Ok(query.load(t.conn()?).await?)
        })
        .await?;
    selection.shape.page(t, page).await
}

/// Makes a token for oneself and tells its owner by mail; `resources` are the parts of the API that a scope can name.
///
/// # Errors
/// `Forbidden` for whoever has not signed in; 422 for the body.
pub async fn create(
    t: &mut TenantTx,
    client: &Client,
    resources: &BTreeSet<&'static str>,
    new: NewAccessToken,
) -> Result<CreatedAccessToken> {
    let me = in_person(t)?;
    let scopes = Scopes::parse(&new.scopes, resources)?;
    let expires_at = end(t.now(), new.expires_at)?;
    let token = org_key::new(MARK, t.org());
    let access_token = diesel::insert_into(access_tokens::table)
        .values((
            access_tokens::org_id.eq(t.org()),
            access_tokens::id.eq(Uuid::now_v7()),
            access_tokens::created_at.eq(t.now()),
            access_tokens::created_by.eq(me),
            access_tokens::name.eq(&new.name),
            access_tokens::digest.eq(secret::digest(&token)),
            access_tokens::token_prefix.eq(org_key::shown(&token)),
            access_tokens::scopes.eq(serde_json::to_value(&scopes).map_err(Error::internal)?),
            access_tokens::expires_at.eq(expires_at),
        ))
        .returning(AccessToken::as_returning())
        .get_result(t.conn()?)
        .await?;
    let event = Event::done(EventKind::TokenCreated).user(t.caller().user);
    let event = event.detail("token", access_token.id.to_string());
    event.detail("scopes", json!(scopes)).record(t, client).await?;
    tell_owner(t, &access_token).await?;
    Ok(CreatedAccessToken { access_token, token })
}

/// Revokes a token of one's own, from its next use on. Doing it again changes nothing.
///
/// # Errors
/// `Forbidden` for whoever has not signed in; `NotFound`.
pub async fn revoke(t: &mut TenantTx, client: &Client, id: Uuid) -> Result<()> {
    let me = in_person(t)?;
    let mine = access_tokens::org_id.eq(t.org()).and(access_tokens::id.eq(id));
    let this = access_tokens::table.filter(mine.and(access_tokens::created_by.eq(me)));
    this.select(access_tokens::id).for_no_key_update().first::<Uuid>(t.conn()?).await?;
    end_now(t, client, id, me).await
}

/// Revokes every token of a member who has left, so that none comes back to life with an invitation back.
pub(crate) async fn revoke_of(t: &mut TenantTx, owner: Uuid) -> Result<()> {
    let open = access_tokens::org_id.eq(t.org()).and(access_tokens::created_by.eq(owner));
    diesel::update(access_tokens::table.filter(open.and(access_tokens::revoked_at.is_null())))
        .set(access_tokens::revoked_at.eq(t.now()))
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// The member who acts: in person, not through a token.
fn in_person(t: &TenantTx) -> Result<MemberId> {
    let caller = t.caller();
    caller
        .member
        .filter(|_| caller.session.is_some())
        .ok_or_else(|| Error::Forbidden("tokens are managed by a member who has signed in".into()))
}

fn end(now: DateTime<Utc>, wanted: Option<DateTime<Utc>>) -> Result<DateTime<Utc>> {
    let end = wanted.map_or(now + DEFAULT_LIFE, |wanted| wanted.trunc_subsecs(6));
    if end > now && end <= now + LONGEST_LIFE {
        return Ok(end);
    }
    let message = format!("must be in the future, by {} days at most", LONGEST_LIFE.num_days());
    Err(Error::field("expires_at", FieldCode::OutOfRange, message))
}

async fn end_now(t: &mut TenantTx, client: &Client, id: Uuid, owner: MemberId) -> Result<()> {
    let this = access_tokens::org_id.eq(t.org()).and(access_tokens::id.eq(id));
    let ended = diesel::update(access_tokens::table.filter(this.and(access_tokens::revoked_at.is_null())))
        .set(access_tokens::revoked_at.eq(t.now()))
        .execute(t.conn()?)
        .await?;
    if ended == 0 {
        return Ok(());
    }
    let event = Event::done(EventKind::TokenRevoked).user(t.caller().user);
    event.detail("token", id.to_string()).detail("owner", owner.to_string()).record(t, client).await
}

async fn tell_owner(t: &mut TenantTx, token: &AccessToken) -> Result<()> {
    let Some(user) = t.caller().user else { return Ok(()) };
    let account = users::table.find(user).select((users::email, users::name));
    let (email, name): (String, String) = account.first(t.conn()?).await?;
    let data = json!({
        "name": name,
        "org_name": t.caller().org.name,
        "token_name": token.name,
        "at": t.now().format("%Y-%m-%d %H:%M UTC").to_string(),
    });
    crm_mail::enqueue(t, &Message::new(email, Template::TokenCreated, data)).await
}
