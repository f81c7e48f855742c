use crm_core::{MemberId, Result, TenantTx};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Links;

/// The kind of the job that tells members of a record that is theirs now; its payload is [`Assigned`].
pub const ASSIGNED: &str = "assigned";

/// Members to whom a record was assigned.
#[derive(Debug, Serialize, Deserialize)]
pub struct Assigned {
    /// What kind of record.
    pub kind: String,
    /// Its module, as in its path.
    pub module: String,
    /// The record.
    pub record_id: Uuid,
    /// What it is called.
    pub title: String,
    /// To whom.
    pub members: Vec<MemberId>,
    /// By whom; none for the program itself.
    pub by: Option<MemberId>,
}

/// Has those told to whom a record is assigned now and was not before. Who assigns something to themselves knows, and of a
/// [quiet](TenantTx::keep_quiet) transaction nobody hears.
///
/// # Errors
/// Those of the database.
pub async fn tell_assignees(
    t: &mut TenantTx,
    (kind, module): (&str, &str),
    record_id: Uuid,
    title: String,
    (old, new): (&Links, &Links),
) -> Result<()> {
    let by = t.actor();
    let came = new.assigned_to.iter().filter(|id| !old.assigned_to.contains(id) && by != Some(**id));
    let members: Vec<_> = came.copied().collect();
    if members.is_empty() || t.is_quiet() {
        return Ok(());
    }
    let (kind, module) = (kind.to_owned(), module.to_owned());
    crm_jobs::enqueue(t, ASSIGNED, &Assigned { kind, module, record_id, title, members, by }).await
}
