//! The people of a record: links to contacts, for every kind that has some.

use crm_core::{Result, TenantTx};
use crm_schema::record_contacts;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::list::{Field, Rel, Where, check_related, visible};
use crate::{LinkIds, LinkTable};

const LINKS: LinkTable = LinkTable {
    table: "record_contacts",
    owner: "record_id",
    linked: "contact_id",
    target: "contacts",
    usable: "true",
    field: "contacts",
    what: "a contact",
};

/// Selects the ids of the contacts of each row of a table of records.
pub const fn contact_ids(table: &'static str) -> LinkIds {
    LinkIds::new(table, LINKS.table, LINKS.owner, LINKS.linked)
}

/// The contacts of a table's records as a filterable, expandable field.
pub const fn contacts_field(table: &'static str) -> Field {
    Field::link(LINKS.field, contact_ids(table), Rel::Contact)
}

/// The accounts that a contact belongs to, as a filterable, expandable field of contacts.
pub const ACCOUNTS_FIELD: Field = Field::link(
    "accounts",
    LinkIds::new("contacts", LINKS.table, LINKS.linked, LINKS.owner).within("accounts"),
    Rel::Account,
);

/// Selects the ids of the accounts that each contact belongs to: those that the caller may look at.
pub fn account_ids(t: &TenantTx) -> AccountIds {
    AccountIds(visible(t, Rel::Account))
}

/// What [`account_ids`] selects.
#[derive(Debug, Clone)]
pub struct AccountIds(Where);

crate::list::expression!(AccountIds, sql_types::Array<sql_types::Uuid>);

impl QueryFragment<Pg> for AccountIds {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "ARRAY(SELECT accounts.id FROM record_contacts k JOIN accounts ON accounts.org_id = k.org_id AND accounts.id = k.record_id \
             WHERE k.org_id = contacts.org_id AND k.contact_id = contacts.id AND ",
        );
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(" ORDER BY 1)");
        Ok(())
    }
}

/// Puts the contacts of a record in place of `old` ones. What was linked before may stay; what is new must be one that the caller may
/// look at.
///
/// # Errors
/// 422 naming `contacts` for any other id.
pub async fn store(t: &mut TenantTx, record: Uuid, old: &[Uuid], new: &[Uuid]) -> Result<()> {
    let came: Vec<Uuid> = new.iter().filter(|id| !old.contains(id)).copied().collect();
    check_related(t, Rel::Contact, LINKS.field, &came).await?;
    LINKS.store(t, record, old, new).await
}

/// Links one contact to a record, if it is not linked yet; whether it was not.
///
/// # Errors
/// Those of the database.
pub async fn join(t: &mut TenantTx, record: Uuid, contact: Uuid) -> Result<bool> {
    let row = (
        record_contacts::org_id.eq(t.org()),
        record_contacts::record_id.eq(record),
        record_contacts::contact_id.eq(contact),
    );
    let joined = diesel::insert_into(record_contacts::table).values(row).on_conflict_do_nothing();
    Ok(joined.execute(t.conn()?).await? > 0)
}

/// Links new contacts to records, each to one.
///
/// # Errors
/// Those of the database.
pub async fn join_many(t: &mut TenantTx, links: impl Iterator<Item = (Uuid, Uuid)>) -> Result<()> {
    LINKS.store_many(t, links).await
}

/// Takes one contact from a record.
///
/// # Errors
/// Those of the database.
pub async fn part(t: &mut TenantTx, record: Uuid, contact: Uuid) -> Result<()> {
    let this = record_contacts::table
        .filter(record_contacts::org_id.eq(t.org()))
        .filter(record_contacts::record_id.eq(record).and(record_contacts::contact_id.eq(contact)));
    diesel::delete(this).execute(t.conn()?).await?;
    Ok(())
}
