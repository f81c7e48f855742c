//! The people of a record: links to contacts, for every kind that has some.

use std::collections::{BTreeMap, HashMap, HashSet};

use crm_core::body::Object;
use crm_core::{Error, FieldCode, Result, TenantTx};
use crm_schema::record_contacts;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::list::{Field, Rel, Where, check_related, visible};
use crate::statement::next_versions;
use crate::{LinkIds, LinkTable, Update, updated_many};

/// The field of a record that names its people.
pub(crate) const FIELD: &str = "contacts";

const LINKS: LinkTable = LinkTable {
    table: "record_contacts",
    owner: "record_id",
    linked: "contact_id",
    target: "contacts",
    usable: "true",
    field: FIELD,
    what: "a contact",
};

/// Selects the ids of the contacts of each row of a table of records.
pub const fn contact_ids(table: &'static str) -> LinkIds {
    LinkIds::new(table, LINKS.table, LINKS.owner, LINKS.linked)
}

/// The contacts of a table's records as a filterable, expandable field.
pub const fn contacts_field(table: &'static str) -> Field {
    Field::link(FIELD, contact_ids(table), Rel::Contact)
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

/// How many people may be put on a record by one body.
pub const MOST_AT_ONCE: usize = 1_000;

/// Puts the contacts of a record in place of `old` ones. What was linked before may stay; what is new must be one that the caller may
/// look at.
///
/// # Errors
/// 422 naming `contacts` for any other id, and for more than [`MOST_AT_ONCE`] new ones.
pub async fn store(t: &mut TenantTx, record: Uuid, old: &[Uuid], new: &[Uuid]) -> Result<()> {
    if old == new {
        return Ok(());
    }
    let came = without(new, old);
    if came.len() > MOST_AT_ONCE {
        let message = format!("{MOST_AT_ONCE} people at most are added at once");
        return Err(Error::field(FIELD, FieldCode::TooLong, message));
    }
    check_related(t, Rel::Contact, FIELD, &came).await?;
    LINKS.store(t, record, old, new).await
}

/// Links one contact to an account, if it is not linked yet; whether it was not. Its people are part of the account, which has a new
/// version then: whoever read it before does not write over that.
///
/// # Errors
/// Those of the database.
pub async fn join(t: &mut TenantTx, account: Uuid, contact: Uuid) -> Result<bool> {
    let row = (
        record_contacts::org_id.eq(t.org()),
        record_contacts::record_id.eq(account),
        record_contacts::contact_id.eq(contact),
    );
    let joined = diesel::insert_into(record_contacts::table).values(row).on_conflict_do_nothing();
    let joined = joined.execute(t.conn()?).await? > 0;
    if joined {
        changed(t, &[ACCOUNT], vec![People { owner: account, gone: vec![], came: vec![contact] }]).await?;
    }
    Ok(joined)
}

/// Links new contacts to accounts, each to one.
///
/// # Errors
/// Those of the database.
pub async fn join_many(t: &mut TenantTx, links: impl Iterator<Item = (Uuid, Uuid)>) -> Result<()> {
    let links: Vec<_> = links.collect();
    LINKS.store_many(t, links.iter().copied()).await?;
    let mut accounts: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (account, contact) in links {
        accounts.entry(account).or_default().push(contact);
    }
    let came = |(owner, came)| People { owner, gone: Vec::new(), came };
    changed(t, &[ACCOUNT], accounts.into_iter().map(came).collect()).await
}

/// Takes one contact from an account.
///
/// # Errors
/// Those of the database.
pub async fn part(t: &mut TenantTx, account: Uuid, contact: Uuid) -> Result<()> {
    let this = record_contacts::table
        .filter(record_contacts::org_id.eq(t.org()))
        .filter(record_contacts::record_id.eq(account).and(record_contacts::contact_id.eq(contact)));
    if diesel::delete(this).execute(t.conn()?).await? > 0 {
        changed(t, &[ACCOUNT], vec![People { owner: account, gone: vec![contact], came: vec![] }]).await?;
    }
    Ok(())
}

/// Takes a contact that is about to be deleted from every record.
///
/// # Errors
/// Those of the database.
pub async fn leave(t: &mut TenantTx, contact: Uuid) -> Result<()> {
    let these = record_contacts::org_id.eq(t.org()).and(record_contacts::contact_id.eq(contact));
    let owners: Vec<Uuid> = diesel::delete(record_contacts::table.filter(these))
        .returning(record_contacts::record_id)
        .get_results(t.conn()?)
        .await?;
    let gone = |owner| People { owner, gone: vec![contact], came: Vec::new() };
    changed(t, &OWNERS, owners.into_iter().map(gone).collect()).await
}

/// A kind of record that has people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    kind: &'static str,
    table: &'static str,
    /// The field that names them.
    field: &'static str,
}

const fn owner(kind: &'static str, table: &'static str, field: &'static str) -> Owner {
    Owner { kind, table, field }
}

/// The same field of a kind that has others who attend too.
const ATTENDEES: &str = "attendees_contacts";

/// Every such field.
pub(crate) const FIELDS: [&str; 2] = [FIELD, ATTENDEES];

const ACCOUNT: Owner = owner("account", "accounts", FIELD);

/// All of them.
pub(crate) const OWNERS: [Owner; 6] = [
    ACCOUNT,
    owner("lead", "leads", FIELD),
    owner("opportunity", "opportunities", FIELD),
    owner("case", "cases", FIELD),
    owner("task", "tasks", FIELD),
    owner("planner_entry", "planner_entries", ATTENDEES),
];

/// What became of the people of a record that was not written itself.
pub(crate) struct People {
    pub(crate) owner: Uuid,
    pub(crate) gone: Vec<Uuid>,
    pub(crate) came: Vec<Uuid>,
}

/// Gives records whose people changed from another side their next version, and their history the names of those.
pub(crate) async fn changed(t: &mut TenantTx, kinds: &[Owner], changes: Vec<People>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let actor = t.actor();
    let owners: Vec<Uuid> = changes.iter().map(|people| people.owner).collect();
    let mut pairs: HashMap<Uuid, Value> =
        changes.into_iter().map(|People { owner, gone, came }| (owner, json!([gone, came]))).collect();
    for Owner { kind, table, field } in kinds {
        let versions = next_versions(t, table, &owners, actor).await?;
        let updates = versions.into_iter().filter_map(|(id, version)| {
            let fields: Object = [((*field).to_owned(), pairs.remove(&id)?)].into_iter().collect();
            Some(Update { id, version: Some(version), fields })
        });
        let updates = updates.collect();
        updated_many(t, kind, actor, updates).await?;
    }
    Ok(())
}

/// Those of some ids that are not among others.
fn without(ids: &[Uuid], others: &[Uuid]) -> Vec<Uuid> {
    let others: HashSet<&Uuid> = others.iter().collect();
    ids.iter().filter(|id| !others.contains(id)).copied().collect()
}
