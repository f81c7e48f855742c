use crm_access::Require;
use crm_core::{Error, Result, Scope, TenantTx};
use crm_records::custom::CustomValues;
use crm_records::duplicates;
use crm_records::list::{Clause, Page, Params, Rel, Shaped, SortValues, Value, Where, check_related};
use crm_records::merge::Pointer;
use crm_records::{
    Base, Described, Edit, LinkIds, Links, Module, Precondition, RecordInput, base_changes, base_columns,
    base_values, contacts as people, created, deleted, diff, tally, tell_assignees, updated,
};
use crm_schema::contacts;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::merge::POINTERS;
use crate::model::{CONTACTS, Contact, ContactFields, ContactRow, Own};

/// The kind of record and its module.
const CONTACT: (&str, &str) = (CONTACTS.resource.kind, "contacts");

crm_records::module!(
    /// Contacts, for what serves every module alike.
    Contacts {
        name: CONTACT.1,
        target: CONTACTS,
        add: "contacts.add_contact",
        delete: "contacts.delete_contact",
        fields: ContactFields,
        record: Contact,
        many: crate::many::create_many,
        moment: Contact::moment
    }
);

/// What makes a contact, to select into an [`ContactRow`], and what is wanted beside it.
macro_rules! contact_columns {
    ($t:expr $(, $beside:expr)?) => {
        (
            base_columns!(contacts),
            ContactFields::as_select(),
            (people::account_ids($t), contacts::is_sample, contacts::auto_created),
            LinkIds::of("contacts"),
            CustomValues::of(&CONTACTS, $t.org()),
            $($beside,)?
        )
    };
}

/// Lists the contacts that the caller may see, newest first.
///
/// # Errors
/// `Forbidden` without `contacts.view_contact`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Contact>>> {
    let scope = t.require(CONTACTS.view)?;
    let selection = CONTACTS.select(t, params, scope).await?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, ContactFields, Own, Links, CustomValues, SortValues)> = contacts::table
                .filter(f.filter)
                .order_by(f.slice)
                .select(contact_columns!(t, selection.keys()))
                .load(t.conn()?)
                .await?;
            rows.into_iter()
                .map(|(base, fields, own, links, custom, keys)| {
                    Ok((Contact::stored((base, fields, own, links, custom)), keys))
                })
                .collect()
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One contact that the caller may see.
///
/// # Errors
/// `Forbidden` without `contacts.view_contact`; `NotFound`; `Merged`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Contact> {
    let scope = t.require(CONTACTS.view)?;
    let filter = CONTACTS.one(t, scope, id);
    let found = load(t, filter).await;
    CONTACTS.found(t, id, found).await
}

/// Adds a contact.
///
/// # Errors
/// `Forbidden` without `contacts.add_contact`; `Duplicate` for an e-mail address that another contact has; `PossibleDuplicate` for
/// one that looks like another, unless that is allowed; 422.
pub async fn create(t: &mut TenantTx, input: RecordInput<ContactFields>) -> Result<Contact> {
    t.require(Contacts::ADD)?;
    let fields = input.fields.settle();
    if !input.allow_duplicate {
        duplicates::refuse(t, Rel::Contact, CONTACT.1, &fields.likenesses()).await?;
    }
    check_related(t, Rel::Account, "account_id", fields.account_id.as_slice()).await?;
    let (custom_fields, values) = input.custom.settle(t, &CONTACTS, &CustomValues::default()).await?;
    let contact = Contact {
        base: Base::new(t),
        accounts: fields.account_id.into_iter().collect(),
        fields,
        is_sample: false,
        auto_created: false,
        links: input.links,
        custom_fields,
    };
    created(t, CONTACTS.resource.kind, &contact.base, Some(&contact.described())).await?;
    diesel::insert_into(contacts::table)
        .values((
            base_values!(contacts, contact.base),
            &contact.fields,
            contacts::is_sample.eq(contact.is_sample),
            contacts::custom_fields.eq(&contact.custom_fields),
        ))
        .execute(t.conn()?)
        .await
        .map_err(email_taken)?;
    let none = Links::default();
    contact.links.store(t, contact.base.id, &none).await?;
    if let Some(account) = contact.fields.account_id {
        people::join(t, account, contact.base.id).await?;
    }
    tally::moved(t, CONTACTS.resource.kind, None, [contact.fields.tally()]).await?;
    values.store(t, contact.base.id).await?;
    tell_assignees(t, CONTACT, contact.base.id, contact.fields.display_name(), (&none, &contact.links))
        .await?;
    Ok(contact)
}

