use crm_access::Require;
use crm_core::body::Object;
use crm_core::{Error, Result, TenantTx};
use crm_leads::{LEADS, Lead};
use crm_records::sources;
use crm_schema::{accounts, conversions};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::carry::Carried;
use crate::model::{Conversion, ConversionRequest, Undo};
use crate::parts;

/// Converts a lead into an account, a contact and an opportunity. A lead that is converted already answers what became of it, whatever
/// is asked; whoever asks at the same time waits and is answered the same.
///
/// # Errors
/// `Forbidden` without `leads.change_lead`, or the permission to add what is to be made; `NotFound`; `Conflict` for an account or contact
/// that has the name or e-mail address and that the caller may not see; 422 for a lead without an e-mail address and for the fields.
pub async fn convert(t: &mut TenantTx, id: Uuid, request: ConversionRequest) -> Result<Conversion> {
    Ok(converted(t, id, request).await?.0)
}

/// What became of a lead.
///
/// # Errors
/// `Forbidden` without `leads.view_lead`; `NotFound` for a lead that is not there, or not converted.
pub async fn find_conversion(t: &mut TenantTx, id: Uuid) -> Result<Conversion> {
    t.require(LEADS.view)?;
    LEADS.check_view(t, id).await?;
    Ok(stored(t, id).await?.ok_or(Error::NotFound)?.0)
}

/// The conversion of a lead, with the lead as it is afterwards.
pub(crate) async fn converted(
    t: &mut TenantTx,
    id: Uuid,
    request: ConversionRequest,
) -> Result<(Conversion, Lead)> {
    let lead = crm_leads::lock(t, id).await?;
    match stored(t, id).await? {
        Some((conversion, _)) => Ok((conversion, lead)),
        None => carry_out(t, lead, request).await,
    }
}

/// The conversion of a lead as it is stored, and how to undo it.
pub(crate) async fn stored(t: &mut TenantTx, id: Uuid) -> Result<Option<(Conversion, Value)>> {
    let this = conversions::table.filter(conversions::org_id.eq(t.org()).and(conversions::lead_id.eq(id)));
    let row = this.select((Conversion::as_select(), conversions::undo));
    Ok(row.first(t.conn()?).await.optional()?)
}

async fn carry_out(t: &mut TenantTx, lead: Lead, request: ConversionRequest) -> Result<(Conversion, Lead)> {
    let id = lead.base.id;
    let carried = Carried::of(t, &lead).await?;
    parts::check_address(&carried, &request.contact)?;
    let mut account = parts::account(t, &carried, request.account).await?;
    let contact = parts::contact(t, &carried, &account, request.contact).await?;
    if account.made.is_some() {
        // The contact came to it, which made it another version.
        let this = accounts::table.filter(accounts::org_id.eq(t.org()).and(accounts::id.eq(account.id)));
        account.made = Some(this.select(accounts::version).first(t.conn()?).await?);
    }
    let contact_id = contact.as_ref().map(|contact| contact.id);
    let opportunity = parts::opportunity(t, &carried, (account.id, contact_id), request.opportunity).await?;
    let conversion = Conversion {
        lead_id: id,
        account_id: Some(account.id),
        contact_id,
        opportunity_id: opportunity.as_ref().map(|opportunity| opportunity.id),
        converted_at: t.now(),
        converted_by: t.actor(),
    };
    // Comments and files stay with the lead, and are shown at the account and at the deal that was made. Not at the contact: whoever has
    // another account of that person looks at it too. Nor at a deal that was there, which is its own people's.
    let deal = opportunity.as_ref().filter(|part| part.made.is_some()).map(|part| part.id);
    for record in [Some(account.id), deal].into_iter().flatten() {
        sources::add(t, record, id).await?;
    }
    let undo = Undo { status: lead.fields.status, account, contact, opportunity };
    diesel::insert_into(conversions::table)
        .values((
            conversions::org_id.eq(t.org()),
            conversions::lead_id.eq(id),
            conversions::converted_at.eq(conversion.converted_at),
            conversions::converted_by.eq(conversion.converted_by),
            conversions::account_id.eq(conversion.account_id),
            conversions::contact_id.eq(conversion.contact_id),
            conversions::opportunity_id.eq(conversion.opportunity_id),
            conversions::undo.eq(serde_json::to_value(&undo).map_err(Error::internal)?),
        ))
        .execute(t.conn()?)
        .await?;
    let told = [
        ("account_id", conversion.account_id),
        ("contact_id", conversion.contact_id),
        ("opportunity_id", conversion.opportunity_id),
    ];
    let told: Object = told.into_iter().map(|(key, id)| (key.to_owned(), json!([Value::Null, id]))).collect();
    let lead = crm_leads::mark_converted(t, &lead, told).await?;
    Ok((conversion, lead))
}
