//! How much an organization keeps in the file store.
//!
//! Whoever adds or deletes files locks this row before any row of theirs or of the record they hang on, so that the count stays right
//! and nobody waits in a circle.

use crm_core::{Code, Error, Result, TenantTx};
use crm_schema::{attachments, storage_usage as row};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::TryStreamExt;
use serde::Serialize;

/// What an organization keeps, and how much it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// The bytes of all its files.
    pub used_bytes: i64,
    /// How many files they are.
    pub files: i64,
    /// How many bytes it may keep; null for any number.
    pub quota_bytes: Option<i64>,
}

/// What the organization keeps at present.
///
/// # Errors
/// Those of the database.
pub async fn find(t: &mut TenantTx, quota_bytes: Option<i64>) -> Result<Usage> {
    let this = row::table.filter(row::org_id.eq(t.org())).select((row::used_bytes, row::files));
    let (used_bytes, files) = this.first(t.conn()?).await.optional()?.unwrap_or_default();
    Ok(Usage { used_bytes, files, quota_bytes })
}

/// Counts a file in. Two that come at once are counted one after the other, so that the quota holds.
///
/// # Errors
/// `QuotaExceeded`, and then the transaction must not commit.
pub async fn count_in(t: &mut TenantTx, bytes: i64, quota_bytes: Option<i64>) -> Result<()> {
    let used: i64 = diesel::insert_into(row::table)
        .values((row::org_id.eq(t.org()), row::used_bytes.eq(bytes), row::files.eq(1)))
        .on_conflict(row::org_id)
        .do_update()
        .set((row::used_bytes.eq(row::used_bytes + bytes), row::files.eq(row::files + 1)))
        .returning(row::used_bytes)
        .get_result(t.conn()?)
        .await?;
    match quota_bytes {
        Some(quota) if used > quota => Err(exceeded(quota)),
        _ => Ok(()),
    }
}

/// Has files neither come nor go until the transaction ends.
///
/// # Errors
/// Those of the database.
pub(crate) async fn lock(t: &mut TenantTx) -> Result<()> {
    diesel::insert_into(row::table)
        .values((row::org_id.eq(t.org()), row::used_bytes.eq(0), row::files.eq(0)))
        .on_conflict(row::org_id)
        .do_update()
        .set(row::files.eq(row::files))
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// Counts the files anew, whatever was counted before.
///
/// # Errors
/// Those of the database.
pub async fn recount(t: &mut TenantTx) -> Result<()> {
    let org = t.org();
    let this = row::table.filter(row::org_id.eq(org));
    if this.select(row::files).for_update().first::<i64>(t.conn()?).await.optional()?.is_none() {
        // There was never any file.
        return Ok(());
    }
    let sizes = attachments::table.filter(attachments::org_id.eq(org)).select(attachments::size_bytes);
    let sizes = sizes.load_stream::<i64>(t.conn()?).await?;
    let counted = sizes.try_fold((0, 0), async |(bytes, files), size| Ok((bytes + size, files + 1)));
    let (bytes, files): (i64, i64) = counted.await?;
    diesel::update(this).set((row::used_bytes.eq(bytes), row::files.eq(files))).execute(t.conn()?).await?;
    Ok(())
}

/// Counts files out.
///
/// # Errors
/// Those of the database.
pub async fn count_out(t: &mut TenantTx, bytes: i64, files: i64) -> Result<()> {
    diesel::update(row::table.filter(row::org_id.eq(t.org())))
        .set((row::used_bytes.eq(row::used_bytes - bytes), row::files.eq(row::files - files)))
        .execute(t.conn()?)
        .await?;
    Ok(())
}

/// The refusal of a file that there is no room for.
pub fn exceeded(quota_bytes: i64) -> Error {
    let message = format!("the organization may keep {quota_bytes} bytes of files: delete some first");
    Error::Refused(Code::QuotaExceeded, message.into())
}
