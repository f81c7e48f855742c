use crm_core::{Result, TenantTx};
use crm_records::custom::fill;
use crm_schema::custom_fields;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kind of the job that brings the values of a field together for its filter; its payload is [`Backfill`].
pub const BACKFILL: &str = "custom_fields.backfill";

/// The next batch of records.
#[derive(Debug, Serialize, Deserialize)]
pub struct Backfill {
    /// The definition.
    pub definition_id: Uuid,
    /// Which turning on of its filter this belongs to: another one begins anew.
    pub backfill_id: Uuid,
    /// The last record of the batch before.
    pub after: Option<Uuid>,
}

/// Begins with the first batch, in the transaction that turns the filter on and has the module locked.
pub(crate) async fn begin(t: &mut TenantTx, definition: Uuid) -> Result<()> {
    let first = Backfill { definition_id: definition, backfill_id: Uuid::now_v7(), after: None };
    mark(t, definition, Some(first.backfill_id)).await?;
    go_on(t, first).await
}

/// Does a batch and puts in the job of the next one, or opens the filter when there is none. In the transaction of the job itself every
/// batch is done once.
///
/// # Errors
/// Those of the database.
pub async fn backfill(t: &mut TenantTx, job: Backfill) -> Result<()> {
    let current: Option<Option<Uuid>> = custom_fields::table
        .filter(custom_fields::org_id.eq(t.org()).and(custom_fields::id.eq(job.definition_id)))
        .filter(custom_fields::is_filterable)
        .select(custom_fields::backfill_id)
        .first(t.conn()?)
        .await
        .optional()?;
    if current.flatten() == Some(job.backfill_id) { go_on(t, job).await } else { Ok(()) }
}

async fn go_on(t: &mut TenantTx, job: Backfill) -> Result<()> {
    match fill(t, job.definition_id, job.after).await? {
        Some(last) => crm_jobs::enqueue(t, BACKFILL, &Backfill { after: Some(last), ..job }).await,
        None => mark(t, job.definition_id, None).await,
    }
}

async fn mark(t: &mut TenantTx, definition: Uuid, backfill: Option<Uuid>) -> Result<()> {
    let this =
        custom_fields::table.filter(custom_fields::org_id.eq(t.org()).and(custom_fields::id.eq(definition)));
    diesel::update(this).set(custom_fields::backfill_id.eq(backfill)).execute(t.conn()?).await?;
    Ok(())
}
