//! Opportunities by the hundred.

use crm_access::Require;
use crm_core::{Result, TenantTx};
use crm_records::custom::{CustomValues, Definitions, Filtered};
use crm_records::list::{Rel, check_related};
use crm_records::{Links, Module, RecordInput, Verdicts, base_values, contacts, created_many, tally};
use crm_schema::opportunities;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::model::{OPPORTUNITIES, Opportunity, OpportunityFields};
use crate::service::{Opportunities, name_taken, normalized, settled};

/// Adds opportunities as [`create`](crate::create) does each, and tells nobody.
///
/// # Errors
/// `Forbidden` without `opportunities.add_opportunity`; any for which none is added.
pub(crate) async fn create_many(
    t: &mut TenantTx,
    inputs: Vec<RecordInput<OpportunityFields>>,
    dry: bool,
) -> Result<Verdicts> {
    t.require(Opportunities::ADD)?;
    let definitions = Definitions::for_writing(t, &OPPORTUNITIES).await?;
    let (mut verdicts, mut made, mut values) = (Verdicts::new(), Vec::new(), Vec::new());
    for input in inputs {
        let judged = judge(t, input, &definitions);
        verdicts.push(judged.map(|(deal, filtered)| {
            let base = deal.base.clone();
            values.push((base.id, filtered));
            made.push(deal);
            base
        }));
    }
    let accounts: Vec<_> = made.iter().filter_map(|deal| deal.fields.account_id).collect();
    check_related(t, Rel::Account, "account_id", &accounts).await?;
    let people: Vec<_> = made.iter().flat_map(|deal| deal.fields.contacts.iter().copied()).collect();
    check_related(t, Rel::Contact, "contacts", &people).await?;
    if dry || made.is_empty() {
        return Ok(verdicts);
    }
    let kind = OPPORTUNITIES.resource.kind;
    created_many(t, kind, made.iter().map(|deal| (&deal.base, deal.described()))).await?;
    let rows: Vec<_> = made
        .iter()
        .map(|deal| {
            (
                base_values!(opportunities, deal.base),
                &deal.fields,
                &deal.kept,
                opportunities::name_normalized.eq(normalized(&deal.fields.name)),
                opportunities::probability.eq(deal.fields.probability.unwrap_or_default()),
                opportunities::custom_fields.eq(&deal.custom_fields),
            )
        })
        .collect();
    diesel::insert_into(opportunities::table).values(rows).execute(t.conn()?).await.map_err(name_taken)?;
    Links::store_many(t, made.iter().map(|deal| (deal.base.id, &deal.links))).await?;
    for deal in made.iter().filter(|deal| !deal.fields.contacts.is_empty()) {
        contacts::store(t, deal.base.id, &[], &deal.fields.contacts).await?;
    }
    tally::moved(t, kind, None, made.iter().map(|deal| deal.fields.tally())).await?;
    Filtered::store_many(t, values.into_iter()).await?;
    Ok(verdicts)
}

fn judge(
    t: &TenantTx,
    input: RecordInput<OpportunityFields>,
    definitions: &Definitions,
) -> Result<(Opportunity, Filtered)> {
    let (base, fields, kept) = settled(t, input.fields)?;
    let (custom_fields, values) = input.custom.judge(definitions, &CustomValues::default())?;
    Ok((Opportunity::made(base, fields, kept, input.links, custom_fields), values))
}
