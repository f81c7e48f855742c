use chrono::TimeDelta;
use crm_core::{Result, TenantTx};
use crm_jobs::enqueue;
use crm_schema::notifications;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

/// The kind of the job that deletes what was read long ago.
pub const PURGE: &str = "notifications.purge";

/// For how long a read notification is kept.
const KEPT: TimeDelta = TimeDelta::days(90);

/// How many one transaction deletes.
const BATCH: usize = 5000;

/// Deletes the organization's notifications that were read 90 days ago or longer, and puts itself in again where there are more.
pub(crate) async fn purge(t: &mut TenantTx) -> Result<()> {
    let old = notifications::org_id.eq(t.org()).and(notifications::read_at.lt(t.now() - KEPT));
    let batch: Vec<Uuid> = notifications::table
        .filter(old)
        .limit(BATCH as i64)
        .select(notifications::id)
        .load(t.conn()?)
        .await?;
    let these = notifications::org_id.eq(t.org()).and(notifications::id.eq_any(&batch));
    diesel::delete(notifications::table.filter(these)).execute(t.conn()?).await?;
    if batch.len() == BATCH {
        enqueue(t, PURGE, &json!({})).await?;
    }
    Ok(())
}
