use crm_core::body::Object;
use crm_core::{Error, Result, TenantTx};
use crm_records::custom::CustomValues;
use crm_records::list::Where;
use crm_records::merge::{Mergeable, Pointer, is_still};
use crm_records::tally::Tally;
use crm_records::{Base, Described};

use crate::model::{Account, AccountFields};
use crate::service::{Accounts, check_creator, load, name_taken, write};

/// What points at an account: contacts and deals, which are records of their own, and what only belongs to one.
pub(crate) const POINTERS: &[Pointer] = &[
    crm_contacts::PRIMARY_ACCOUNT,
    crm_opportunities::ACCOUNT_OF_A_DEAL,
    Pointer { table: "conversions", column: "account_id", key: "lead_id", kind: None, pairs: false },
    Pointer { table: "account_messages", column: "account_id", key: "id", kind: None, pairs: false },
    Pointer { table: "cases", column: "account_id", key: "id", kind: Some("case"), pairs: false },
    Pointer { table: "tasks", column: "account_id", key: "id", kind: Some("task"), pairs: false },
    Pointer { table: "board_cards", column: "account_id", key: "id", kind: Some("board_card"), pairs: false },
    Pointer {
        table: "planner_entries",
        column: "account_id",
        key: "id",
        kind: Some("planner_entry"),
        pairs: false,
    },
];

crm_records::fillable!(AccountFields {
    email, phone, website, industry, number_of_employees, description;
    address_line, city, state, postcode, country
});

impl Mergeable for Accounts {
    const POINTERS: &'static [Pointer] = POINTERS;

    fn base_mut(account: &mut Account) -> &mut Base {
        &mut account.base
    }

    fn custom_mut(account: &mut Account) -> &mut CustomValues {
        &mut account.custom_fields
    }

    fn fill(winner: &mut Account, loser: &Account) -> Result<()> {
        winner.fields.fill(&loser.fields);
        let (fields, others) = (&mut winner.fields, &loser.fields);
        // A revenue comes with its currency or not at all.
        if fields.annual_revenue.is_none()
            && (fields.currency.is_none() || fields.currency == others.currency)
        {
            fields.annual_revenue = others.annual_revenue;
            fields.currency.clone_from(&others.currency);
        }
        settle(winner)
    }

    fn take_back(winner: &mut Account, given: &Object) -> Result<()> {
        winner.fields.take_back(given);
        let fields = &mut winner.fields;
        let still = |field: &str, is: &dyn Fn(&serde_json::Value) -> bool| given.get(field).is_some_and(is);
        if still("annual_revenue", &|value| is_still(&fields.annual_revenue, value)) {
            fields.annual_revenue = None;
        }
        if fields.annual_revenue.is_none() && still("currency", &|value| is_still(&fields.currency, value)) {
            fields.currency = None;
        }
        settle(winner)
    }

    async fn mend(_: &mut TenantTx, _: &mut Object) -> Result<()> {
        Ok(())
    }

    async fn write(t: &mut TenantTx, account: &Account) -> Result<()> {
        write(t, account).await
    }

    async fn load(t: &mut TenantTx, filter: Where) -> Result<Account> {
        load(t, filter).await
    }

    fn check_delete(t: &TenantTx, account: &Account) -> Result<()> {
        check_creator(t, account)
    }

    fn tally(account: &Account) -> Tally {
        account.fields.tally()
    }

    fn described(account: &Account) -> Described {
        account.described()
    }

    fn taken(error: diesel::result::Error) -> Error {
        name_taken(error)
    }
}

/// What follows from the fields follows from them as they are now. A revenue has its currency, so the default is not asked for.
fn settle(account: &mut Account) -> Result<()> {
    account.fields = account.fields.clone().settle("USD")?;
    Ok(())
}
