//! Platform administrators: how somebody becomes one, and what they do with organizations. They never look inside one.

use chrono::{DateTime, Utc};
use crm_core::{Code, Error, FieldCode, OrgId, PlatformTx, Result, Tx, UserId};
use crm_records::list::{Page, Params};
use crm_schema::{organizations, platform_admins};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use crate::events::{Client, Event, EventKind};
use crate::users::{Account, NewUser, User, is_member_anywhere, lock, verified};
use crate::{SignedInUser, passwords};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// An organization as platform administrators see it.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = organizations)]
pub struct PlatformOrg {
    /// Its id.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// False while it is suspended: nobody can work in it.
    pub is_active: bool,
    /// When it was founded.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Somebody to be made a platform administrator.
#[derive(Debug, Clone, Copy)]
pub struct NewPlatformAdmin<'a> {
    /// Their address.
    pub email: &'a str,
    /// The hash of the password that the account gets. Without it an existing account keeps its own if its address is proven.
    pub password_hash: Option<&'a str>,
    /// Whether anything is to be allowed to them at all.
    pub is_superuser: bool,
    /// Who decided, for the audit trail: `command line`, say.
    pub by: &'a str,
}

/// Makes somebody a platform administrator, with a new account where the address has none. A password that is given replaces the old
/// one, ends every session and makes the address count as proven: whoever gives it vouches for it.
///
/// # Errors
/// `Conflict` for an account that belongs to organizations, that is shut out, or whose address was never proven if no password is
/// given, for a stranger may have made it; 422 without a password for a new account.
pub async fn grant_platform_admin(p: &mut PlatformTx, new: NewPlatformAdmin<'_>) -> Result<User> {
    let email = crm_core::rules::normalize_email(new.email);
    let user = match Account::by_email(p, &email).await? {
        Some(Account { user, .. }) => existing(p, user, &email, new.password_hash).await?,
        None => {
            let missing = || Error::field("password", FieldCode::Required, "is required to make an account");
            let password_hash = new.password_hash.ok_or_else(missing)?;
            NewUser { email: new.email, name: None, password_hash: Some(password_hash), verified: true }
                .insert(p)
                .await?
        }
    };
    grant(p, &Client::default(), user.id, new.is_superuser, new.by).await?;
    Ok(user)
}

/// An account that was there before, rid of whoever may have made it.
async fn existing(
    p: &mut PlatformTx,
    user: User,
    email_normalized: &str,
    password_hash: Option<&str>,
) -> Result<User> {
    lock(p, user.id).await?;
    let conflict = |message: &'static str| Error::Refused(Code::Conflict, message.into());
    if is_member_anywhere(p, user.id).await? {
        return Err(conflict(
            "the account belongs to organizations: a platform administrator needs an address of their own",
        ));
    }
    match password_hash {
        Some(hash) => {
            let replaced = passwords::replace(p, &Client::default(), user.id, email_normalized, hash).await?;
            replaced.ok_or_else(|| conflict("the account is shut out"))?;
            verified(p, user.id).await
        }
        None if user.email_verified_at.is_none() => Err(conflict(
            "the address of the account was never proven, so anybody may have made it: give it a new password",
        )),
        None => Ok(user),
    }
}

/// Makes an account a platform administrator, and answers whether it was none before; one that is already stays as it is.
pub(crate) async fn grant(
    tx: &mut impl Tx,
    client: &Client,
    user: UserId,
    is_superuser: bool,
    by: &str,
) -> Result<bool> {
    let granted = diesel::insert_into(platform_admins::table)
        .values((
            platform_admins::user_id.eq(user),
            platform_admins::is_superuser.eq(is_superuser),
            platform_admins::granted_by.eq(by),
            platform_admins::granted_at.eq(tx.now()),
        ))
        .on_conflict_do_nothing()
        .execute(tx.conn()?)
        .await?;
    if granted == 0 {
        return Ok(false);
    }
    let event = Event::done(EventKind::PlatformAdminGranted).user(user);
    event.detail("by", by).detail("is_superuser", is_superuser).record(tx, client).await?;
    Ok(true)
}

