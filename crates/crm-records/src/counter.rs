//! Numbers that count up in an organization, such as those of cases: without gaps, and without a word about other organizations.

use crm_core::{Error, Result, TenantTx};
use crm_schema::record_counters;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;

/// The next number of a kind, from 1. Whoever asks next waits until this transaction has ended, which gives it back if it fails; so it is
/// asked for late.
///
/// # Errors
/// Those of the database.
pub async fn next(t: &mut TenantTx, kind: &str) -> Result<i64> {
    next_many(t, kind, 1).await
}

/// The first of the next `count` numbers, which follow each other.
///
/// # Errors
/// Those of the database.
pub async fn next_many(t: &mut TenantTx, kind: &str, count: usize) -> Result<i64> {
    let count = i64::try_from(count.max(1)).map_err(Error::internal)?;
    let row = (
        record_counters::org_id.eq(t.org()),
        record_counters::kind.eq(kind),
        record_counters::last.eq(count),
    );
    let last: i64 = diesel::insert_into(record_counters::table)
        .values(row)
        .on_conflict((record_counters::org_id, record_counters::kind))
        .do_update()
        .set(record_counters::last.eq(record_counters::last + excluded(record_counters::last)))
        .returning(record_counters::last)
        .get_result(t.conn()?)
        .await?;
    Ok(last - count + 1)
}
