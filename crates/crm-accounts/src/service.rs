use std::collections::HashSet;

use crm_access::Require;
use crm_core::{Code, Error, FieldCode, Result, Scope, TenantTx};
use crm_records::custom::CustomValues;
use crm_records::duplicates;
use crm_records::list::{Clause, Page, Params, Rel, Shaped, SortValues, Value, Where};
use crm_records::merge::Pointer;
use crm_records::{
    Base, Described, Edit, LinkIds, Links, Module, Precondition, RecordInput, base_changes, base_columns,
    base_values, contacts, created, deleted, diff, tally, tell_assignees, updated,
};
use crm_schema::{accounts, cases, contacts as people, opportunities};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::merge::POINTERS;
use crate::model::{ACCOUNTS, Account, AccountFields, AccountRow};

/// The kind of record and its module.
const ACCOUNT: (&str, &str) = (ACCOUNTS.resource.kind, "accounts");

crm_records::module!(
    /// Accounts, for what serves every module alike.
    Accounts {
        name: ACCOUNT.1,
        target: ACCOUNTS,
        add: "accounts.add_account",
        delete: "accounts.delete_account",
        fields: AccountFields,
        record: Account,
        many: crate::many::create_many
    }
);

/// What makes an account, to select into an [`AccountRow`], and what is wanted beside it.
macro_rules! account_columns {
    ($t:expr $(, $beside:expr)?) => {
        (
            base_columns!(accounts),
            AccountFields::as_select(),
            accounts::is_sample,
            LinkIds::of("accounts"),
            CustomValues::of(&ACCOUNTS, $t.org()),
            $($beside,)?
        )
    };
}

/// Lists the accounts that the caller may see, newest first.
///
/// # Errors
/// `Forbidden` without `accounts.view_account`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Account>>> {
    let scope = t.require(ACCOUNTS.view)?;
    let selection = ACCOUNTS.select(t, params, scope).await?;
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, AccountFields, bool, Links, CustomValues, SortValues)> = accounts::table
                .filter(f.filter)
                .order_by(f.slice)
                .select(account_columns!(t, selection.keys()))
                .load(t.conn()?)
                .await?;
            rows.into_iter()
                .map(|(base, fields, own, links, custom, keys)| {
                    Ok((Account::stored((base, fields, own, links, custom))?, keys))
                })
                .collect()
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One account that the caller may see.
///
/// # Errors
/// `Forbidden` without `accounts.view_account`; `NotFound`; `Merged`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Account> {
    let scope = t.require(ACCOUNTS.view)?;
    let filter = ACCOUNTS.one(t, scope, id);
    let found = load(t, filter).await;
    ACCOUNTS.found(t, id, found).await
}

/// Adds an account.
///
/// # Errors
/// `Forbidden` without `accounts.add_account`; `Duplicate` for a name that another account has; `PossibleDuplicate` for one that looks
/// like another, unless that is allowed; 422.
pub async fn create(t: &mut TenantTx, input: RecordInput<AccountFields>) -> Result<Account> {
    t.require(Accounts::ADD)?;
    let fields = input.fields.settle(&t.caller().org.currency)?;
    if !input.allow_duplicate {
        duplicates::refuse(t, Rel::Account, ACCOUNT.1, &fields.likenesses()).await?;
    }
    let (custom_fields, values) = input.custom.settle(t, &ACCOUNTS, &CustomValues::default()).await?;
    let account = Account { base: Base::new(t), fields, is_sample: false, links: input.links, custom_fields };
    created(t, ACCOUNTS.resource.kind, &account.base, Some(&account.described())).await?;
    diesel::insert_into(accounts::table)
        .values((
            base_values!(accounts, account.base),
            &account.fields,
            accounts::is_sample.eq(account.is_sample),
            accounts::custom_fields.eq(&account.custom_fields),
        ))
        .execute(t.conn()?)
        .await
        .map_err(name_taken)?;
    let none = Links::default();
    account.links.store(t, account.base.id, &none).await?;
    contacts::store(t, account.base.id, &[], &account.fields.contacts).await?;
    tally::moved(t, ACCOUNTS.resource.kind, None, [account.fields.tally()]).await?;
    values.store(t, account.base.id).await?;
    tell_assignees(t, ACCOUNT, account.base.id, account.fields.name.clone(), (&none, &account.links)).await?;
    Ok(account)
}

/// Changes an account. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `accounts.change_account` or beyond its scope; `NotFound`; `Merged`; `Stale`; `Duplicate`; 400 and 422 for the
/// body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Account> {
    let old = locked(t, ACCOUNTS.change, id).await?;
    let (partial, had_currency) = (edit.partial, old.fields.currency.is_some());
    let input: RecordInput<AccountFields> = edit.input(&old, &old.base, Account::READ_ONLY)?;
    if partial && had_currency && input.fields.currency.is_none() && input.fields.annual_revenue.is_some() {
        return Err(Error::field("currency", FieldCode::Required, "a revenue needs its currency"));
    }
    let mut fields = input.fields.settle(&t.caller().org.currency)?;
    keep_primary(t, &old, &mut fields).await?;
    let (custom_fields, values) = input.custom.settle(t, &ACCOUNTS, &old.custom_fields).await?;
    if fields == old.fields && input.links == old.links && custom_fields == old.custom_fields {
        return Ok(old);
    }
    let base = old.base.next(t);
    let new = Account { base, fields, links: input.links, custom_fields, ..old.clone() };
    write(t, &new).await?;
    new.links.store(t, id, &old.links).await?;
    contacts::store(t, id, &old.fields.contacts, &new.fields.contacts).await?;
    tally::moved(t, ACCOUNTS.resource.kind, [old.fields.tally()], [new.fields.tally()]).await?;
    values.store(t, id).await?;
    tell_assignees(t, ACCOUNT, id, new.fields.name.clone(), (&old.links, &new.links)).await?;
    let described = new.described();
    let described = (described != old.described()).then_some(described);
    updated(t, ACCOUNTS.resource.kind, &new.base, diff(&old, &new)?, described.as_ref()).await?;
    Ok(new)
}

