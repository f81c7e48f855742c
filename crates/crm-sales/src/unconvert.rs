use crm_accounts::ACCOUNTS;
use crm_contacts::CONTACTS;
use crm_core::body::Object;
use crm_core::{Code, Error, Result, TenantTx};
use crm_leads::Lead;
use crm_opportunities::OPPORTUNITIES;
use crm_records::{Edit, Kin, Links, Precondition, contacts, sources, used};
use crm_schema::{accounts, contacts as people, conversions, opportunities};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use crate::convert::stored;
use crate::model::{Conversion, Part, Undo};
use crate::parts::{links_body, one, without};

/// The version of a row, if it is there: locked, so that nobody points at it any more.
macro_rules! version {
    ($t:expr, $table:ident, $id:expr) => {
        $table::table
            .filter($table::org_id.eq($t.org()).and($table::id.eq($id)))
            .select($table::version)
            .for_update()
            .first::<i64>($t.conn()?)
            .await
            .optional()?
    };
}

/// Undoes the conversion of a lead: what was made for it is deleted, what was added to records that were there is taken back, and the
/// lead has its former status again. Only while nobody has used what was made.
///
/// # Errors
/// `Forbidden` without `leads.change_lead`, or the permission to delete what was made; `NotFound`; `Conflict` for a lead that was not
/// converted, and naming the record that was changed since.
pub async fn unconvert(t: &mut TenantTx, id: Uuid) -> Result<Lead> {
    let lead = crm_leads::lock(t, id).await?;
    let Some((conversion, undo)) = stored(t, id).await? else {
        return Err(Error::Refused(Code::Conflict, "this lead was not converted".into()));
    };
    let undo: Undo = serde_json::from_value(undo).map_err(Error::internal)?;
    check(t, &conversion, &undo).await?;
    let this = conversions::org_id.eq(t.org()).and(conversions::lead_id.eq(id));
    diesel::delete(conversions::table.filter(this)).execute(t.conn()?).await?;
    sources::remove(t, id).await?;
    let contact = undo.contact.as_ref();
    if let Some(part) = present(undo.opportunity.as_ref(), conversion.opportunity_id) {
        take_back_opportunity(t, part, undo.account.id, contact.map(|contact| contact.id)).await?;
    }
    if let Some(part) = present(contact, conversion.contact_id) {
        take_back_contact(t, part, undo.account.id).await?;
    }
    if let Some(part) = present(Some(&undo.account), conversion.account_id) {
        take_back_account(t, part).await?;
    }
    crm_leads::mark_unconverted(t, &lead, undo.status).await
}

/// A part that is still the one of the conversion: what was found may have been deleted or merged since, and needs nothing then.
fn present(part: Option<&Part>, now: Option<Uuid>) -> Option<&Part> {
    part.filter(|part| now == Some(part.id))
}

/// Makes sure that what was made is as it was left, and that nobody has used it.
async fn check(t: &mut TenantTx, conversion: &Conversion, undo: &Undo) -> Result<()> {
    let made = |part: Option<&Part>| part.and_then(|part| part.made.map(|version| (part.id, version)));
    let opportunity = made(undo.opportunity.as_ref());
    let contact = made(undo.contact.as_ref());
    let account = made(Some(&undo.account));
    if let Some((id, version)) = opportunity {
        let now = version!(t, opportunities, id);
        intact("opportunity", id, conversion.opportunity_id, (now, version))?;
    }
    if let Some((id, version)) = contact {
        let now = version!(t, people, id);
        intact("contact", id, conversion.contact_id, (now, version))?;
    }
    if let Some((id, version)) = account {
        let now = version!(t, accounts, id);
        intact("account", id, conversion.account_id, (now, version))?;
        // Whose primary account a contact that was found has become since, is a use of it.
        let given = undo.contact.as_ref().filter(|part| part.made.is_some() || part.given_account);
        let others = people::account_id.eq(id).and(people::id.ne(given.map_or(Uuid::nil(), |part| part.id)));
        let others = people::table.filter(people::org_id.eq(t.org()).and(others)).select(people::id);
        if others.first::<Uuid>(t.conn()?).await.optional()?.is_some() {
            return Err(changed("account", id));
        }
    }
    // What the conversion itself brought together is no use.
    let brought = |part: &&Part| part.made.is_some() || part.joined || part.given_account;
    let parts = [
        Some(&undo.account),
        undo.contact.as_ref().filter(brought),
        undo.opportunity.as_ref().filter(brought),
    ];
    let ids: Vec<Uuid> = parts.into_iter().flatten().map(|part| part.id).collect();
    let pairs = ids.iter().flat_map(|id| ids.iter().map(|other| (*id, *other))).collect();
    let kin = Kin { pairs, lead: Some(conversion.lead_id) };
    for (target, part) in [(OPPORTUNITIES, opportunity), (CONTACTS, contact), (ACCOUNTS, account)] {
        let Some((id, _)) = part else { continue };
        if !used(t, &target.resource, &[id], &kin).await?.is_empty() {
            return Err(changed(target.resource.kind, id));
        }
    }
    Ok(())
}

