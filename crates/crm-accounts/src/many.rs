//! Accounts by the hundred.

use crm_access::Require;
use crm_core::{Result, TenantTx};
use crm_records::custom::{CustomValues, Definitions, Filtered};
use crm_records::duplicates;
use crm_records::list::{Rel, check_related};
use crm_records::{Base, Links, Module, RecordInput, Verdicts, base_values, contacts, created_many, tally};
use crm_schema::accounts;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::Accounts;
use crate::model::{ACCOUNTS, Account, AccountFields};
use crate::service::name_taken;

/// Adds accounts as [`create`](crate::create) does each, and tells nobody.
///
/// # Errors
/// `Forbidden` without `accounts.add_account`; any for which none is added.
pub(crate) async fn create_many(
    t: &mut TenantTx,
    inputs: Vec<RecordInput<AccountFields>>,
    dry: bool,
) -> Result<Verdicts> {
    t.require(Accounts::ADD)?;
    let definitions = Definitions::for_writing(t, &ACCOUNTS).await?;
    let (mut verdicts, mut made, mut values) = (Verdicts::new(), Vec::new(), Vec::new());
    for input in inputs {
        let judged = judge(t, input, &definitions).await;
        verdicts.push(judged.map(|(account, filtered)| {
            let base = account.base.clone();
            values.push((base.id, filtered));
            made.push(account);
            base
        }));
    }
    let people: Vec<_> = made.iter().flat_map(|account| account.fields.contacts.iter().copied()).collect();
    check_related(t, Rel::Contact, "contacts", &people).await?;
    if dry || made.is_empty() {
        return Ok(verdicts);
    }
    let kind = ACCOUNTS.resource.kind;
    created_many(t, kind, made.iter().map(|account| (&account.base, account.described()))).await?;
    let rows: Vec<_> = made
        .iter()
        .map(|account| {
            (
                base_values!(accounts, account.base),
                &account.fields,
                accounts::is_sample.eq(account.is_sample),
                accounts::custom_fields.eq(&account.custom_fields),
            )
        })
        .collect();
    diesel::insert_into(accounts::table).values(rows).execute(t.conn()?).await.map_err(name_taken)?;
    Links::store_many(t, made.iter().map(|account| (account.base.id, &account.links))).await?;
    for account in made.iter().filter(|account| !account.fields.contacts.is_empty()) {
        contacts::store(t, account.base.id, &[], &account.fields.contacts).await?;
    }
    tally::moved(t, kind, None, made.iter().map(|account| account.fields.tally())).await?;
    Filtered::store_many(t, values.into_iter()).await?;
    Ok(verdicts)
}

async fn judge(
    t: &mut TenantTx,
    input: RecordInput<AccountFields>,
    definitions: &Definitions,
) -> Result<(Account, Filtered)> {
    let fields = input.fields.settle(&t.caller().org.currency)?;
    if !input.allow_duplicate {
        duplicates::refuse(t, Rel::Account, Accounts::NAME, &fields.likenesses()).await?;
    }
    let (custom_fields, values) = input.custom.judge(definitions, &CustomValues::default())?;
    let account = Account { base: Base::new(t), fields, is_sample: false, links: input.links, custom_fields };
    Ok((account, values))
}
