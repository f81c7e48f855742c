use crm_access::Require;
use crm_core::{Code, Error, FieldCode, FieldError, Result, Scope, TenantTx};
use crm_records::custom::CustomValues;
use crm_records::list::{Clause, Page, Params, Shaped, SortValues, Value, Where};
use crm_records::{
    Base, Described, Edit, LinkIds, Links, Module, Precondition, RecordInput, base_changes, base_columns,
    base_values, contacts, created, deleted, diff, position, tally, tell_assignees, updated,
};
use crm_schema::leads;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::follow_up::{Days, FollowUp, OWN_PARAMETERS};
use crate::model::{LEADS, Lead, LeadFields, LeadRow, LeadStatus, Own};

/// The kind of record and its module.
const LEAD: (&str, &str) = (LEADS.resource.kind, "leads");

crm_records::module!(
    /// Leads, for what serves every module alike.
    Leads {
        name: LEAD.1,
        target: LEADS,
        add: "leads.add_lead",
        delete: "leads.delete_lead",
        fields: LeadFields,
        record: Lead,
        many: crate::many::create_many,
        moment: Lead::moment
    }
);

/// What makes a lead, to select into a [`LeadRow`], and what is wanted beside it.
macro_rules! lead_columns {
    ($t:expr $(, $beside:expr)?) => {
        (
            base_columns!(leads),
            LeadFields::as_select(),
            (leads::is_sample, leads::stage_id, leads::position),
            LinkIds::of("leads"),
            CustomValues::of(&LEADS, $t.org()),
            $($beside,)?
        )
    };
}

/// Lists the leads that the caller may see, newest first. Converted ones are left out unless `status` is asked for.
///
/// # Errors
/// `Forbidden` without `leads.view_lead`; 400 for parameters.
pub async fn list(t: &mut TenantTx, params: &Params) -> Result<Page<Shaped<Lead>>> {
    let scope = t.require(LEADS.view)?;
    let mut selection = LEADS.select_more(t, params, scope, OWN_PARAMETERS).await?;
    let days = Days::of(t);
    days.conditions(params)?.into_iter().for_each(|condition| selection.and(condition));
    if !selection.mentions("status") {
        let converted = Value::Text(LeadStatus::Converted.as_str().to_owned());
        selection.and(LEADS.resource.compare("status", "IS DISTINCT FROM", converted));
    }
    let page = selection
        .run(t, async |t, f| {
            let rows: Vec<(Base, LeadFields, Own, Links, CustomValues, SortValues)> = leads::table
                .filter(f.filter)
                .order_by(f.slice)
                .select(lead_columns!(t, selection.keys()))
                .load(t.conn()?)
                .await?;
            rows.into_iter()
                .map(|(base, fields, own, links, custom, keys)| {
                    Ok((Lead::stored((base, fields, own, links, custom), days)?, keys))
                })
                .collect()
        })
        .await?;
    selection.shape.page(t, page).await
}

/// One lead that the caller may see.
///
/// # Errors
/// `Forbidden` without `leads.view_lead`; `NotFound`.
pub async fn find(t: &mut TenantTx, id: Uuid) -> Result<Lead> {
    let scope = t.require(LEADS.view)?;
    let filter = LEADS.one(t, scope, id);
    let found = load(t, filter).await;
    LEADS.found(t, id, found).await
}

/// What is to become of a lead that an edit would make `converted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Converting {
    /// The edit is refused.
    Refused,
    /// The rest of the edit is stored; the conversion is left to whoever asked.
    Left,
}

impl Converting {
    /// The status to be stored, and whether a conversion is to follow. `converted` has one door in, the conversion, and none out.
    pub(crate) fn judge(
        self,
        old: Option<LeadStatus>,
        new: Option<LeadStatus>,
    ) -> Result<(Option<LeadStatus>, bool)> {
        let converted = Some(LeadStatus::Converted);
        let refused = |message: &'static str| {
            Err(Error::Fields(
                Code::Conflict,
                vec![FieldError::new("status", FieldCode::NotAllowed, message)],
            ))
        };
        match (old == converted, new == converted) {
            (true, false) => refused("a converted lead stays converted"),
            (false, true) if self == Self::Refused => refused("a lead is converted by its conversion only"),
            (false, true) => Ok((old, true)),
            _ => Ok((new, false)),
        }
    }
}

