use crm_core::{Result, TenantTx};
use crm_records::custom::fill;
use crm_schema::custom_fields;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kind of the job that brings the values of a field together for its filter; its payload is [`Backfill`].
pub const BACKFILL: &str = "custom_fields.backfill";

/// A batch of records.
#[derive(Debug, Serialize, Deserialize)]
pub struct Backfill {
    /// The definition.
    pub definition_id: Uuid,
    /// Which turning on of its filter this belongs to: another one begins anew.
    pub backfill_id: Uuid,
    /// The last record of the batch before; none for the first one.
    pub after: Option<Uuid>,
}

/// Closes the filter and puts in the job of the first batch, in the transaction that turns the filter on. That one has the module locked
/// and so must not wait for records: whoever changes one locks it first and then asks for the module.
pub(crate) async fn begin(t: &mut TenantTx, definition: Uuid) -> Result<()> {
    let first = Backfill { definition_id: definition, backfill_id: Uuid::now_v7(), after: None };
    let this =
        custom_fields::table.filter(custom_fields::org_id.eq(t.org()).and(custom_fields::id.eq(definition)));
    let begun = custom_fields::backfill_id.eq(first.backfill_id);
    diesel::update(this).set(begun).execute(t.conn()?).await?;
    crm_jobs::enqueue(t, BACKFILL, &first).await
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
    if current.flatten() != Some(job.backfill_id) {
        return Ok(());
    }
    match fill(t, job.definition_id, job.after).await? {
        Some(last) => crm_jobs::enqueue(t, BACKFILL, &Backfill { after: Some(last), ..job }).await,
        None => open(t, &job).await,
    }
}

/// Opens the filter, unless it was turned off and on again meanwhile.
async fn open(t: &mut TenantTx, job: &Backfill) -> Result<()> {
    let this = custom_fields::table
        .filter(custom_fields::org_id.eq(t.org()).and(custom_fields::id.eq(job.definition_id)))
        .filter(custom_fields::backfill_id.eq(job.backfill_id));
    diesel::update(this).set(custom_fields::backfill_id.eq(None::<Uuid>)).execute(t.conn()?).await?;
    Ok(())
}
