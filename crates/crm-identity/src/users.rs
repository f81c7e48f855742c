use chrono::{DateTime, Utc};
use crm_core::{Error, Result, Tx, UserId};
use crm_schema::{platform_admins, user_orgs, users};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

/// A person's account.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = users)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The address it signs in with.
    pub email: String,
    /// What the person is called.
    pub name: String,
    /// A link to a picture.
    pub profile_pic: Option<String>,
    /// False when it is shut out everywhere.
    pub is_active: bool,
    /// When the person proved to read mail to the address.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// When the person last signed in.
    #[serde(rename = "last_login")]
    pub last_login_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A platform administrator's rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable, Serialize, utoipa::ToSchema)]
#[diesel(table_name = platform_admins)]
pub struct PlatformAdmin {
    /// Whether anything is allowed to them at all.
    pub is_superuser: bool,
}

/// An account with what proves it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct Account {
    #[diesel(embed)]
    pub(crate) user: User,
    pub(crate) email_normalized: String,
    pub(crate) password_hash: Option<String>,
}

impl Account {
    pub(crate) async fn by_email(tx: &mut impl Tx, email_normalized: &str) -> Result<Option<Self>> {
        let found =
            users::table.filter(users::email_normalized.eq(email_normalized)).select(Self::as_select());
        Ok(found.first(tx.conn()?).await.optional()?)
    }

    pub(crate) async fn by_id(tx: &mut impl Tx, id: UserId) -> Result<Self> {
        Ok(users::table.find(id).select(Self::as_select()).first(tx.conn()?).await?)
    }

    /// A digest of the password's hash, by which a later step of a sign-in notices that the password was changed.
    pub(crate) fn mark(&self) -> String {
        crate::secret::digest(self.password_hash.as_deref().unwrap_or_default())
    }
}

/// An account about to be made.
pub(crate) struct NewUser<'a> {
    pub(crate) email: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) password_hash: Option<&'a str>,
    /// Whether the address is proven already.
    pub(crate) verified: bool,
}

impl NewUser<'_> {
    /// # Errors
    /// `Duplicate` when the address has an account.
    pub(crate) async fn insert(self, tx: &mut impl Tx) -> Result<User> {
        let now = tx.now();
        let email = self.email.trim();
        let local_part = email.split('@').next().unwrap_or_default();
        let name = self.name.map(str::trim).filter(|name| !name.is_empty()).unwrap_or(local_part);
        diesel::insert_into(users::table)
            .values((
                users::id.eq(UserId::generate()),
                users::email.eq(email),
                users::email_normalized.eq(crm_core::rules::normalize_email(email)),
                users::password_hash.eq(self.password_hash),
                users::name.eq(name),
                users::email_verified_at.eq(self.verified.then_some(now)),
                users::created_at.eq(now),
                users::updated_at.eq(now),
            ))
            .returning(User::as_returning())
            .get_result(tx.conn()?)
            .await
            .map_err(|error| match Error::violated_unique(&error) {
                Some("users_email_normalized_key") => taken(),
                _ => error.into(),
            })
    }
}

pub(crate) fn taken() -> Error {
    Error::taken("email", "there is an account with this address already")
}

/// Holds the account until the transaction ends, so that nobody becomes a member and a platform administrator at once.
pub(crate) async fn lock(tx: &mut impl Tx, id: UserId) -> Result<()> {
    users::table.find(id).select(users::id).for_no_key_update().first::<UserId>(tx.conn()?).await?;
    Ok(())
}

/// Notes that the person reads mail to the address.
pub(crate) async fn verified(tx: &mut impl Tx, id: UserId) -> Result<User> {
    let now = tx.now();
    let unproven = users::table.filter(users::id.eq(id).and(users::email_verified_at.is_null()));
    diesel::update(unproven)
        .set((users::email_verified_at.eq(now), users::updated_at.eq(now)))
        .execute(tx.conn()?)
        .await?;
    Ok(users::table.find(id).select(User::as_select()).first(tx.conn()?).await?)
}

/// Notes that the person signed in.
pub(crate) async fn signed_in_now(tx: &mut impl Tx, id: UserId) -> Result<User> {
    Ok(diesel::update(users::table.find(id))
        .set(users::last_login_at.eq(tx.now()))
        .returning(User::as_returning())
        .get_result(tx.conn()?)
        .await?)
}

/// The account's rank on the platform, if it has one.
pub(crate) async fn platform_admin(tx: &mut impl Tx, id: UserId) -> Result<Option<PlatformAdmin>> {
    let found = platform_admins::table.find(id).select(PlatformAdmin::as_select());
    Ok(found.first(tx.conn()?).await.optional()?)
}

/// Whether the account is in any organization.
pub(crate) async fn is_member_anywhere(tx: &mut impl Tx, id: UserId) -> Result<bool> {
    Ok(diesel::select(exists(user_orgs::table.filter(user_orgs::user_id.eq(id))))
        .get_result(tx.conn()?)
        .await?)
}
