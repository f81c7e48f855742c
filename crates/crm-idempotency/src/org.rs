use chrono::{DateTime, TimeDelta, Utc};
use crm_core::{Error, MemberId, Result, Sealer, TenantTx};
use crm_schema::idempotency_keys as row;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::{Answer, Request, reused, running};

/// How long the answers of an organization are kept.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

diesel::define_sql_function! {
    fn pg_try_advisory_xact_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Bool;
}
diesel::define_sql_function! {
    fn hashtextextended(text: diesel::sql_types::Text, seed: diesel::sql_types::BigInt) -> diesel::sql_types::BigInt;
}

/// The answer that the caller's request had before. Without one the key is this transaction's until it ends.
///
/// # Errors
/// `RequestInProgress` while another transaction has the key; `IdempotencyKeyReused` for another request.
pub async fn recall(t: &mut TenantTx, request: &Request, sealer: &Sealer) -> Result<Option<Answer>> {
    let (org, member) = (t.org(), member(t)?);
    let lock = hashtextextended(format!("{org} {member} {}", request.key), 0);
    if !diesel::select(pg_try_advisory_xact_lock(lock)).get_result::<bool>(t.conn()?).await? {
        return Err(running());
    }
    let this = row::org_id.eq(org).and(row::membership_id.eq(member)).and(row::key.eq(&request.key));
    let known: Option<(String, String, DateTime<Utc>)> = row::table
        .filter(this)
        .select((row::fingerprint, row::answer, row::created_at))
        .first(t.conn()?)
        .await
        .optional()?;
    match known {
        None => Ok(None),
        Some((.., at)) if at < t.now() - KEPT => {
            diesel::delete(row::table.filter(this)).execute(t.conn()?).await?;
            Ok(None)
        }
        Some((fingerprint, ..)) if fingerprint != request.fingerprint => Err(reused()),
        Some((_, answer, _)) => Answer::open(sealer, &answer).map(Some),
    }
}

/// Keeps the answer of a request that [`recall`] knew nothing of, with the transaction that has its effect.
///
/// # Errors
/// Those of the database.
pub async fn remember(t: &mut TenantTx, request: &Request, answer: &Answer, sealer: &Sealer) -> Result<()> {
    let (org, member, now) = (t.org(), member(t)?, t.now());
    diesel::insert_into(row::table)
        .values((
            row::org_id.eq(org),
            row::membership_id.eq(member),
            row::key.eq(&request.key),
            row::fingerprint.eq(&request.fingerprint),
            row::answer.eq(answer.seal(sealer)?),
            row::created_at.eq(now),
        ))
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// Removes the answers of an organization that are too old to be asked for.
///
/// # Errors
/// Those of the database.
pub async fn forget(t: &mut TenantTx) -> Result<usize> {
    let old = row::org_id.eq(t.org()).and(row::created_at.lt(t.now() - KEPT));
    Ok(diesel::delete(row::table.filter(old)).execute(t.conn()?).await?)
}

fn member(t: &TenantTx) -> Result<MemberId> {
    t.actor().ok_or_else(|| Error::internal("an idempotency key is a member's"))
}