/// Whose primary account it is belongs to it, whatever a body says: that is for the contact to change.
async fn keep_primary(t: &mut TenantTx, old: &Account, fields: &mut AccountFields) -> Result<()> {
    if fields.contacts == old.fields.contacts {
        return Ok(());
    }
    let given: HashSet<&Uuid> = fields.contacts.iter().collect();
    let gone = old.fields.contacts.iter().filter(|id| !given.contains(id)).copied().collect::<Vec<_>>();
    if gone.is_empty() {
        return Ok(());
    }
    let primary = people::account_id.eq(old.base.id).and(people::id.eq_any(gone));
    let primary: Vec<Uuid> = people::table
        .filter(people::org_id.eq(t.org()).and(primary))
        .select(people::id)
        .load(t.conn()?)
        .await?;
    fields.contacts.extend(primary);
    fields.contacts.sort();
    Ok(())
}

/// Deletes an account with its comments, files and history; its contacts stay. Within a scope of *own* only its creator may.
///
/// # Errors
/// `Forbidden` without `accounts.delete_account` or for somebody else's account; `NotFound`; `Merged`; `Stale`; `InUse` while it has
/// opportunities or cases.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = locked(t, Accounts::DELETE, id).await?;
    check_creator(t, &old)?;
    precondition.check(&old.base)?;
    let in_use = |what: &str| {
        let message = format!("the account has {what}: delete them or give them another account first");
        Err(Error::Refused(Code::InUse, message.into()))
    };
    let deals = opportunities::org_id.eq(t.org()).and(opportunities::account_id.eq(id));
    let deals = opportunities::table.filter(deals).select(opportunities::id).limit(1);
    if deals.first::<Uuid>(t.conn()?).await.optional()?.is_some() {
        return in_use("opportunities");
    }
    let asked = cases::org_id.eq(t.org()).and(cases::account_id.eq(id));
    let asked = cases::table.filter(asked).select(cases::id).limit(1);
    if asked.first::<Uuid>(t.conn()?).await.optional()?.is_some() {
        return in_use("cases");
    }
    tally::moved(t, ACCOUNTS.resource.kind, [old.fields.tally()], None).await?;
    Pointer::clear(t, POINTERS, id).await?;
    deleted(t, ACCOUNTS.resource.kind, id).await
}

/// At most `limit` accounts behind an id, by id, with how each is found; locked against changes until the transaction ends.
///
/// # Errors
/// Those of the database.
pub async fn describe(t: &mut TenantTx, after: Option<Uuid>, limit: i64) -> Result<Vec<(Uuid, Described)>> {
    let custom = CustomValues::of(&ACCOUNTS, t.org());
    let rows: Vec<(Uuid, AccountFields, CustomValues)> = accounts::table
        .filter(accounts::org_id.eq(t.org()).and(accounts::id.gt(after.unwrap_or_default())))
        .order_by(accounts::id)
        .limit(limit)
        .select((accounts::id, AccountFields::as_select(), custom))
        .for_share()
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().map(|(id, fields, custom)| (id, custom.describe(fields.described()))).collect())
}

/// Within a scope of *own* only the creator takes a record away.
pub(crate) fn check_creator(t: &TenantTx, account: &Account) -> Result<()> {
    if t.require(Accounts::DELETE)? == Scope::Own && account.base.created_by != t.actor() {
        return Err(Error::Forbidden("only its creator or an administrator may delete an account".into()));
    }
    Ok(())
}

/// Puts a new state in place of the stored one.
pub(crate) async fn write(t: &mut TenantTx, new: &Account) -> Result<()> {
    diesel::update(accounts::table.filter(accounts::org_id.eq(t.org()).and(accounts::id.eq(new.base.id))))
        .set((base_changes!(accounts, new.base), &new.fields, accounts::custom_fields.eq(&new.custom_fields)))
        .execute(t.conn()?)
        .await
        .map_err(name_taken)?;
    Ok(())
}

pub(crate) async fn load(t: &mut TenantTx, filter: Where) -> Result<Account> {
    let row = accounts::table.filter(filter).select(account_columns!(t)).first::<AccountRow>(t.conn()?);
    Account::stored(row.await?)
}

/// The account with its row locked before the permission for it is judged, so that what is judged is what is changed.
async fn locked(t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<Account> {
    let row = accounts::table.filter(accounts::org_id.eq(t.org()).and(accounts::id.eq(id)));
    let locked = row.select(accounts::id).for_update().first::<Uuid>(t.conn()?).await.map_err(Error::from);
    ACCOUNTS.found(t, id, locked).await?;
    ACCOUNTS.check(t, permission, id).await?;
    let only: Clause = ACCOUNTS.resource.compare("id", "=", Value::Uuid(id));
    let filter = Where(vec![ACCOUNTS.resource.in_org(t.org()), only]);
    load(t, filter).await
}

pub(crate) fn name_taken(error: diesel::result::Error) -> Error {
    let message = "another account of the organization has this name";
    Error::unique(error, "accounts_org_id_name_normalized_key", "name", message)
}
