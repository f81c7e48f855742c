//! Leads by the hundred.

use crm_access::Require;
use crm_core::{Result, TenantTx};
use crm_records::custom::{CustomValues, Definitions, Filtered};
use crm_records::list::{Rel, check_related};
use crm_records::{
    Base, Links, Module, RecordInput, Verdicts, base_values, contacts, created_many, position, tally,
};
use crm_schema::leads;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::follow_up::{Days, FollowUp};
use crate::model::{LEADS, Lead, LeadFields};
use crate::service::{Converting, Leads, email_taken};

/// Adds leads as [`create`](crate::create) does each, and tells nobody.
///
/// # Errors
/// `Forbidden` without `leads.add_lead`; any for which none is added.
pub async fn create_many(
    t: &mut TenantTx,
    inputs: Vec<RecordInput<LeadFields>>,
    dry: bool,
) -> Result<Verdicts> {
    t.require(Leads::ADD)?;
    let definitions = Definitions::for_writing(t, &LEADS).await?;
    let (mut verdicts, mut made, mut values) = (Verdicts::new(), Vec::new(), Vec::new());
    for input in inputs {
        let judged = judge(t, input, &definitions);
        verdicts.push(judged.map(|(lead, filtered)| {
            let base = lead.base.clone();
            values.push((base.id, filtered));
            made.push(lead);
            base
        }));
    }
    let people: Vec<_> = made.iter().flat_map(|lead| lead.fields.contacts.iter().copied()).collect();
    check_related(t, Rel::Contact, "contacts", &people).await?;
    if dry || made.is_empty() {
        return Ok(verdicts);
    }
    let kind = LEADS.resource.kind;
    created_many(t, kind, made.iter().map(|lead| (&lead.base, lead.described()))).await?;
    let rows: Vec<_> = made
        .iter()
        .map(|lead| {
            (
                base_values!(leads, lead.base),
                &lead.fields,
                leads::is_sample.eq(lead.is_sample),
                leads::position.eq(&lead.position),
                leads::custom_fields.eq(&lead.custom_fields),
            )
        })
        .collect();
    diesel::insert_into(leads::table).values(rows).execute(t.conn()?).await.map_err(email_taken)?;
    Links::store_many(t, made.iter().map(|lead| (lead.base.id, &lead.links))).await?;
    for lead in made.iter().filter(|lead| !lead.fields.contacts.is_empty()) {
        contacts::store(t, lead.base.id, &[], &lead.fields.contacts).await?;
    }
    tally::moved(t, kind, None, made.iter().map(|lead| lead.fields.tally())).await?;
    Filtered::store_many(t, values.into_iter()).await?;
    Ok(verdicts)
}

fn judge(
    t: &TenantTx,
    input: RecordInput<LeadFields>,
    definitions: &Definitions,
) -> Result<(Lead, Filtered)> {
    Converting::Refused.judge(None, input.fields.status)?;
    let fields = input.fields.settle(&t.caller().org.currency)?;
    let (custom_fields, values) = input.custom.judge(definitions, &CustomValues::default())?;
    let base = Base::new(t);
    let lead = Lead {
        position: position::newest(base.id),
        follow_up: FollowUp::of(&base, &fields, Days::of(t)),
        base,
        fields,
        is_sample: false,
        stage_id: None,
        links: input.links,
        custom_fields,
    };
    Ok((lead, values))
}
