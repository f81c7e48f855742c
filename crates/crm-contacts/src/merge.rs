use crm_core::body::Object;
use crm_core::{Error, Result, TenantTx};
use crm_records::custom::CustomValues;
use crm_records::list::Where;
use crm_records::merge::{Mergeable, Pointer};
use crm_records::tally::Tally;
use crm_records::{Base, Described};
use crm_schema::accounts;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use crate::model::{Contact, ContactFields};
use crate::service::{Contacts, check_creator, email_taken, load, write};

/// The primary account of contacts: for a merge of accounts.
pub const PRIMARY_ACCOUNT: Pointer =
    Pointer { table: "contacts", column: "account_id", key: "id", kind: Some("contact"), pairs: false };

/// What points at a contact. Neither is a record that shows it, so they are re-pointed from here.
pub(crate) const POINTERS: &[Pointer] = &[
    Pointer { table: "conversions", column: "contact_id", key: "lead_id", kind: None, pairs: false },
    Pointer {
        table: "account_message_recipients",
        column: "contact_id",
        key: "message_id",
        kind: None,
        pairs: true,
    },
    Pointer { table: "event_attendees", column: "contact_id", key: "event_id", kind: None, pairs: true },
    Pointer { table: "board_cards", column: "contact_id", key: "id", kind: Some("board_card"), pairs: false },
    Pointer {
        table: "planner_entries",
        column: "contact_id",
        key: "id",
        kind: Some("planner_entry"),
        pairs: false,
    },
];

crm_records::fillable!(ContactFields {
    email, phone, organization, title, department, linkedin_url, description, account_id;
    address_line, city, state, postcode, country
});

impl Mergeable for Contacts {
    const POINTERS: &'static [Pointer] = POINTERS;
    const NARROWED: &'static [&'static str] = &["accounts"];

    fn base_mut(contact: &mut Contact) -> &mut Base {
        &mut contact.base
    }

    fn custom_mut(contact: &mut Contact) -> &mut CustomValues {
        &mut contact.custom_fields
    }

    fn fill(winner: &mut Contact, loser: &Contact) -> Result<()> {
        winner.fields.fill(&loser.fields);
        // Whoever once did not want to be called does not want it.
        winner.fields.do_not_call |= loser.fields.do_not_call;
        winner.fields = winner.fields.clone().settle();
        Ok(())
    }

    fn take_back(winner: &mut Contact, given: &Object) -> Result<()> {
        winner.fields.take_back(given);
        winner.fields.do_not_call &= !given.contains_key("do_not_call");
        winner.fields = winner.fields.clone().settle();
        Ok(())
    }

    async fn mend(t: &mut TenantTx, row: &mut Object) -> Result<()> {
        let account: Option<Uuid> =
            row.get("account_id").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let Some(account) = account else { return Ok(()) };
        let this = accounts::org_id.eq(t.org()).and(accounts::id.eq(account));
        let there = accounts::table.filter(this).select(accounts::id).for_key_share();
        if there.first::<Uuid>(t.conn()?).await.optional()?.is_none() {
            row.insert("account_id".into(), Value::Null);
        }
        Ok(())
    }

    async fn write(t: &mut TenantTx, contact: &Contact) -> Result<()> {
        write(t, contact).await
    }

    async fn load(t: &mut TenantTx, filter: Where) -> Result<Contact> {
        load(t, filter).await
    }

    fn check_delete(t: &TenantTx, contact: &Contact) -> Result<()> {
        check_creator(t, contact)
    }

    fn tally(contact: &Contact) -> Tally {
        contact.fields.tally()
    }

    fn described(contact: &Contact) -> Described {
        contact.described()
    }

    fn taken(error: diesel::result::Error) -> Error {
        email_taken(error)
    }
}