/// A record that is still there, at the version it was made at.
fn intact(kind: &str, id: Uuid, of: Option<Uuid>, (now, made): (Option<i64>, i64)) -> Result<()> {
    match now {
        Some(now) if of == Some(id) && now == made => Ok(()),
        Some(_) => Err(changed(kind, id)),
        None => {
            let message = format!("the {kind} {id} is gone: the conversion can't be undone any more");
            Err(Error::Refused(Code::Conflict, message.into()))
        }
    }
}

fn changed(kind: &str, id: Uuid) -> Error {
    let message =
        format!("the {kind} {id} was changed or used since: the conversion can't be undone any more");
    Error::Refused(Code::Conflict, message.into())
}

async fn take_back_opportunity(
    t: &mut TenantTx,
    part: &Part,
    account: Uuid,
    contact: Option<Uuid>,
) -> Result<()> {
    if part.made.is_some() {
        return crm_opportunities::delete(t, part.id, &Precondition::default()).await;
    }
    if !part.joined && !part.given_account {
        return Ok(());
    }
    let deal = crm_opportunities::update(t, part.id, Edit::patch(Object::new())).await?;
    let mut change = Object::new();
    if part.given_account && deal.fields.account_id == Some(account) {
        change.insert("account_id".into(), Value::Null);
    }
    if part.joined {
        let mut left = deal.fields.contacts.clone();
        left.retain(|id| contact != Some(*id));
        change.insert("contacts".into(), serde_json::json!(left));
    }
    crm_opportunities::update(t, part.id, Edit::patch(change)).await.map(drop)
}

async fn take_back_contact(t: &mut TenantTx, part: &Part, account: Uuid) -> Result<()> {
    if part.made.is_some() {
        return crm_contacts::delete(t, part.id, &Precondition::default()).await;
    }
    if part.given_account {
        let contact = crm_contacts::update(t, part.id, Edit::patch(Object::new())).await?;
        if contact.fields.account_id == Some(account) {
            crm_contacts::update(t, part.id, Edit::patch(one("account_id", Value::Null))).await?;
        }
    }
    // Whose primary account it has become since, belongs to it.
    let primary = people::table
        .filter(people::org_id.eq(t.org()).and(people::id.eq(part.id)))
        .select(people::account_id)
        .for_update()
        .first::<Option<Uuid>>(t.conn()?)
        .await
        .optional()?;
    if part.joined && primary.is_some_and(|primary| primary != Some(account)) {
        contacts::part(t, account, part.id).await?;
    }
    Ok(())
}

async fn take_back_account(t: &mut TenantTx, part: &Part) -> Result<()> {
    if part.made.is_some() {
        return crm_accounts::delete(t, part.id, &Precondition::default()).await;
    }
    if part.added == Links::default() {
        return Ok(());
    }
    let account = crm_accounts::update(t, part.id, Edit::patch(Object::new())).await?;
    let left = without(&account.links, &part.added);
    crm_accounts::update(t, part.id, Edit::patch(links_body(&left))).await.map(drop)
}
