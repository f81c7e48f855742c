//! Links sent by mail that prove an address, once and for a while.

use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{Code, Error, Result, Tx, UserId};
use crm_schema::email_tokens as row;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::secret;

crm_core::text_enum!(
    /// What a link is for.
    Purpose {
        VerifyEmail = "verify_email",
        ResetPassword = "reset_password",
    }
);

impl Purpose {
    /// How long its links can be used.
    pub(crate) fn ttl(self) -> TimeDelta {
        match self {
            Self::VerifyEmail => TimeDelta::hours(48),
            Self::ResetPassword => TimeDelta::hours(1),
        }
    }
}

/// Whom a link proves to read mail to which address.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = row)]
pub(crate) struct Proof {
    pub(crate) user_id: UserId,
    pub(crate) email_normalized: String,
}

/// Makes a token for a link. Earlier ones stay usable, so that asking again burns nobody's link.
pub(crate) async fn issue(
    tx: &mut impl Tx,
    purpose: Purpose,
    user: UserId,
    email_normalized: &str,
) -> Result<String> {
    let token = secret::token();
    let now = tx.now();
    diesel::insert_into(row::table)
        .values((
            row::digest.eq(secret::digest(&token)),
            row::user_id.eq(user),
            row::purpose.eq(purpose),
            row::email_normalized.eq(email_normalized),
            row::created_at.eq(now),
            row::expires_at.eq(now + purpose.ttl()),
        ))
        .execute(tx.conn()?)
        .await?;
    Ok(token)
}

/// Looks at a token without using it.
pub(crate) async fn peek(tx: &mut impl Tx, purpose: Purpose, token: &str) -> Result<Proof> {
    let usable = row::used_at.is_null().and(row::expires_at.gt(tx.now()));
    let found = row::table.find(secret::digest(token)).filter(row::purpose.eq(purpose).and(usable));
    found.select(Proof::as_select()).first(tx.conn()?).await.optional()?.ok_or_else(unusable)
}

/// Uses a token up.
///
/// # Errors
/// `TokenUnusable` when it is unknown, used or too old.
pub(crate) async fn consume(tx: &mut impl Tx, purpose: Purpose, token: &str) -> Result<Proof> {
    let now = tx.now();
    let usable = row::used_at.is_null().and(row::expires_at.gt(now));
    diesel::update(row::table.find(secret::digest(token)).filter(row::purpose.eq(purpose).and(usable)))
        .set(row::used_at.eq(now))
        .returning(Proof::as_returning())
        .get_result(tx.conn()?)
        .await
        .optional()?
        .ok_or_else(unusable)
}

/// Uses up every token of the account for this purpose.
pub(crate) async fn void(tx: &mut impl Tx, purpose: Purpose, user: UserId) -> Result<()> {
    let open = row::user_id.eq(user).and(row::purpose.eq(purpose)).and(row::used_at.is_null());
    diesel::update(row::table.filter(open)).set(row::used_at.eq(tx.now())).execute(tx.conn()?).await?;
    Ok(())
}

/// Removes tokens that can't be used any more.
pub(crate) async fn sweep(tx: &mut impl Tx, before: DateTime<Utc>) -> Result<usize> {
    Ok(diesel::delete(row::table.filter(row::expires_at.lt(before))).execute(tx.conn()?).await?)
}

pub(crate) fn unusable() -> Error {
    Error::Refused(Code::TokenUnusable, "the link was used already, has expired or is not complete".into())
}
