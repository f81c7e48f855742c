//! The account, the contact and the opportunity of a conversion: found or made.

use crm_accounts::{ACCOUNTS, AccountFields};
use crm_contacts::{CONTACTS, ContactFields};
use crm_core::body::{self, Object};
use crm_core::{Code, Error, FieldCode, FieldError, Result, TenantTx, rules};
use crm_opportunities::OpportunityFields;
use crm_records::list::{Rel, check_related};
use crm_records::{Edit, Links, RecordInput, Target, contacts};
use crm_schema::{accounts, contacts as people};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::carry::Carried;
use crate::model::{Part, Wish};

const ACCOUNT: &str = "account";
const CONTACT: &str = "contact";
const OPPORTUNITY: &str = "opportunity";

/// How many names are tried for an opportunity while others take them.
const NAMES: usize = 10;

/// The account: the one that is named, the one that has the name, or a new one.
pub(crate) async fn account(t: &mut TenantTx, carried: &Carried<'_>, wish: Wish) -> Result<Part> {
    let overrides = match wish {
        Wish::Usual => Object::new(),
        Wish::With(fields) => fields,
        Wish::Omit => {
            return Err(Error::field(ACCOUNT, FieldCode::NotAllowed, "a conversion leads to an account"));
        }
        Wish::This(id) => {
            check_related(t, Rel::Account, ACCOUNT, &[id]).await?;
            return found_account(t, id, &carried.links).await;
        }
    };
    let names_more = overrides.keys().any(|key| key != "name");
    let body = body::merge(carried.account()?, overrides);
    let name = rules::normalize_name(body.get("name").and_then(Value::as_str).unwrap_or_default());
    if let Some(id) = account_named(t, &name).await? {
        check_found(t, &ACCOUNTS, id, "account.name", names_more).await?;
        return found_account(t, id, &carried.links).await;
    }
    let input = RecordInput::<AccountFields>::parse(body).map_err(|error| within(ACCOUNT, error))?;
    let input = RecordInput { allow_duplicate: true, ..input };
    match t.savepoint(async |t| crm_accounts::create(t, input).await).await {
        Ok(account) => Ok(Part::made(account.base.id, account.base.version)),
        Err(error) => {
            // Two leads of one company may be converted at once: the second finds what the first has made meanwhile.
            let there = if is_duplicate(&error) { account_named(t, &name).await? } else { None };
            let Some(id) = there else { return Err(within(ACCOUNT, error)) };
            check_found(t, &ACCOUNTS, id, "account.name", names_more).await?;
            found_account(t, id, &carried.links).await
        }
    }
}

async fn account_named(t: &mut TenantTx, name: &str) -> Result<Option<Uuid>> {
    let this = accounts::table.filter(accounts::org_id.eq(t.org()).and(accounts::name_normalized.eq(name)));
    Ok(this.select(accounts::id).first(t.conn()?).await.optional()?)
}

/// An account that is there gets the lead's links from whoever may change it, and is otherwise left alone: nobody comes to see an
/// account by somebody else's lead.
async fn found_account(t: &mut TenantTx, id: Uuid, links: &Links) -> Result<Part> {
    let mut part = Part::found(id);
    if !may_change(t, &ACCOUNTS, id).await? {
        return Ok(part);
    }
    // A change of nothing locks it.
    let account = crm_accounts::update(t, id, Edit::patch(Object::new())).await?;
    part.added = without(links, &account.links);
    if part.added != Links::default() {
        let all = joined(&account.links, &part.added);
        crm_accounts::update(t, id, Edit::patch(links_body(&all))).await?;
    }
    Ok(part)
}

/// Makes sure that there is an address for the contact, if one is to be made or found by it.
pub(crate) fn check_address(carried: &Carried<'_>, wish: &Wish) -> Result<()> {
    let own = || carried.lead.fields.email.as_deref();
    let email = match wish {
        Wish::Omit | Wish::This(_) => return Ok(()),
        Wish::Usual => own(),
        Wish::With(fields) => fields.get("email").map_or_else(own, Value::as_str),
    };
    if email.is_some_and(|email| !email.trim().is_empty()) {
        return Ok(());
    }
    let message = "a lead is converted with the e-mail address of its contact, or without a contact";
    Err(Error::field("email", FieldCode::Required, message))
}