/// Adds a lead.
///
/// # Errors
/// `Forbidden` without `leads.add_lead`; `Duplicate` for an e-mail address that another lead has; 422.
pub async fn create(t: &mut TenantTx, input: RecordInput<LeadFields>) -> Result<Lead> {
    Ok(create_towards(t, input, Converting::Refused).await?.0)
}

/// The same for whoever converts leads: with [`Converting::Left`], a lead that is to be `converted` is added without a status, and whether
/// that is so is answered beside it.
///
/// # Errors
/// As [`create`].
pub async fn create_towards(
    t: &mut TenantTx,
    input: RecordInput<LeadFields>,
    converting: Converting,
) -> Result<(Lead, bool)> {
    t.require(Leads::ADD)?;
    let (status, converts) = converting.judge(None, input.fields.status)?;
    let fields = LeadFields { status, ..input.fields }.settle(&t.caller().org.currency)?;
    let (custom_fields, values) = input.custom.settle(t, &LEADS, &CustomValues::default()).await?;
    let base = Base::new(t);
    let lead = Lead {
        position: position::newest(base.id),
        follow_up: FollowUp::of(&base, &fields, Days::of(t)),
        base,
        fields,
        is_sample: false,
        stage_id: None,
        links: input.links,
        custom_fields,
    };
    created(t, LEADS.resource.kind, &lead.base, Some(&lead.described())).await?;
    diesel::insert_into(leads::table)
        .values((
            base_values!(leads, lead.base),
            &lead.fields,
            leads::is_sample.eq(lead.is_sample),
            leads::position.eq(&lead.position),
            leads::custom_fields.eq(&lead.custom_fields),
        ))
        .execute(t.conn()?)
        .await
        .map_err(email_taken)?;
    let none = Links::default();
    lead.links.store(t, lead.base.id, &none).await?;
    contacts::store(t, lead.base.id, &[], &lead.fields.contacts).await?;
    tally::moved(t, LEADS.resource.kind, None, [lead.fields.tally()]).await?;
    values.store(t, lead.base.id).await?;
    tell_assignees(t, LEAD, lead.base.id, lead.fields.display_name(), (&none, &lead.links)).await?;
    Ok((lead, converts))
}

/// Changes a lead. What the edit leaves as it is makes no new version.
///
/// # Errors
/// `Forbidden` without `leads.change_lead` or beyond its scope; `NotFound`; `Stale`; `Duplicate`; 400 and 422 for the body.
pub async fn update(t: &mut TenantTx, id: Uuid, edit: Edit) -> Result<Lead> {
    Ok(update_towards(t, id, edit, Converting::Refused).await?.0)
}

/// The same for whoever converts leads: with [`Converting::Left`], a lead that is to be `converted` keeps its status for now, and whether
/// that is so is answered beside it.
///
/// # Errors
/// As [`update`].
pub async fn update_towards(
    t: &mut TenantTx,
    id: Uuid,
    mut edit: Edit,
    converting: Converting,
) -> Result<(Lead, bool)> {
    let old = locked(t, LEADS.change, id).await?;
    FollowUp::strip(&mut edit.body);
    // Its place changes with those of other cards, and without a version.
    edit.body.remove("position");
    let (partial, had_currency) = (edit.partial, old.fields.currency.is_some());
    let server_owned = [Lead::READ_ONLY, FollowUp::FIELDS].concat();
    let says_status = edit.body.contains_key("status");
    let mut input: RecordInput<LeadFields> = edit.input(&old, &old.base, &server_owned)?;
    // Whoever leaves the status of a converted lead out does not ask for it to be another one.
    let wanted = if says_status { input.fields.status } else { input.fields.status.or(converted(&old)) };
    let (status, converts) = converting.judge(old.fields.status, wanted)?;
    input.fields.status = status;
    if partial && had_currency && input.fields.currency.is_none() && input.fields.opportunity_amount.is_some()
    {
        return Err(Error::field("currency", FieldCode::Required, "an amount needs its currency"));
    }
    let fields = input.fields.settle(&t.caller().org.currency)?;
    let (custom_fields, values) = input.custom.settle(t, &LEADS, &old.custom_fields).await?;
    if fields == old.fields && input.links == old.links && custom_fields == old.custom_fields {
        return Ok((old, converts));
    }
    let base = old.base.next(t);
    let follow_up = FollowUp::of(&base, &fields, Days::of(t));
    let new = Lead { base, fields, links: input.links, custom_fields, follow_up, ..old.clone() };
    diesel::update(leads::table.filter(leads::org_id.eq(t.org()).and(leads::id.eq(id))))
        .set((base_changes!(leads, new.base), &new.fields, leads::custom_fields.eq(&new.custom_fields)))
        .execute(t.conn()?)
        .await
        .map_err(email_taken)?;
    new.links.store(t, id, &old.links).await?;
    contacts::store(t, id, &old.fields.contacts, &new.fields.contacts).await?;
    tally::moved(t, LEADS.resource.kind, [old.fields.tally()], [new.fields.tally()]).await?;
    values.store(t, id).await?;
    tell_assignees(t, LEAD, id, new.fields.display_name(), (&old.links, &new.links)).await?;
    let described = new.described();
    let described = (described != old.described()).then_some(described);
    let mut changed = diff(&old, &new)?;
    FollowUp::strip(&mut changed);
    updated(t, LEADS.resource.kind, &new.base, changed, described.as_ref()).await?;
    Ok((new, converts))
}

