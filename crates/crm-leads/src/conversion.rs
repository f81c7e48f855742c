//! The lead's side of its conversion: what crm-sales calls, which makes the other records.

use crm_core::body::Object;
use crm_core::{Result, TenantTx};
use crm_records::{acted, base_changes, tally};
use crm_schema::leads;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use crate::follow_up::{Days, FollowUp};
use crate::model::{LEADS, Lead, LeadFields, LeadStatus};
use crate::service::locked;
use crate::stages;

/// A lead that the caller may change, locked until the transaction ends.
///
/// # Errors
/// `Forbidden` without `leads.change_lead` or beyond its scope; `NotFound`.
pub async fn lock(t: &mut TenantTx, id: Uuid) -> Result<Lead> {
    locked(t, LEADS.change, id).await
}

/// Makes a locked lead a converted one; `into` is what its history tells of that beside the status.
///
/// # Errors
/// Those of the database.
pub async fn mark_converted(t: &mut TenantTx, lead: &Lead, into: Object) -> Result<Lead> {
    stand(t, lead, (Some(LeadStatus::Converted), lead.stage_id), "converted", into).await
}

/// Gives a locked lead the status back that it had before its conversion. Where its stage has gone out of use, it comes to the board of
/// statuses.
///
/// # Errors
/// Those of the database.
pub async fn mark_unconverted(t: &mut TenantTx, lead: &Lead, status: Option<LeadStatus>) -> Result<Lead> {
    let stage = match lead.stage_id {
        Some(stage) if stages::is_in_use(t, stage).await? => Some(stage),
        _ => None,
    };
    stand(t, lead, (status, stage), "unconverted", Object::new()).await
}

async fn stand(
    t: &mut TenantTx,
    old: &Lead,
    (status, stage_id): (Option<LeadStatus>, Option<Uuid>),
    action: &'static str,
    mut told: Object,
) -> Result<Lead> {
    let base = old.base.next(t);
    let fields = LeadFields { status, ..old.fields.clone() };
    let follow_up = FollowUp::of(&base, &fields, Days::of(t));
    let new = Lead { base, fields, stage_id, follow_up, ..old.clone() };
    diesel::update(leads::table.filter(leads::org_id.eq(t.org()).and(leads::id.eq(new.base.id))))
        .set((base_changes!(leads, new.base), leads::status.eq(status), leads::stage_id.eq(stage_id)))
        .execute(t.conn()?)
        .await?;
    tally::moved(t, LEADS.resource.kind, [old.fields.tally()], [new.fields.tally()]).await?;
    told.insert("status".into(), json!([old.fields.status, status]));
    if stage_id != old.stage_id {
        told.insert("stage_id".into(), json!([old.stage_id, stage_id]));
    }
    acted(t, LEADS.resource.kind, &new.base, action, told).await?;
    Ok(new)
}