/// The contact: the one that is named, the one that has the e-mail address, or a new one.
pub(crate) async fn contact(
    t: &mut TenantTx,
    carried: &Carried<'_>,
    account: &Part,
    wish: Wish,
) -> Result<Option<Part>> {
    let overrides = match wish {
        Wish::Usual => Object::new(),
        Wish::With(fields) => fields,
        Wish::Omit => return Ok(None),
        Wish::This(id) => {
            check_related(t, Rel::Contact, CONTACT, &[id]).await?;
            return found_contact(t, id, account).await.map(Some);
        }
    };
    let names_more = overrides.keys().any(|key| key != "email");
    let body = body::merge(carried.contact(account.id)?, overrides);
    let email = rules::normalize_email(body.get("email").and_then(Value::as_str).unwrap_or_default());
    if let Some(id) = contact_at(t, &email).await? {
        check_found(t, &CONTACTS, id, "contact.email", names_more).await?;
        return found_contact(t, id, account).await.map(Some);
    }
    let input = RecordInput::<ContactFields>::parse(body).map_err(|error| within(CONTACT, error))?;
    let input = RecordInput { allow_duplicate: true, ..input };
    match t.savepoint(async |t| crm_contacts::create(t, input).await).await {
        Ok(contact) => {
            contacts::join(t, account.id, contact.base.id).await?;
            Ok(Some(Part::made(contact.base.id, contact.base.version)))
        }
        Err(error) => {
            let there = if is_duplicate(&error) { contact_at(t, &email).await? } else { None };
            let Some(id) = there else { return Err(within(CONTACT, error)) };
            check_found(t, &CONTACTS, id, "contact.email", names_more).await?;
            found_contact(t, id, account).await.map(Some)
        }
    }
}

async fn contact_at(t: &mut TenantTx, email: &str) -> Result<Option<Uuid>> {
    let this = people::table.filter(people::org_id.eq(t.org()).and(people::email_normalized.eq(email)));
    Ok(this.select(people::id).first(t.conn()?).await.optional()?)
}

/// A contact that is there joins the account, by whoever may change one of the two; from whoever may change the contact it gets the
/// account as its primary one where it has none.
async fn found_contact(t: &mut TenantTx, id: Uuid, account: &Part) -> Result<Part> {
    let mut part = Part::found(id);
    let changes = may_change(t, &CONTACTS, id).await?;
    let joins = changes || account.made.is_some() || may_change(t, &ACCOUNTS, account.id).await?;
    if joins {
        part.joined = contacts::join(t, account.id, id).await?;
    }
    if changes {
        let contact = crm_contacts::update(t, id, Edit::patch(Object::new())).await?;
        if contact.fields.account_id.is_none() {
            crm_contacts::update(t, id, Edit::patch(one("account_id", json!(account.id)))).await?;
            part.given_account = true;
        }
    }
    Ok(part)
}

/// The opportunity: the one that is named, or a new one under a name that is free.
pub(crate) async fn opportunity(
    t: &mut TenantTx,
    carried: &Carried<'_>,
    (account, contact): (Uuid, Option<Uuid>),
    wish: Wish,
) -> Result<Option<Part>> {
    let overrides = match wish {
        Wish::Usual if carried.has_deal() => Object::new(),
        Wish::Usual | Wish::Omit => return Ok(None),
        Wish::With(fields) => fields,
        Wish::This(id) => {
            check_related(t, Rel::Opportunity, OPPORTUNITY, &[id]).await?;
            return found_opportunity(t, id, account, contact).await.map(Some);
        }
    };
    let body = carried.opportunity(account, contact)?;
    let wanted = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let named = overrides.contains_key("name");
    let body = body::merge(body, overrides);
    let mut attempts = 1;
    loop {
        let mut body = body.clone();
        if !named {
            body.insert("name".into(), Value::String(crm_opportunities::free_name(t, &wanted).await?));
        }
        let input =
            RecordInput::<OpportunityFields>::parse(body).map_err(|error| within(OPPORTUNITY, error))?;
        match t.savepoint(async |t| crm_opportunities::create(t, input).await).await {
            Ok(made) => return Ok(Some(Part::made(made.base.id, made.base.version))),
            // Whoever converts at the same time may have taken the name that was free.
            Err(error) if !named && is_duplicate(&error) && attempts < NAMES => attempts += 1,
            Err(error) => return Err(within(OPPORTUNITY, error)),
        }
    }
}

