//! Contacts by the hundred.

use crm_access::Require;
use crm_core::{Result, TenantTx};
use crm_records::custom::{CustomValues, Definitions, Filtered};
use crm_records::duplicates;
use crm_records::list::{Rel, check_related};
use crm_records::{
    Base, Links, Module, RecordInput, Verdicts, base_values, contacts as people, created_many, tally,
};
use crm_schema::contacts;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::Contacts;
use crate::model::{CONTACTS, Contact, ContactFields};
use crate::service::email_taken;

/// Adds contacts as [`create`](crate::create) does each, and tells nobody.
///
/// # Errors
/// `Forbidden` without `contacts.add_contact`; any for which none is added.
pub(crate) async fn create_many(
    t: &mut TenantTx,
    inputs: Vec<RecordInput<ContactFields>>,
    dry: bool,
) -> Result<Verdicts> {
    t.require(Contacts::ADD)?;
    let definitions = Definitions::for_writing(t, &CONTACTS).await?;
    let (mut verdicts, mut made, mut values) = (Verdicts::new(), Vec::new(), Vec::new());
    for input in inputs {
        let judged = judge(t, input, &definitions).await;
        verdicts.push(judged.map(|(contact, filtered)| {
            let base = contact.base.clone();
            values.push((base.id, filtered));
            made.push(contact);
            base
        }));
    }
    let accounts: Vec<_> = made.iter().filter_map(|contact| contact.fields.account_id).collect();
    check_related(t, Rel::Account, "account_id", &accounts).await?;
    if dry || made.is_empty() {
        return Ok(verdicts);
    }
    let kind = CONTACTS.resource.kind;
    created_many(t, kind, made.iter().map(|contact| (&contact.base, contact.described()))).await?;
    let rows: Vec<_> = made
        .iter()
        .map(|contact| {
            (
                base_values!(contacts, contact.base),
                &contact.fields,
                contacts::is_sample.eq(contact.is_sample),
                contacts::custom_fields.eq(&contact.custom_fields),
            )
        })
        .collect();
    diesel::insert_into(contacts::table).values(rows).execute(t.conn()?).await.map_err(email_taken)?;
    Links::store_many(t, made.iter().map(|contact| (contact.base.id, &contact.links))).await?;
    let of_accounts = made.iter().filter_map(|contact| Some((contact.fields.account_id?, contact.base.id)));
    people::join_many(t, of_accounts).await?;
    tally::moved(t, kind, None, made.iter().map(|contact| contact.fields.tally())).await?;
    Filtered::store_many(t, values.into_iter()).await?;
    Ok(verdicts)
}

async fn judge(
    t: &mut TenantTx,
    input: RecordInput<ContactFields>,
    definitions: &Definitions,
) -> Result<(Contact, Filtered)> {
    let fields = input.fields.settle();
    if !input.allow_duplicate {
        duplicates::refuse(t, Rel::Contact, Contacts::NAME, &fields.likenesses()).await?;
    }
    let (custom_fields, values) = input.custom.judge(definitions, &CustomValues::default())?;
    let contact = Contact {
        base: Base::new(t),
        accounts: fields.account_id.into_iter().collect(),
        fields,
        is_sample: false,
        auto_created: false,
        links: input.links,
        custom_fields,
    };
    Ok((contact, values))
}
