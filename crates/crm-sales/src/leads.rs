//! Leads for whoever writes them: those of crm-leads, with the conversion where a status asks for it.

use crm_core::{Result, TenantTx};
use crm_leads::{Converting, LEADS, Lead, LeadFields, LeadMove, delete, find, list};
use crm_records::{Edit, Module, Precondition, RecordInput};
use uuid::Uuid;

use crate::convert::converted;
use crate::model::ConversionRequest;

crm_records::module!(
    /// Leads, for what serves every module alike. A status of `converted` converts, but for leads that come in by the hundred: of those
    /// none is converted, and a row that asks for it is refused.
    Leads {
        name: <crm_leads::Leads as Module>::NAME,
        target: LEADS,
        add: <crm_leads::Leads as Module>::ADD,
        delete: <crm_leads::Leads as Module>::DELETE,
        fields: LeadFields,
        record: Lead,
        many: crm_leads::create_many,
        moment: Lead::moment
    }
);

/// Adds a lead, and converts it where its status says so.
///
/// # Errors
/// Those of [`crm_leads::create`] and of [`crate::convert`].
pub async fn create(t: &mut TenantTx, input: RecordInput<LeadFields>) -> Result<Lead> {
    let (lead, converts) = crm_leads::create_towards(t, input, Converting::Left).await?;
    follow(t, lead, converts).await
}

/// Changes a lead, and converts it where its new status says so.
///
/// # Errors
/// Those of [`crm_leads::update`] and of [`crate::convert`].
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Lead> {
    let (lead, converts) = crm_leads::update_towards(t, id, edit, Converting::Left).await?;
    follow(t, lead, converts).await
}

/// Moves a lead's card, and converts it where its new status or stage says so.
///
/// # Errors
/// Those of [`crm_leads::move_card`] and of [`crate::convert`].
pub async fn move_card(
    t: &mut TenantTx,
    id: Uuid,
    to: LeadMove,
    precondition: &Precondition,
) -> Result<Lead> {
    let (lead, converts) = crm_leads::move_towards(t, id, to, precondition, Converting::Left).await?;
    follow(t, lead, converts).await
}

async fn follow(t: &mut TenantTx, lead: Lead, converts: bool) -> Result<Lead> {
    if !converts {
        return Ok(lead);
    }
    Ok(converted(t, lead.base.id, ConversionRequest::default()).await?.1)
}