/// The status of a lead that is converted.
fn converted(lead: &Lead) -> Option<LeadStatus> {
    lead.fields.status.filter(|status| *status == LeadStatus::Converted)
}

/// Deletes a lead with its comments, files and history. Within a scope of *own* only its creator may.
///
/// # Errors
/// `Forbidden` without `leads.delete_lead` or for somebody else's lead; `NotFound`; `Stale`.
pub async fn delete(t: &mut TenantTx, id: Uuid, precondition: &Precondition) -> Result<()> {
    let old = locked(t, Leads::DELETE, id).await?;
    if t.require(Leads::DELETE)? == Scope::Own && old.base.created_by != t.actor() {
        return Err(Error::Forbidden("only its creator or an administrator may delete a lead".into()));
    }
    precondition.check(&old.base)?;
    tally::moved(t, LEADS.resource.kind, [old.fields.tally()], None).await?;
    deleted(t, LEADS.resource.kind, id).await
}

/// At most `limit` leads behind an id, by id, with how each is found; locked against changes until the transaction ends.
///
/// # Errors
/// Those of the database.
pub async fn describe(t: &mut TenantTx, after: Option<Uuid>, limit: i64) -> Result<Vec<(Uuid, Described)>> {
    let custom = CustomValues::of(&LEADS, t.org());
    let rows: Vec<(Uuid, LeadFields, CustomValues)> = leads::table
        .filter(leads::org_id.eq(t.org()).and(leads::id.gt(after.unwrap_or_default())))
        .order_by(leads::id)
        .limit(limit)
        .select((leads::id, LeadFields::as_select(), custom))
        .for_share()
        .load(t.conn()?)
        .await?;
    Ok(rows.into_iter().map(|(id, fields, custom)| (id, custom.describe(fields.described()))).collect())
}

async fn load(t: &mut TenantTx, filter: Where) -> Result<Lead> {
    let row = leads::table.filter(filter).select(lead_columns!(t)).first::<LeadRow>(t.conn()?).await?;
    Lead::stored(row, Days::of(t))
}

/// The lead with its row locked before the permission for it is judged, so that what is judged is what is changed.
pub(crate) async fn locked(t: &mut TenantTx, permission: &'static str, id: Uuid) -> Result<Lead> {
    let row = leads::table.filter(leads::org_id.eq(t.org()).and(leads::id.eq(id)));
    let locked = row.select(leads::id).for_update().first::<Uuid>(t.conn()?).await.map_err(Error::from);
    LEADS.found(t, id, locked).await?;
    LEADS.check(t, permission, id).await?;
    let only: Clause = LEADS.resource.compare("id", "=", Value::Uuid(id));
    let filter = Where(vec![LEADS.resource.in_org(t.org()), only]);
    load(t, filter).await
}

pub(crate) fn email_taken(error: diesel::result::Error) -> Error {
    let message = "another lead of the organization has this e-mail address";
    Error::unique(error, "leads_org_id_email_normalized_key", "email", message)
}
