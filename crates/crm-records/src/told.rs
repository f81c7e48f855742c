use crm_core::{MemberId, Result, TenantTx};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The kind of the job that tells members of something; its payload is [`Told`].
pub const TOLD: &str = "told";

/// What members are told of a record, beside its assignment and its comments.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// What happened: a word of the notifications.
    pub verb: String,
    /// The same however often it is told: nobody hears it twice.
    pub event_id: Uuid,
    /// What kind of record.
    pub kind: String,
    /// The record.
    pub record_id: Uuid,
    /// What it is called.
    pub title: String,
    /// Whom; those who may not read the record do not hear of it.
    pub members: Vec<MemberId>,
    /// Who did it; none for the program itself.
    pub by: Option<MemberId>,
    /// More, by verb.
    pub data: Value,
}

/// Has members told of a record, unless the transaction is [quiet](TenantTx::keep_quiet).
///
/// # Errors
/// Those of the database.
pub async fn tell(t: &mut TenantTx, told: &Told) -> Result<()> {
    if told.members.is_empty() || t.is_quiet() {
        return Ok(());
    }
    crm_jobs::enqueue(t, TOLD, told).await
}