/// An opportunity that is there is about the contact from now on, and about the account where it has none.
async fn found_opportunity(t: &mut TenantTx, id: Uuid, account: Uuid, contact: Option<Uuid>) -> Result<Part> {
    let mut part = Part::found(id);
    let deal = crm_opportunities::update(t, id, Edit::patch(Object::new())).await?;
    let mut change = Object::new();
    if deal.fields.account_id.is_none() {
        change.insert("account_id".into(), json!(account));
        part.given_account = true;
    }
    if let Some(contact) = contact.filter(|contact| !deal.fields.contacts.contains(contact)) {
        let people: Vec<_> = deal.fields.contacts.iter().copied().chain([contact]).collect();
        change.insert("contacts".into(), json!(people));
        part.joined = true;
    }
    crm_opportunities::update(t, id, Edit::patch(change)).await?;
    Ok(part)
}

/// A record that was found by a value of the lead's: one that the caller may look at, and of which nothing else was asked.
async fn check_found(
    t: &mut TenantTx,
    target: &Target,
    id: Uuid,
    field: &str,
    names_more: bool,
) -> Result<()> {
    let refused = |message: &str| {
        Err(Error::Fields(Code::Conflict, vec![FieldError::new(field, FieldCode::Taken, message)]))
    };
    let kind = target.resource.kind;
    match target.check_view(t, id).await {
        Err(Error::NotFound | Error::Forbidden(_)) => refused(&format!(
            "there is such a {kind}, which you may not see: ask to be put on it, or give another value"
        )),
        Ok(()) if names_more => refused(&format!("there is such a {kind} already: name it by its id, alone")),
        other => other,
    }
}

/// Whether a record was refused because another one has what must be unique.
fn is_duplicate(error: &Error) -> bool {
    error.code() == Code::Duplicate
}

/// Whether the caller may change a record that they may look at.
async fn may_change(t: &mut TenantTx, target: &Target, id: Uuid) -> Result<bool> {
    match target.check(t, target.change, id).await {
        Ok(()) => Ok(true),
        Err(Error::Forbidden(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The faults of a part of the body, named by where they stand in the whole.
fn within(part: &str, error: Error) -> Error {
    match error {
        Error::Fields(code, faults) => {
            let faults = faults
                .into_iter()
                .map(|fault| FieldError { field: format!("{part}.{}", fault.field), ..fault })
                .collect();
            Error::Fields(code, faults)
        }
        other => other,
    }
}

/// Those of the links that are not among the others.
pub(crate) fn without(links: &Links, others: &Links) -> Links {
    fn rest<I: Copy + PartialEq>(all: &[I], others: &[I]) -> Vec<I> {
        all.iter().filter(|id| !others.contains(id)).copied().collect()
    }
    Links {
        assigned_to: rest(&links.assigned_to, &others.assigned_to),
        teams: rest(&links.teams, &others.teams),
        tags: rest(&links.tags, &others.tags),
    }
}

fn joined(links: &Links, more: &Links) -> Links {
    let mut all = links.clone();
    all.assigned_to.extend(&more.assigned_to);
    all.teams.extend(&more.teams);
    all.tags.extend(&more.tags);
    all.sorted()
}

/// Links as the body of a change.
pub(crate) fn links_body(links: &Links) -> Object {
    let Links { assigned_to, teams, tags } = links;
    let pairs = [("assigned_to", json!(assigned_to)), ("teams", json!(teams)), ("tags", json!(tags))];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A body of one field.
pub(crate) fn one(field: &str, value: Value) -> Object {
    [(field.to_owned(), value)].into_iter().collect()
}