/// Lists the organizations, newest first; `limit` and the cursor of the last page's link are all it takes.
///
/// # Errors
/// `Forbidden` without `platform.view_org`; 400 for parameters.
pub async fn list_orgs(
    p: &mut PlatformTx,
    client: &Client,
    admin: &SignedInUser,
    params: &Params,
) -> Result<Page<PlatformOrg>> {
    require(admin, "platform.view_org")?;
    let (limit, before) = page(params)?;
    let mut query = organizations::table
        .order_by(organizations::id.desc())
        .limit(limit + 1)
        .select(PlatformOrg::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(organizations::id.lt(before));
    }
    let mut results: Vec<PlatformOrg> = query.load(p.conn()?).await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = results.len() > wanted;
    results.truncate(wanted);
    let next =
        results.last().filter(|_| more).map(|org| format!("{}?limit={limit}&cursor={}", params.path, org.id));
    let event = Event::done(EventKind::PlatformAccess).user(admin.user.id);
    event.detail("listed", results.len()).record(p, client).await?;
    Ok(Page { count: None, next, previous: None, results })
}

fn page(params: &Params) -> Result<(i64, Option<OrgId>)> {
    let (mut limit, mut before) = (DEFAULT_LIMIT, None);
    for (key, value) in &params.pairs {
        match key.as_str() {
            "limit" => {
                limit =
                    value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
                        Error::parameter(
                            "limit",
                            FieldCode::OutOfRange,
                            format!("must be a whole number from 1 to {MAX_LIMIT}"),
                        )
                    })?;
            }
            "cursor" => {
                let cursor = value.parse().map_err(|_| {
                    Error::Refused(Code::InvalidCursor, "the cursor is not one of this list's".into())
                })?;
                before = Some(cursor);
            }
            _ => {
                let message = format!("there is no parameter {key}");
                return Err(Error::parameter(key, FieldCode::UnknownParameter, message));
            }
        }
    }
    Ok((limit, before))
}

/// One organization.
///
/// # Errors
/// `Forbidden` without `platform.view_org`; `NotFound`.
pub async fn find_org(
    p: &mut PlatformTx,
    client: &Client,
    admin: &SignedInUser,
    id: OrgId,
) -> Result<PlatformOrg> {
    require(admin, "platform.view_org")?;
    let org = organizations::table.find(id).select(PlatformOrg::as_select()).first(p.conn()?).await?;
    Event::done(EventKind::PlatformAccess).user(admin.user.id).org(id).record(p, client).await?;
    Ok(org)
}

/// Shuts everybody out of an organization, from their next request on.
///
/// # Errors
/// `Forbidden` without `platform.change_org`; `NotFound`.
pub async fn suspend_org(
    p: &mut PlatformTx,
    client: &Client,
    admin: &SignedInUser,
    id: OrgId,
) -> Result<PlatformOrg> {
    set_active(p, client, admin, id, false).await
}

/// Lets everybody into a suspended organization again.
///
/// # Errors
/// As [`suspend_org`].
pub async fn resume_org(
    p: &mut PlatformTx,
    client: &Client,
    admin: &SignedInUser,
    id: OrgId,
) -> Result<PlatformOrg> {
    set_active(p, client, admin, id, true).await
}

async fn set_active(
    p: &mut PlatformTx,
    client: &Client,
    admin: &SignedInUser,
    id: OrgId,
    is_active: bool,
) -> Result<PlatformOrg> {
    require(admin, "platform.change_org")?;
    let this = organizations::table.find(id).select(PlatformOrg::as_select());
    let old = this.for_no_key_update().first(p.conn()?).await?;
    if old.is_active == is_active {
        return Ok(old);
    }
    let new = diesel::update(organizations::table.find(id))
        .set((
            organizations::is_active.eq(is_active),
            organizations::version.eq(organizations::version + 1),
            organizations::updated_at.eq(p.now()),
        ))
        .returning(PlatformOrg::as_returning())
        .get_result(p.conn()?)
        .await?;
    let kind = if is_active { EventKind::OrgResumed } else { EventKind::OrgSuspended };
    Event::done(kind).user(admin.user.id).org(id).record(p, client).await?;
    Ok(new)
}

pub(crate) fn require(admin: &SignedInUser, permission: &str) -> Result<()> {
    if crm_access::has_perm(&admin.principal(), permission) {
        return Ok(());
    }
    Err(Error::Forbidden(format!("this needs the permission {permission}").into()))
}