/// Changes a contact. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `contacts.change_contact` or beyond its scope; `NotFound`; `Merged`; `Stale`; `Duplicate`; 400 and 422 for the
/// body.
pub async fn update(t: &mut TenantTx, id: Uuid, mut edit: Edit) -> Result<Contact> {
    let old = locked(t, CONTACTS.change, id).await?;
    // They may be others by now than those that were read, and are not this contact's to say.
    edit.body.remove("accounts");
    let input: RecordInput<ContactFields> = edit.input(&old, &old.base, Contact::READ_ONLY)?;
    let fields = input.fields.settle();
    let account = fields.account_id.filter(|account| old.fields.account_id != Some(*account));
    check_related(t, Rel::Account, "account_id", account.as_slice()).await?;
    let (custom_fields, values) = input.custom.settle(t, &CONTACTS, &old.custom_fields).await?;
    if fields == old.fields && input.links == old.links && custom_fields == old.custom_fields {
        return Ok(old);
    }
    let base = old.base.next(t);
    let mut new = Contact { base, fields, links: input.links, custom_fields, ..old.clone() };
    write(t, &new).await?;
    new.links.store(t, id, &old.links).await?;
    if let Some(account) = account
        && people::join(t, account, id).await?
    {
        new.accounts.push(account);
        new.accounts.sort();
    }
    tally::moved(t, CONTACTS.resource.kind, [old.fields.tally()], [new.fields.tally()]).await?;
    values.store(t, id).await?;
    tell_assignees(t, CONTACT, id, new.fields.display_name(), (&old.links, &new.links)).await?;
    let described = new.described();
    let described = (described != old.described()).then_some(described);
    // Which accounts are shown differs from caller to caller.
    let fields = diff(&Contact { accounts: new.accounts.clone(), ..old }, &new)?;
    updated(t, CONTACTS.resource.kind, &new.base, fields, described.as_ref()).await?;
    Ok(new)
}

/// Deletes a contact with its comments, files and history. Within a scope of *own* only its creator may.
///
/// # Errors
/// `Forbidden` without `contacts.delete_contact` or for somebody else's contact; `NotFound`; `Merged`; `Stale`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = locked(t, Contacts::DELETE, id).await?;
    check_creator(t, &old)?;
    precondition.check(&old.base)?;
    tally::moved(t, CONTACTS.resource.kind, [old.fields.tally()], None).await?;
    people::leave(t, id).await?;
    Pointer::clear(t, POINTERS, id).await?;
    deleted(t, CONTACTS.resource.kind, id).await
}

/// At most `limit` contacts behind an id, by id, with how each is found; locked against changes until the transaction ends.
///
/// # Errors
/// Those of the database.
pub async fn describe(t: &mut TenantTx, after: Option<Uuid>, limit: i64) -> Result<Vec<(Uuid, Described)>> {
    let custom = CustomValues::of(&CONTACTS, t.org());
    let rows: Vec<(Uuid, ContactFields, CustomValues)> = contacts::table
        .filter(contacts::org_id.eq(t.org()).and(contacts::id.gt(after.unwrap_or_default())))
        .order_by(contacts::id)
        .limit(limit)
        .select((contacts::id, ContactFields::as_select(), custom))
        .for_share()
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().map(|(id, fields, custom)| (id, custom.describe(fields.described()))).collect())
}

/// Within a scope of *own* only the creator takes a record away.
pub(crate) fn check_creator(t: &TenantTx, contact: &Contact) -> Result<()> {
    if t.require(Contacts::DELETE)? == Scope::Own && contact.base.created_by != t.actor() {
        return Err(Error::Forbidden("only its creator or an administrator may delete a contact".into()));
    }
    Ok(())
}

/// Puts a new state in place of the stored one.
pub(crate) async fn write(t: &mut TenantTx, new: &Contact) -> Result<()> {
    diesel::update(contacts::table.filter(contacts::org_id.eq(t.org()).and(contacts::id.eq(new.base.id))))
        .set((base_changes!(contacts, new.base), &new.fields, contacts::custom_fields.eq(&new.custom_fields)))
        .execute(t.conn()?)
        .await
        .map_err(email_taken)?;
    Ok(())
}

pub(crate) async fn load(t: &mut TenantTx, filter: Where) -> Result<Contact> {
    let row = contacts::table.filter(filter).select(contact_columns!(t)).first::<ContactRow>(t.conn()?);
    Ok(Contact::stored(row.await?))
}

/// The contact with its row locked before the permission for it is judged, so that what is judged is what is changed.
async fn locked(t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<Contact> {
    let row = contacts::table.filter(contacts::org_id.eq(t.org()).and(contacts::id.eq(id)));
    let locked = row.select(contacts::id).for_update().first::<Uuid>(t.conn()?).await.map_err(Error::from);
    CONTACTS.found(t, id, locked).await?;
    CONTACTS.check(t, permission, id).await?;
    let only: Clause = CONTACTS.resource.compare("id", "=", Value::Uuid(id));
    let filter = Where(vec![CONTACTS.resource.in_org(t.org()), only]);
    load(t, filter).await
}

pub(crate) fn email_taken(error: diesel::result::Error) -> Error {
    let message = "another contact of the organization has this e-mail address";
    Error::unique(error, "contacts_org_id_email_normalized_key", "email", message)
}
